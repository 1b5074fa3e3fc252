package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"deputy/internal/api"
	"deputy/internal/client"
	"deputy/internal/deputy"
	"deputy/internal/server"
)

// The first service account's.
const (
	id     = "bootstrap-client-0001"
	secret = "bootstrap-secret-0123456789abcdef0123456789abcdef0123456789abcdef"
)

// start runs a server and returns its URL.
func start(t *testing.T) string {
	t.Helper()
	cfg := server.Config{}
	settings := map[string]string{
		"DEPUTY_LISTEN": "127.0.0.1:0", "DEPUTY_DATA_DIR": t.TempDir(), "DEPUTY_LOG_LEVEL": "error",
		"DEPUTY_BOOTSTRAP_CLIENT_ID": id, "DEPUTY_BOOTSTRAP_CLIENT_SECRET": secret,
	}
	err := cfg.Apply(func(string) bool { return false }, func(env string) (string, bool) { v, ok := settings[env]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.Open(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, io.Discard) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.URL()
}

func TestClient(t *testing.T) {
	base := start(t)
	// A base that ends in a slash works as well.
	c := client.New(base+"/", id, deputy.Conceal(secret), nil)
	var list api.OwnedList[api.Organization]
	if err := c.Do(t.Context(), http.MethodGet, "/organizations", nil, &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("%d organizations: %v", len(list.Items), err)
	}
	var zone api.Zone
	create := api.ZoneCreate{Name: "From Go", RequiresInvitation: api.Set(false)}
	if err := c.Do(t.Context(), http.MethodPost, "/zones", create, &zone); err != nil || zone.RequiresInvitation || zone.Name != "From Go" {
		t.Fatalf("%+v: %v", zone, err)
	}
	patch := api.ZonePatch{Description: api.SetNullable("text"), Protocols: api.SetNullable(api.ZoneProtocolsPatch{
		OAuth2: api.SetNullable(api.ZoneOAuth2Patch{SigningAlg: api.SetNullable("ES256")}),
	})}
	if err := c.Do(t.Context(), http.MethodPatch, "/zones/"+zone.ID, patch, &zone); err != nil || *zone.Description != "text" || zone.Protocols.OAuth2.SigningAlg != "ES256" {
		t.Fatalf("%+v: %v", zone, err)
	}
	patch = api.ZonePatch{Description: api.Null[string]()}
	if err := c.Do(t.Context(), http.MethodPatch, "/zones/"+zone.ID, patch, &zone); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), http.MethodDelete, "/zones/"+zone.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// TestAll reads lists of several pages, in each of the API's ways.
func TestAll(t *testing.T) {
	c := client.New(start(t), id, deputy.Conceal(secret), nil)
	var zone api.Zone
	if err := c.Do(t.Context(), http.MethodPost, "/zones", api.ZoneCreate{Name: "Z"}, &zone); err != nil {
		t.Fatal(err)
	}
	const many = 5
	for i := range many {
		create := api.ApplicationCreate{Identifier: fmt.Sprint("app-", i), Name: "App"}
		if err := c.Do(t.Context(), http.MethodPost, "/zones/"+zone.ID+"/applications", create, nil); err != nil {
			t.Fatal(err)
		}
	}
	var found []string
	for a, err := range client.All[api.Application](t.Context(), c, "/zones/"+zone.ID+"/applications", url.Values{"limit": {"2"}, "sort": {"identifier"}}) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, a.Identifier)
	}
	if got := strings.Join(found, " "); got != "app-0 app-1 app-2 app-3 app-4" {
		t.Errorf("found %s", got)
	}
	n := 0
	for range client.All[api.AuditEvent](t.Context(), c, "/zones/"+zone.ID+"/audit-events", url.Values{"limit": {"1"}}) {
		if n++; n == 3 {
			break // and no more is asked for
		}
	}
	for o, err := range client.All[api.Organization](t.Context(), c, "/organizations", nil) {
		if n++; err != nil || o.Label == "" {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if n != 4 {
		t.Errorf("%d items, want 3 events and an organization", n)
	}
	for _, err := range client.All[api.Zone](t.Context(), c, "/zones", url.Values{"limit": {"0"}}) {
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
			t.Errorf("got %v", err)
		}
	}
}

func TestRefusals(t *testing.T) {
	base := start(t)
	c := client.New(base, id, deputy.Conceal(secret), nil)
	err := c.Do(t.Context(), http.MethodPost, "/zones", api.ZoneCreate{}, nil)
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || refused.Body.Code != api.CodeValidation || refused.Body.RequestID == "" {
		t.Fatalf("got %v", err)
	}
	if text := err.Error(); !strings.Contains(text, "name") {
		t.Errorf("the sentence %q does not say what is wrong", text)
	}
	err = client.New(base, id, deputy.Conceal("wrong"), nil).Do(t.Context(), http.MethodGet, "/zones", nil, nil)
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized || refused.Body.Message == "" {
		t.Errorf("a wrong secret gave %v", err)
	}
}

// spoiling replaces the bearer of the calls it is told to by one that nobody
// issued.
type spoiling struct{ calls, tokens atomic.Int32 }

func (s *spoiling) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/service-account-token") {
		s.tokens.Add(1)
	} else if s.calls.Add(1) == 2 {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer spent")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestSpentToken gets another token when the one it has is no longer taken.
func TestSpentToken(t *testing.T) {
	transport := &spoiling{}
	c := client.New(start(t), id, deputy.Conceal(secret), &http.Client{Transport: transport})
	for range 2 {
		if err := c.Do(t.Context(), http.MethodGet, "/zones", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if calls, tokens := transport.calls.Load(), transport.tokens.Load(); calls != 3 || tokens != 2 {
		t.Errorf("%d calls and %d tokens, want 3 and 2", calls, tokens)
	}
}
