package server_test

import (
	"io"
	"testing"
	"time"

	"deputy/internal/api"
	"deputy/internal/client"
	"deputy/internal/deputytest"
)

// A newer program's managed policies are in every zone within a day, and decide
// in none.
func TestManagedPoliciesReachEveryZone(t *testing.T) {
	clock := deputytest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s, c := openAt(t, clock.Now, map[string]string{"DEPUTY_DATA_DIR": t.TempDir(), "DEPUTY_PUBLIC_URL": "https://id.example.com"}, io.Discard)
	s.Manage(`permit (principal is Keycard::User, action, resource is Keycard::Resource) when { !context.impersonate };`)
	serve(t, s)
	account, err := client.ReadAccount(c.BootstrapFile())
	if err != nil {
		t.Fatal(err)
	}
	account.BaseURL = s.ListensOn()
	w := &rotating{T: t, clock: clock, manage: account.Open()}
	zones := []string{w.make("/zones", map[string]any{"name": "One"}).ID, w.make("/zones", map[string]any{"name": "Two"}).ID}
	clock.Advance(24 * time.Hour)
	for _, zone := range zones {
		w.until("the zone has the new version", func() bool {
			var sets struct {
				Items []api.PolicySet `json:"items"`
			}
			if err := w.manage.Do(t.Context(), "GET", "/zones/"+zone+"/policy-sets", nil, &sets); err != nil {
				t.Fatal(err)
			}
			set := sets.Items[0]
			if *set.ActiveVersion != 1 {
				t.Fatalf("version %d decides", *set.ActiveVersion)
			}
			return *set.LatestVersion == 2
		})
	}
}
