package bench_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"deputy/internal/bench"
	"deputy/internal/deputy"
)

// TestMain lets this test binary be the program that the tests start.
func TestMain(m *testing.M) {
	switch os.Getenv("BENCH_TEST_PROGRAM") {
	case "floor":
		floorProgram()
	case "broken":
		fmt.Fprintln(os.Stderr, "cannot open the store")
		os.Exit(3)
	default:
		os.Exit(m.Run())
	}
}

func floorProgram() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	fmt.Println("a line of no interest")
	fmt.Printf("listening on http://%s\n", ln.Addr())
	if err := (bench.Floor{Algorithm: "none", AuditFile: os.Getenv("BENCH_TEST_AUDIT"), Now: time.Now}).Serve(ctx, ln); err != nil {
		os.Exit(1)
	}
}

func TestAProgramIsStartedMeasuredAndStopped(t *testing.T) {
	for _, core := range []int{-1, 0} {
		p, err := bench.Start(t.Context(), bench.Command{
			Path: os.Args[0], Env: []string{"BENCH_TEST_PROGRAM=floor", "BENCH_TEST_AUDIT=" + t.TempDir() + "/audit"}, Core: core,
		})
		if err != nil {
			t.Fatal(err)
		}
		l := tokenLoad(p.URL, bench.FloorSecret)
		l.PID, l.Duration = p.PID, 200*time.Millisecond
		if r := run(t, l); r.OK == 0 || r.Failed() != 0 {
			t.Errorf("core %d: %+v", core, r)
		}
		if err := p.Stop(); err != nil {
			t.Errorf("core %d: ended with %v", core, err)
		}
		if _, _, err := bench.Once(t.Context(), l); !errors.Is(err, deputy.Unavailable) {
			t.Errorf("core %d: still there: %v", core, err)
		}
	}
}

func TestAProgramThatDoesNotListenIsAnError(t *testing.T) {
	var log strings.Builder
	_, err := bench.Start(t.Context(), bench.Command{Path: os.Args[0], Env: []string{"BENCH_TEST_PROGRAM=broken"}, Core: -1, Log: &log})
	if !errors.Is(err, deputy.Unavailable) || !strings.Contains(err.Error(), "exit status 3") || log.String() != "cannot open the store\n" {
		t.Errorf("got %v, log %q", err, log.String())
	}
	if _, err := bench.Start(t.Context(), bench.Command{Path: "/does/not/exist", Core: -1}); !errors.Is(err, deputy.Unavailable) {
		t.Errorf("got %v", err)
	}
}
