package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"deputy/internal/deputy"
)

// A Command is a server program to measure. It must print a line
// "listening on URL" on its standard output once it answers.
type Command struct {
	Path string
	Args []string
	Env  []string  // beside this process's own
	Dir  string    // working directory; empty: this process's
	Log  io.Writer // receives the program's standard error; nil drops it
	// Core is the only processor the program may use, from 0; negative: any.
	// Without the taskset program (util-linux) it is ignored: see CanPin.
	Core int
}

// A Process is a running server program.
type Process struct {
	URL string // as the program printed it
	PID int

	cmd  *exec.Cmd
	over chan struct{} // closed when the program has ended
	err  error         // how, set before
}

// startTime is how long a program may take until it listens.
const startTime = 30 * time.Second

// Start runs the program and returns when it listens. The program is killed
// when ctx ends. One that ends or stays silent instead is deputy.Unavailable.
func Start(ctx context.Context, c Command) (*Process, error) {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	if c.Core >= 0 && CanPin() {
		cmd = exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(c.Core), c.Path}, c.Args...)...)
	}
	cmd.Env, cmd.Dir, cmd.Stderr = append(os.Environ(), c.Env...), c.Dir, c.Log
	// A program that has children of its own must not keep Wait from returning.
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, deputy.Errorf(deputy.Unavailable, "cannot start %s", c.Path).Because(err)
	}
	p := &Process{PID: cmd.Process.Pid, cmd: cmd, over: make(chan struct{})}
	listening := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok && len(listening) == 0 {
				listening <- strings.TrimSpace(url)
			}
		}
		io.Copy(io.Discard, out) // past a line too long to scan
		p.err = cmd.Wait()
		close(p.over)
	}()
	timer := time.NewTimer(startTime)
	defer timer.Stop()
	select {
	case p.URL = <-listening:
		return p, nil
	case <-p.over:
		return nil, deputy.Errorf(deputy.Unavailable, "%s ended before it listened", c.Path).Because(p.err)
	case <-timer.C:
		p.Stop()
		return nil, deputy.Errorf(deputy.Unavailable, "%s did not listen within %v", c.Path, startTime)
	}
}

// Stop asks the program to end and waits, 15 s at most before it is killed. It
// returns how the program ended.
func (p *Process) Stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(15 * time.Second)
	defer timer.Stop()
	select {
	case <-p.over:
	case <-timer.C:
		p.cmd.Process.Kill()
		<-p.over
	}
	return p.err
}

// ResidentKB returns the memory that the program has in use, in kilobytes; 0
// where that cannot be known.
func (p *Process) ResidentKB() int64 { return residentKB(p.PID) }

// CanPin reports whether processes can be bound to a processor here.
func CanPin() bool {
	_, err := exec.LookPath("taskset")
	return err == nil
}

// PinSelf binds every thread of this process to one processor, so that the
// generator and the server do not compete for one.
func PinSelf(ctx context.Context, core int) error {
	cmd := exec.CommandContext(ctx, "taskset", "-a", "-c", "-p", strconv.Itoa(core), strconv.Itoa(os.Getpid()))
	if out, err := cmd.CombinedOutput(); err != nil {
		return deputy.Errorf(deputy.Unavailable, "cannot bind this process to processor %d", core).Because(fmt.Errorf("%w: %s", err, bytes.TrimSpace(out)))
	}
	return nil
}
