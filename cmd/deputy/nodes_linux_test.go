package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"deputy/internal/bench"
	"deputy/internal/client"
	"deputy/internal/deputytest"
)

// BenchmarkTwoNodes says what a token costs in processor time of all nodes, of
// one thread each, and of their PostgreSQL, by the kernel's accounts: of one
// node, and of two that share as many requests a second. The ratio is the median
// of the turns, each a pair of both. Every iteration is a turn, of ten seconds.
func BenchmarkTwoNodes(b *testing.B) {
	const rate = 1500 // tokens a second, of one node or of both
	database, key, folder := deputytest.Postgres(b), sharedKey(b), b.TempDir()
	start := func(name string) *node {
		n, err := launch([]string{"GOMAXPROCS=1"}, filepath.Join(folder, name), "--database-url", database, "--root-key-file", key, "--public-url", "http://deputy.example.com")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(n.kill)
		return n
	}
	one := start("one")
	a, err := loadAccount(filepath.Join(folder, "one"))
	if err != nil {
		b.Fatal(err)
	}
	manage := client.Account{BaseURL: one.base, OrganizationID: a.OrganizationID, ClientID: a.ClientID, ClientSecret: a.ClientSecret}.Open()
	zone, err := bench.Prepare(b.Context(), manage.Do, bench.Size{Resources: 100, Applications: 100, Algorithm: "ES256"})
	if err != nil {
		b.Fatal(err)
	}
	postmaster := postmasterOf(b, database)

	// tokens has the nodes answer for a while and returns what a token cost.
	tokens := func(nodes ...*node) time.Duration {
		results := make([]bench.Result, len(nodes))
		var both sync.WaitGroup
		load := func(length time.Duration) {
			for i, n := range nodes {
				both.Go(func() {
					var err error
					results[i], err = bench.Run(b.Context(), bench.Load{
						URL: zone.TokenURL(n.base), Body: zone.ClientCredentials(), Header: map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}},
						Connections: 64 / len(nodes), Rate: rate / float64(len(nodes)), Duration: length, Now: time.Now,
					})
					if err != nil {
						b.Error(err)
					}
				})
			}
			both.Wait()
		}
		spent := func() time.Duration {
			sum := accounts(b, postmaster)
			for _, n := range nodes {
				sum += accounts(b, n.process.Process.Pid)
			}
			return sum
		}
		load(time.Second) // until clients and statements are known
		before := spent()
		load(5 * time.Second)
		cost := spent() - before

		var answered uint64
		for _, r := range results {
			if r.Errors != nil {
				b.Fatal(r.Errors)
			}
			answered += r.Requests
		}
		return cost / time.Duration(answered)
	}

	var alone, shared []time.Duration
	var ratios []float64
	for b.Loop() {
		alone = append(alone, tokens(one))
		two := start("two")
		shared = append(shared, tokens(one, two))
		if err := two.stop(b); err != nil {
			b.Fatal(err)
		}
		ratios = append(ratios, float64(shared[len(shared)-1])/float64(alone[len(alone)-1]))
	}
	for _, s := range []struct {
		figures []time.Duration
		unit    string
	}{{alone, "µs-one/token"}, {shared, "µs-two/token"}} {
		slices.Sort(s.figures)
		b.ReportMetric(float64(s.figures[len(s.figures)/2].Microseconds()), s.unit)
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "two/one")
	b.ReportMetric(0, "ns/op") // says nothing
}

// postmasterOf returns the process that all of a PostgreSQL server's descend
// from.
func postmasterOf(b *testing.B, database string) (pid int) {
	b.Helper()
	c, err := pgx.Connect(b.Context(), database)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(context.Background())
	var backend int
	if err := c.QueryRow(b.Context(), "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		b.Fatal(err)
	}
	stat, err := status(fmt.Sprint(backend))
	if err != nil {
		b.Fatal("the server is not on this machine: ", err)
	}
	return stat[parent]
}

// accounts returns the processor time of a process and of its children, those
// that have ended included.
func accounts(b *testing.B, pid int) time.Duration {
	b.Helper()
	own, err := status(fmt.Sprint(pid))
	if err != nil {
		b.Fatal(err)
	}
	ticks := own[user] + own[system] + own[childrenUser] + own[childrenSystem]
	all, err := os.ReadDir("/proc")
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range all {
		if child, err := status(e.Name()); err == nil && child[parent] == pid {
			ticks += child[user] + child[system]
		}
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ
}

// Where proc_pid_stat(5) has its figures, from behind the name.
const (
	parent         = 1
	user           = 11
	system         = 12
	childrenUser   = 13
	childrenSystem = 14
)

// status returns the figures of a process; what is not a number is 0.
func status(pid string) ([]int, error) {
	raw, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return nil, err
	}
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	figures := make([]int, len(fields))
	for i, f := range fields {
		figures[i], _ = strconv.Atoi(string(f))
	}
	if len(figures) <= childrenSystem {
		return nil, fmt.Errorf("%s has %d fields", pid, len(figures))
	}
	return figures, nil
}
