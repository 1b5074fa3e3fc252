package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/api"
	"deputy/internal/bundle"
	"deputy/internal/deputy"
)

// exchange asks for a bundle, or sends one when there is a body.
func (s *server) exchange(target string, body []byte, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	method := "GET"
	if body != nil {
		method = "PUT"
	}
	r := httptest.NewRequest(method, s.fill("/zones/{zone}/policy-bundles/"+target), bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer admin")
	if body != nil {
		r.Header.Set("Content-Type", bundle.MediaType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	return w
}

// pull returns what decides at a target.
func (s *server) pull(target string) (*bundle.Bundle, string) {
	s.t.Helper()
	w := s.exchange(target, nil)
	if w.Code != 200 || w.Header().Get("Content-Type") != bundle.MediaType {
		s.t.Fatalf("%d %s %s", w.Code, w.Header(), w.Body)
	}
	b, err := bundle.Unpack(w.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	digest, err := b.Digest()
	if err != nil || w.Header().Get("ETag") != `"`+digest+`"` {
		s.t.Fatalf("ETag %s of %s: %v", w.Header().Get("ETag"), digest, err)
	}
	return b, w.Header().Get("ETag")
}

func packed(t testing.TB, b *bundle.Bundle) []byte {
	t.Helper()
	raw, err := b.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// push sends a bundle that must be taken.
func (s *server) push(target string, b *bundle.Bundle, tag string) (out api.PolicyBundleApplied) {
	s.t.Helper()
	var header []string
	if tag != "" {
		header = []string{"If-Match", tag}
	}
	w := s.exchange(target, packed(s.t, b), header...)
	if w.Code != 200 {
		s.t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Header().Get("ETag") != `"`+out.Digest+`"` {
		s.t.Fatalf("%v: %s, ETag %s", err, w.Body, w.Header().Get("ETag"))
	}
	return out
}

func TestBundlesOfTheZone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	const zone = "zone/{zone}"
	b, tag := s.pull(zone)
	var names []string
	for _, p := range b.Policies {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"default-app-delegation", "default-app-direct-access", "default-user-grants"}, names); diff != "" || b.TargetID != s.vars["zone"] || b.SchemaVersion != schema {
		t.Errorf("%+v %s", b, diff)
	}
	if w := s.exchange(zone, nil, "If-None-Match", `"x", W/`+tag); w.Code != 304 || w.Body.Len() > 0 || w.Header().Get("ETag") != tag {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.exchange(zone, nil, "If-None-Match", `"x"`); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	for accept, want := range map[string]int{
		bundle.MediaType: 200, "*/*": 200, "application/json, application/*;q=0.1": 200, "application/json": 406, bundle.MediaType + ";q=0": 406, "text/html": 406,
	} {
		if w := s.exchange(zone, nil, "Accept", accept); w.Code != want {
			t.Errorf("Accept %s: %d", accept, w.Code)
		}
	}
	// What decides already changes nothing.
	if out := s.push(zone, b, tag); out.Version != 1 || len(out.Minted) != 0 || `"`+out.Digest+`"` != tag {
		t.Errorf("%+v", out)
	}
	if diff := cmp.Diff([]string{"policy_bundles:apply"}, s.events("")); diff != "" {
		t.Error(diff)
	}
	s.run(step{do: "GET /zones/{zone}/policy-sets?filter[active]=true", status: 200, keep: []string{"platform=items.0.active_version_id"}})
	// With a policy of one's own beside the platform's, a set of one's own decides.
	b.Policies = append(b.Policies, bundle.Policy{
		NewPolicy: "no-robots", Text: []byte(`forbid(principal, action == Keycard::Action::"access", resource) when { context.impersonate }; // none`),
	})
	made := s.push(zone, b, tag)
	if made.Version != 1 || len(made.Minted) != 1 || made.Minted[0].NewPolicy != "no-robots" {
		t.Fatalf("%+v", made)
	}
	s.vars["set"], s.vars["v"], s.vars["p"], s.vars["pv"] = made.PolicySetID, made.PolicySetVersionID, made.Minted[0].PolicyID, made.Minted[0].PolicyVersionID
	s.events("")
	s.run(
		step{do: "GET /zones/{zone}/audit-events?limit=1", status: 200, want: `{"items":[{"type":"policy_bundles:apply","target":{"id":"{v}","previous_id":"{platform}"}}]}`},
		step{do: "GET /zones/{zone}/policy-sets?filter[active]=true", status: 200, want: `{"items":[{"id":"{set}","owner_type":"customer","name":"policy-bundle","active_version_id":"{v}","target_id":"{zone}"}]}`},
		step{do: "GET /zones/{zone}/policies/{p}", status: 200, want: `{"name":"no-robots","owner_type":"customer","latest_version_id":"{pv}"}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{v}", status: 200, want: `{"active":true,"manifest":{"entries":["<any>","<any>","<any>","<any>"]},"attestation":{"manifest_sha":"<any>"}}`},
	)
	// The round trip is stable to the byte.
	b, tag = s.pull(zone)
	first := s.exchange(zone, nil).Body.Bytes()
	if out := s.push(zone, b, tag); out.PolicySetVersionID != made.PolicySetVersionID {
		t.Error("the same bundle made another version")
	}
	if !bytes.Equal(first, s.exchange(zone, nil).Body.Bytes()) {
		t.Error("the bundle changed")
	}
	// An edit makes a version of that policy alone; a policy that is left out stays.
	var kept []bundle.Policy
	for _, p := range b.Policies {
		switch p.Name {
		case "no-robots":
			p.Text = []byte(`forbid(principal, action == Keycard::Action::"access", resource);`)
		case "default-user-grants":
			continue
		}
		kept = append(kept, p)
	}
	b.Policies = kept
	out := s.push(zone, b, "*")
	if out.Version != 2 || out.PolicySetID != made.PolicySetID || len(out.Minted) != 0 {
		t.Errorf("%+v", out)
	}
	s.events("")
	s.run(
		step{do: "GET /zones/{zone}/policies/{p}", status: 200, want: `{"latest_version":2}`},
		step{do: "GET /zones/{zone}/policies?query=default-user-grants", status: 200, want: `{"items":[{"latest_version":1}]}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"active_version":2}`},
	)
}

// What is refused changes nothing.
func TestBundlesRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("p", "permit (principal, action, resource);")
	s.policyWithVersion("gone", "permit (principal, action, resource);")
	s.run(
		step{do: "DELETE /zones/{zone}/policies/{gone}", status: 200, events: []string{"policies:archive"}},
		step{do: "GET /zones/{zone}/policies?filter[owner_type]=platform&limit=1", status: 200, keep: []string{"managed=items.0.id"}},
	)
	const zone = "zone/{zone}"
	_, tag := s.pull(zone)
	with := func(policies ...bundle.Policy) *bundle.Bundle {
		return &bundle.Bundle{SchemaVersion: schema, TargetType: "zone", TargetID: s.vars["zone"], Policies: policies}
	}
	forbid := []byte("forbid(principal, action, resource);")
	other := func(change func(*bundle.Bundle)) *bundle.Bundle {
		b := with(bundle.Policy{PublicID: s.vars["p"], Text: forbid})
		change(b)
		return b
	}
	good := packed(t, other(func(*bundle.Bundle) {}))
	var huge bytes.Buffer
	zip := gzip.NewWriter(&huge)
	for range 65 {
		_, _ = zip.Write(make([]byte, 1<<20))
	}
	_ = zip.Close()
	before := s.exchange(zone, nil).Body.Bytes()
	for name, c := range map[string]struct {
		body   []byte
		header []string
		status int
		field  string
	}{
		"without If-Match":    {good, nil, 428, ""},
		"a stale If-Match":    {good, []string{"If-Match", `"sha256:0"`}, 412, ""},
		"a weak If-Match":     {good, []string{"If-Match", "W/" + tag}, 412, ""},
		"JSON":                {good, []string{"If-Match", tag, "Content-Type", "application/json"}, 415, ""},
		"no type":             {good, []string{"If-Match", tag, "Content-Type", ""}, 415, ""},
		"not an archive":      {[]byte("{}"), []string{"If-Match", tag}, 400, ""},
		"too large":           {huge.Bytes(), []string{"If-Match", tag}, 413, ""},
		"too large as sent":   {make([]byte, 16<<20+1), []string{"If-Match", tag}, 413, ""},
		"no policies":         {packed(t, with()), []string{"If-Match", tag}, 400, "manifest.json"},
		"another target":      {packed(t, other(func(b *bundle.Bundle) { b.TargetID = "elsewhere" })), []string{"If-Match", tag}, 400, "manifest.json"},
		"another kind":        {packed(t, other(func(b *bundle.Bundle) { b.TargetType = "user" })), []string{"If-Match", tag}, 400, "manifest.json"},
		"an unknown schema":   {packed(t, other(func(b *bundle.Bundle) { b.SchemaVersion = "1999-01-01" })), []string{"If-Match", tag}, 400, "manifest.json"},
		"broken Cedar":        {packed(t, with(bundle.Policy{PublicID: s.vars["p"], Text: []byte("forbid(")})), []string{"If-Match", tag}, 400, "policies/" + s.vars["p"] + ".cedar"},
		"Cedar of no schema":  {packed(t, with(bundle.Policy{NewPolicy: "n", Text: []byte("permit(principal is Robot, action, resource);")})), []string{"If-Match", tag}, 400, "policies/n.cedar"},
		"an unknown policy":   {packed(t, with(bundle.Policy{PublicID: "nobody", Text: forbid})), []string{"If-Match", tag}, 400, "policies/nobody.cedar"},
		"an archived policy":  {packed(t, with(bundle.Policy{PublicID: s.vars["gone"], Text: forbid})), []string{"If-Match", tag}, 400, "policies/" + s.vars["gone"] + ".cedar"},
		"the platform's":      {packed(t, with(bundle.Policy{PublicID: s.vars["managed"], Text: forbid})), []string{"If-Match", tag}, 403, "policies/" + s.vars["managed"] + ".cedar"},
		"a name that is used": {packed(t, with(bundle.Policy{NewPolicy: "p", Text: forbid})), []string{"If-Match", tag}, 409, "name"},
		"a name that is none": {packed(t, with(bundle.Policy{NewPolicy: "<b>", Text: forbid})), []string{"If-Match", tag}, 400, "policies/<b>.cedar"},
		// All or nothing: the first would have been a new version.
		"one of two": {packed(t, with(bundle.Policy{PublicID: s.vars["p"], Text: forbid}, bundle.Policy{NewPolicy: "p", Text: forbid})), []string{"If-Match", tag}, 409, "name"},
	} {
		w := s.exchange(zone, c.body, c.header...)
		if w.Code != c.status || c.field != "" && !strings.Contains(w.Body.String(), `"field":"`+strings.NewReplacer("<", `\u003c`, ">", `\u003e`).Replace(c.field)) && !strings.Contains(w.Body.String(), `"field":"`+c.field) {
			t.Errorf("%s: status %d: %s", name, w.Code, w.Body)
		}
	}
	s.events("")
	if !bytes.Equal(before, s.exchange(zone, nil).Body.Bytes()) {
		t.Error("something changed")
	}
	s.run(
		step{do: "GET /zones/{zone}/policies/{p}", status: 200, want: `{"latest_version":1}`},
		step{do: "GET /zones/{zone}/policy-sets?filter[owner_type]=customer", status: 200, want: `{"items":[]}`},
	)
	for target, status := range map[string]int{"zone/elsewhere": 404, "galaxy/{zone}": 404, "user/nobody": 404, "zone/{zone}/x": 404} {
		if w := s.exchange(target, nil); w.Code != status {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if w := s.exchange("zone/elsewhere", good); w.Code != 404 {
		t.Errorf("PUT to another zone: %d", w.Code)
	}
}

func TestBundlesOfPeople(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	const ada = "user/ada@example.com"
	tool := []byte(`permit(principal is Keycard::User, action in Keycard::Action::"ReadTools", resource);`)
	b := &bundle.Bundle{SchemaVersion: schema, TargetType: "user", TargetID: "ada@example.com", Policies: []bundle.Policy{{NewPolicy: "tools", Text: tool}}}
	if w := s.exchange(ada, packed(t, b), "If-Match", "*"); w.Code != 412 {
		t.Errorf("If-Match where nothing is: %d", w.Code)
	}
	made := s.push(ada, b, "")
	s.vars["set"], s.vars["v"], s.vars["p"], s.vars["pv"] = made.PolicySetID, made.PolicySetVersionID, made.Minted[0].PolicyID, made.Minted[0].PolicyVersionID
	s.events("")
	s.run(
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"target_type":"user","target_id":"ada@example.com","scope_target_id":"ada@example.com","active":true}`},
		// The zone's own stays, and what a person's set pins cannot be archived.
		step{do: "GET /zones/{zone}/policy-sets?filter[active]=true", status: 200, want: `{"items":[{"name":"default-zone-policies"}]}`},
		step{do: "DELETE /zones/{zone}/policies/{p}", status: 409},
		step{do: "DELETE /zones/{zone}/policies/{p}/versions/{pv}", status: 400, want: `{"message":"cannot archive version: currently active"}`},
		step{do: "DELETE /zones/{zone}/policy-sets/{set}/versions/{v}", status: 400, want: `{"message":"cannot archive version: currently bound"}`},
		step{do: "DELETE /zones/{zone}/policy-sets/{set}", status: 409},
	)
	got, tag := s.pull(ada)
	if len(got.Policies) != 1 || got.Policies[0].PublicID != s.vars["p"] || got.Policies[0].Name != "tools" {
		t.Errorf("%+v", got)
	}
	if w := s.exchange("user/grace@example.com", nil); w.Code != 404 {
		t.Errorf("another person's: %d", w.Code)
	}
	// Of those who only view the zone, the person alone may read it.
	for person, status := range map[string]int{"ada": 200, "bob": 403} {
		s.person("org", person, deputy.OrganizationMember)
		s.member("zone", person, deputy.ZoneViewer)
		if w := s.exchange(ada, nil, "Authorization", "Bearer "+person+"@example.com"); w.Code != status {
			t.Errorf("to %s, who views: %d", person, w.Code)
		}
	}
	// Pushed at once with the same tag, one of them wins.
	var group sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for i := range 8 {
		changed := *got
		changed.Policies = append([]bundle.Policy{}, got.Policies...)
		changed.Policies = append(changed.Policies, bundle.Policy{NewPolicy: string(rune('a' + i)), Text: tool})
		raw := packed(t, &changed)
		group.Go(func() {
			code := s.exchange(ada, raw, "If-Match", tag).Code
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	group.Wait()
	if codes[200] != 1 || codes[412] != 7 {
		t.Errorf("%v", codes)
	}
}
