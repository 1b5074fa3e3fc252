package store_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/store"
)

// crashing names the database of a process that writes until it is killed.
const crashing = "DEPUTY_TEST_CRASHING_STORE"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashing); path != "" {
		writeUntilKilled(path)
	}
	os.Exit(m.Run())
}

// writeUntilKilled prints the id of each event that was answered.
func writeUntilKilled(path string) {
	s, err := store.Open(context.Background(), store.Config{
		Path: path, CursorKey: make([]byte, 32), Now: time.Now, Sealing: unsealed{}, Migrate: true,
	})
	if err != nil {
		panic(err)
	}
	answered := make(chan deputy.EventID, 64)
	for range 16 {
		go func() {
			for {
				e := issued("z")
				e.OrganizationID = "o"
				if err := s.Write(context.Background(), e, nil); err != nil {
					panic(err)
				}
				answered <- e.ID
			}
		}()
	}
	for id := range answered {
		if _, err := os.Stdout.WriteString(string(id) + "\n"); err != nil {
			os.Exit(1)
		}
	}
}

func TestAKilledProcessKeepsWhatItAnswered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deputy.db")
	for round := range 3 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashing+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var ids []deputy.EventID
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if len(lines.Text()) == 26 { // the last line may be cut
				ids = append(ids, deputy.EventID(lines.Text()))
			}
			if len(ids) == 500*(round+1) {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = child.Wait()
		if len(ids) < 500*(round+1) {
			t.Fatalf("the process ended by itself after %d events", len(ids))
		}
		s := open(t, store.Config{Path: path, Migrate: true})
		for _, id := range ids {
			if _, err := s.Event(t.Context(), "o", "", id); err != nil {
				t.Fatalf("round %d: event %s was answered: %v", round, id, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// cutter passes bytes between a store and its server, and when told to cuts
// the connection at the next COMMIT, whose answer the store never sees.
type cutter struct {
	net.Listener
	server string
	next   atomic.Int32
}

// When to cut.
const (
	never = iota
	beforeArrival
	afterArrival
)

func (c *cutter) run() {
	for {
		client, err := c.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.server)
		if err != nil {
			client.Close()
			continue
		}
		go c.forward(client, server)
		go func() {
			_, _ = io.Copy(client, server)
			client.Close()
		}()
	}
}

func (c *cutter) forward(client, server net.Conn) {
	defer server.Close()
	defer client.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		at, cut := bytes.Index(b[:n], lastWord), int32(never)
		if at >= 0 {
			cut = c.next.Swap(never)
		}
		switch cut {
		case never:
			at = 0
		case beforeArrival:
			return
		case afterArrival: // the last word takes a while
			_, _ = server.Write(b[:at])
			time.Sleep(20 * time.Millisecond)
			client.Close()
			time.Sleep(200 * time.Millisecond)
		}
		if _, err := server.Write(b[at:n]); err != nil || cut == afterArrival {
			_, _ = io.Copy(io.Discard, server) // let it finish
			return
		}
	}
}

// lastWord is how a client prepares to say COMMIT.
var lastWord = []byte("P\x00\x00\x00\x0e\x00COMMIT\x00")

// A commit whose answer is lost did happen or did not. The store finds out and
// makes up for it, so that every event is there once.
func TestACommitWhoseAnswerIsLostIsLookedUp(t *testing.T) {
	u, err := url.Parse(deputytest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := &cutter{Listener: listener, server: u.Host}
	go c.run()
	u.Host = listener.Addr().String()
	u.RawQuery += "&default_query_exec_mode=exec" // each statement with its words
	s := open(t, store.Config{URL: u.String(), Migrate: true})
	z := newZone()
	write(t, s, z.ID, func(x deputy.Tx) error { return x.Zones().Insert(t.Context(), z) })
	for i, cut := range []int32{afterArrival, beforeArrival, afterArrival} {
		c.next.Store(cut)
		e := issued(z.ID)
		if i == 2 { // the first event of its organization
			e.OrganizationID = "fresh"
		}
		err := s.Write(t.Context(), e, nil)
		if c.next.Load() != never {
			t.Fatal("nothing was cut")
		}
		if err != nil {
			t.Errorf("cut %d: %v", cut, err)
		}
		p, err := s.Events(t.Context(), deputy.EventQuery{Organization: e.OrganizationID, Named: map[deputy.Term][]string{deputy.TermRequest: {e.RequestID}}})
		if err != nil || len(p.Items) != 1 {
			t.Errorf("cut %d: the event is there %d times: %v", cut, len(p.Items), err)
		}
	}
}

// A read that fails takes the whole transaction along on PostgreSQL: who shared
// it is run again, and not told of a commit that was none.
func TestACommitThatWasARollbackIsRunAgain(t *testing.T) {
	s := open(t, store.Config{URL: deputytest.Postgres(t), Migrate: true})
	said := s.WorkTogether(t.Context(), "INSERT INTO meta (name, value) VALUES ('kept', '')", "SELECT 1 / 0")
	kept, err := s.Column(t.Context(), "SELECT name FROM meta WHERE name = 'kept'")
	if said[0] != nil || said[1] == nil || err != nil || len(kept) != 1 {
		t.Errorf("%v, and %q is there, %v", said, kept, err)
	}
}
