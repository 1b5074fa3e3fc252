package store_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
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

// BenchmarkEvents writes events alone, from 64 writers at a time: what most
// issuances come to.
func BenchmarkEvents(b *testing.B) {
	for name, database := range engines {
		b.Run(name, func(b *testing.B) {
			c := database(b)
			c.Migrate = true
			s := open(b, c)
			z := newZone()
			write(b, s, z.ID, func(t deputy.Tx) error { return t.Zones().Insert(b.Context(), z) })
			before := written(b)
			b.ResetTimer()
			var wait sync.WaitGroup
			var done atomic.Int64
			for range 64 {
				wait.Go(func() {
					for done.Add(1) <= int64(b.N) {
						e := issued(z.ID)
						e.Basis = &deputy.Basis{Zone: z.ID, Revision: 1}
						if err := s.Write(context.Background(), e, nil); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wait.Wait()
			b.StopTimer()
			b.ReportMetric(float64(written(b)-before)/float64(b.N), "disk-B/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			if i, err := os.Stat(c.Path + "-wal"); err == nil {
				b.ReportMetric(float64(i.Size())/(1<<20), "wal-MB")
			}
		})
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
