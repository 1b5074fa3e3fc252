package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/store"
)

// unsealed stands in for the vault.
type unsealed struct{}

func (unsealed) SealPersonal(_ context.Context, _ deputy.ID, _ deputy.EventID, p []byte) ([]byte, error) {
	return p, nil
}
func (unsealed) OpenPersonal(_ context.Context, _ deputy.EventID, p []byte) ([]byte, error) {
	return p, nil
}

var organization = deputy.OrganizationID(deputy.NewID(time.Now()))

// issued is the event of a usual issuance.
func issued(zone deputy.ZoneID) *deputy.Event {
	now := time.Now()
	id := deputy.EventID(deputy.NewID(now))
	return &deputy.Event{
		ID: id, Time: now, Type: "credentials:issue", Outcome: deputy.Success, ZoneID: zone, OrganizationID: organization,
		RequestID: string(deputy.NewID(now)), Actor: deputy.Actor{Type: "application", ID: string(zone), Identifier: "billing-agent"},
		ClientID: "abcdefghijklmnopqrstu", Resource: &deputy.EventResource{ID: deputy.ResourceID(zone), Identifier: "https://api.example.com/v1"},
		GrantType: "client_credentials", ScopesRequested: []string{"read"}, ScopesGranted: []string{"read"}, JTI: id,
		IP: "127.0.0.1", UserAgent: "Go-http-client/1.1",
		Policy: &deputy.EventPolicy{SetID: deputy.ID(zone), SetVersionID: deputy.ID(zone), Version: 3, Determining: []string{string(zone) + "::default-app-direct-access"}},
	}
}

func newZone() *deputy.Zone {
	now := deputy.Time(time.Now())
	id := deputy.ZoneID(deputy.NewID(now))
	return &deputy.Zone{
		ID: id, OrganizationID: organization, Owner: deputy.Customer, Slug: "zone", Name: "Zone", LoginFlow: "default",
		SigningAlg: "ES256", IssuerForm: deputy.PathIssuer, CreatedAt: now, UpdatedAt: now,
	}
}

// BenchmarkEvents writes events alone, 64 at a time.
func BenchmarkEvents(b *testing.B) {
	path := filepath.Join(b.TempDir(), "deputy.db")
	s := open(b, store.Config{Path: path, Migrate: true})
	z := newZone()
	if err := s.Write(b.Context(), issued(z.ID), func(t deputy.Tx) error { return t.Zones().Insert(b.Context(), z) }); err != nil {
		b.Fatal(err)
	}
	before := written(b)
	b.ResetTimer()
	var wait sync.WaitGroup
	work := make(chan struct{}, 1024)
	for range 64 {
		wait.Go(func() {
			for range work {
				e := issued(z.ID)
				e.Basis = &deputy.Basis{Zone: z.ID, Revision: 1}
				if err := s.Write(context.Background(), e, nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64(written(b)-before)/float64(b.N), "disk-B/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if i, err := os.Stat(path + "-wal"); err == nil {
		b.ReportMetric(float64(i.Size())/(1<<20), "wal-MB")
	}
}

// written returns how many bytes this process has sent to disks.
func written(tb testing.TB) (n int64) {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "write_bytes: %d", &n); err == nil {
			return n
		}
	}
	tb.Fatal("no write_bytes")
	return 0
}
