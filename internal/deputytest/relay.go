package deputytest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// Relay is a mail relay (RFC 5321) on loopback that keeps what it is given.
type Relay struct {
	listener net.Listener
	running  sync.WaitGroup

	mu       sync.Mutex
	received []string
	answers  map[string]string
	seen     int
}

// NewRelay starts a relay that ends with the test.
func NewRelay(t testing.TB) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{listener: l, answers: map[string]string{}}
	r.running.Go(r.accept)
	t.Cleanup(func() {
		l.Close()
		r.running.Wait()
	})
	return r
}

// Address returns host and port.
func (r *Relay) Address() string { return r.listener.Addr().String() }

// Answer sets what is said to a command, such as RCPT; empty: yes.
func (r *Relay) Answer(command, line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[command] = line
}

// Received returns the messages that were taken.
func (r *Relay) Received() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.received...)
}

// Conversations returns how many there have been.
func (r *Relay) Conversations() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

func (r *Relay) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.running.Go(func() {
			defer conn.Close()
			r.converse(conn)
		})
	}
}

func (r *Relay) converse(conn net.Conn) {
	r.mu.Lock()
	r.seen++
	r.mu.Unlock()
	lines := bufio.NewScanner(conn)
	say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 relay.example.com")
	for lines.Scan() {
		command, _, _ := strings.Cut(strings.ToUpper(lines.Text()), " ")
		r.mu.Lock()
		answer := r.answers[command]
		r.mu.Unlock()
		switch {
		case answer != "":
			say(answer)
		case command == "EHLO":
			say("250-relay.example.com\r\n250 8BITMIME")
		case command == "DATA":
			say("354 go ahead")
			r.take(lines)
			say("250 taken")
		case command == "QUIT":
			say("221 bye")
			return
		default:
			say("250 yes")
		}
	}
}

// take reads a message up to the dot.
func (r *Relay) take(lines *bufio.Scanner) {
	var b strings.Builder
	for lines.Scan() && lines.Text() != "." {
		b.WriteString(strings.TrimPrefix(lines.Text(), ".") + "\n")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received = append(r.received, b.String())
}
