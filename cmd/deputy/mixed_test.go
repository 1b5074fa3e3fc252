package main_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gauge returns what a node's metrics say of itself now.
func gauge(address, name string) (float64, error) {
	r, err := web.Get("http://" + address + "/metrics")
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", name)
}

// TestMixedLoad does everything at once for a while, DEPUTY_MIXED or a moment.
// Afterwards no goroutine is left that was not there before; and of a long run,
// the second half takes no more memory than the first.
func TestMixedLoad(t *testing.T) {
	length := time.Second
	if text := os.Getenv("DEPUTY_MIXED"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics := l.Addr().String()
	l.Close()
	folder := t.TempDir()
	n := startNode(t, folder, "--metrics-listen", metrics, "--public-url", signedInAt)
	admin := n.login(t, readAccount(t, folder))
	zone := admin.newZone(t, "Mixed")
	nodes := []*node{n}
	h := newHolder(t, admin, nodes, zone, folder)
	steady := admin.newAgent(t, zone, "steady")
	changed := newChanger(t, admin, nodes, zone, "changed")
	before, err := gauge(metrics, "go_goroutines")
	if err != nil {
		t.Fatal(err)
	}

	until := time.Now().Add(length)
	var load sync.WaitGroup
	var done [4]atomic.Int64
	keep := func(i int, what string, do func() error) {
		for time.Now().Before(until) {
			if err := do(); err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
			done[i].Add(1)
		}
	}
	for range 4 {
		load.Go(func() {
			keep(0, "tokens", func() error {
				status, body, err := steady.token(n)
				if err == nil && status != 200 && status != 503 {
					err = fmt.Errorf("%d %v", status, body)
				}
				return err
			})
		})
	}
	load.Go(func() { keep(1, "revoked tokens", h.endToken) })
	load.Go(func() {
		keep(2, "changes", func() error {
			if err := changed.pair(); err != nil {
				return err
			}
			_, err := admin.try(200, "GET", "/zones/"+zone+"/audit-events?limit=20", nil)
			return err
		})
	})
	// Memory of each half, and of neither the warming up.
	var halves [2]float64
	load.Go(func() {
		start := time.Now()
		for time.Now().Before(until) {
			time.Sleep(min(length/20, 5*time.Second))
			size, err := gauge(metrics, "process_resident_memory_bytes")
			if err != nil {
				t.Error(err)
				return
			}
			if part := float64(time.Since(start)) / float64(length); part > 0.2 {
				half := 0
				if part > 0.6 {
					half = 1
				}
				halves[half] = max(halves[half], size)
			}
		}
	})
	keep(3, "sessions", h.endSession) // the browser is the test's own
	load.Wait()

	web.CloseIdleConnections()
	var after float64
	eventually(t, func() bool {
		web.CloseIdleConnections()
		after, err = gauge(metrics, "go_goroutines")
		return err == nil && after <= before+20
	}, func() string { return fmt.Sprintf("%v goroutines, and %v before", after, before) })
	if length > time.Minute && halves[1] > 1.15*halves[0]+8<<20 {
		t.Errorf("memory grew from %.0f to %.0f bytes", halves[0], halves[1])
	}
	t.Logf("%v: %d tokens, %d revoked, %d changes, %d sessions; %.0f MB and then %.0f MB; %v goroutines and %v after",
		length, done[0].Load(), done[1].Load(), done[2].Load(), done[3].Load(), halves[0]/1e6, halves[1]/1e6, before, after)
}
