package api_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"deputy/internal/api"
	"deputy/internal/catalog"
	"deputy/internal/deputy"
)

// withKinds serves the same store with other kinds of packages.
func (s *server) withKinds(kinds func() *catalog.Catalog) {
	s.t.Helper()
	addresses, err := deputy.NewAddresses(publicURL, "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.api, err = api.New(api.Config{
		Store: s.store, Addresses: addresses, Authenticate: s.authenticate, IssueBearer: s.issueBearer, Vault: s.vault, Pool: pool,
		Sealing: openSealing{}, Now: s.now, Version: "test", Log: slog.New(slog.NewTextHandler(s.log, nil)), Catalog: kinds,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// object makes a call and returns the JSON object that it answers.
func (s *server) object(status int, do, body string) map[string]any {
	s.t.Helper()
	w := s.request(step{do: do, body: body})
	if w.Code != status {
		s.t.Fatalf("%s: status %d, want %d: %s", do, w.Code, status, w.Body)
	}
	var out map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			s.t.Fatal(err)
		}
	}
	return out
}

// contents returns everything in the zone that an install could touch, as
// clients see it.
func (s *server) contents() []string {
	s.t.Helper()
	var out []string
	add := func(path string) {
		for _, item := range s.object(http.StatusOK, "GET /zones/{zone}/"+path, "")["items"].([]any) {
			raw, err := json.Marshal(item)
			if err != nil {
				s.t.Fatal(err)
			}
			out = append(out, path+" "+string(raw))
			if id := item.(map[string]any)["id"].(string); path == "applications" {
				for _, edge := range s.object(http.StatusOK, "GET /zones/{zone}/applications/"+id+"/dependencies", "")["items"].([]any) {
					out = append(out, id+" depends on "+edge.(map[string]any)["id"].(string))
				}
			}
		}
	}
	for _, path := range []string{"providers", "applications", "resources", "application-credentials"} {
		add(path)
	}
	return append(out, s.request(step{do: "GET /zones/{zone}/secrets"}).Body.String())
}

// drawGraph draws a kind with entities of a small world, so that some exist,
// some are shared, some are not wanted, and some cannot be made: what they are
// is said by constants and by inputs, of which drawInputs draws the values.
func drawGraph(t *rapid.T, kind string) *catalog.Kind {
	entities := []string{`{"name": "vault", "type": "provider", "mode": "reference", "key": "type", "identity": "\"keycard-vault\""}`}
	made := map[string][]string{"provider": {"vault"}}
	name := func(i int) string { return fmt.Sprintf("e%d", i) }
	earlier := func(of string) string {
		if len(made[of]) == 0 || !rapid.Bool().Draw(t, "refer") {
			return ""
		}
		return "entities." + rapid.SampledFrom(made[of]).Draw(t, of) + ".outputs.id"
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "entities") {
		of := rapid.SampledFrom([]string{"provider", "application", "resource", "application-credential", "application-dependency", "secret"}).Draw(t, "type")
		which := rapid.SampledFrom([]string{`"0"`, `"1"`, `"2"`, `"3"`, "entities.inputs.a", "entities.inputs.b", "entities.item"}).Draw(t, "which")
		identifier := fmt.Sprintf(`"https://%s" + %s + ".example"`, of, which)
		bindings := map[string]string{"identifier": identifier, "name": `"N"`}
		entity := map[string]any{"name": name(i), "type": of, "mode": "managed", "identity": identifier, "bindings": bindings}
		many := which == "entities.item"
		switch a, r := earlier("application"), earlier("resource"); of {
		case "resource":
			if p := earlier("provider"); p != "" {
				bindings["credential_provider_id"] = p
			}
			if a != "" {
				bindings["application_id"] = a
			}
		case "application-credential":
			if a == "" {
				continue
			}
			entity["identity"] = a + ` + " public"`
			entity["bindings"] = map[string]string{"application_id": a, "type": `"public"`, "identifier": identifier}
		case "application-dependency":
			if a == "" || r == "" {
				continue
			}
			many = false
			entity["identity"] = a + ` + " " + ` + r
			entity["bindings"] = map[string]string{"application_id": a, "resource_id": r}
		case "secret":
			if r == "" {
				continue
			}
			many = false
			entity["identity"] = r + ` + " token"`
			entity["bindings"] = map[string]string{"entity_id": r, "name": `"N"`, "data": `{"type": "token", "token": entities.inputs.secret}`}
		}
		if many {
			entity["each"] = "entities.inputs.many"
		} else {
			made[of] = append(made[of], name(i))
		}
		if rapid.IntRange(0, 7).Draw(t, "conditional") == 0 {
			entity["when"] = "entities.inputs.on == true"
		}
		raw, err := json.Marshal(entity)
		if err != nil {
			t.Fatal(err)
		}
		entities = append(entities, string(raw))
	}
	k, err := catalog.ParseKind(kind, []byte(`{"title": "T", "description": "D", "input_schema": {"type": "object", "required": ["a", "b", "many", "secret"], "properties": {
		"a": {"type": "string"}, "b": {"type": "string"}, "many": {"type": "array"}, "on": {"type": "boolean"}, "secret": {"type": "string", "writeOnly": true}}},
		"entities": [`+strings.Join(entities, ",")+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// drawInputs draws what an installer gives. One of the names has a control
// character in it, which nothing may be called.
func drawInputs(t *rapid.T) string {
	which := rapid.SampledFrom([]string{"0", "1", "2", "3", "0", "1", "2", "\x01"})
	raw, err := json.Marshal(map[string]any{
		"a": which.Draw(t, "a"), "b": which.Draw(t, "b"), "many": rapid.SliceOfN(which, 0, 3).Draw(t, "many"),
		"on": rapid.Bool().Draw(t, "on"), "secret": "hunter2",
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// A creation that fails leaves a zone as it was, and so do a creation and a
// removal, whatever was there before and whoever shares it.
func TestInstallsLeaveNoTrace(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"first", "second"} { // twice as often as properties are checked by default
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			s := newCatalogServer(t)
			var kind *catalog.Kind
			s.withKinds(func() *catalog.Catalog { return catalog.New(kind) })
			n := 0
			rapid.Check(t, func(t *rapid.T) {
				n++
				s.arrange(t)
				kind = drawGraph(t, fmt.Sprintf("kind%d", n))
				p := s.object(http.StatusCreated, "POST /zones/{zone}/packages", `{"kind": "`+kind.Name+`", "name": "P"}`)["id"].(string)
				s.object(http.StatusCreated, "POST /zones/{zone}/packages/"+p+"/versions", "")
				before := s.contents()
				var installs []string
				earlier := before
				for i := range rapid.IntRange(1, 2).Draw(t, "installs") {
					if i > 0 {
						earlier = s.contents()
					}
					task := s.object(http.StatusAccepted, "POST /zones/{zone}/installs", `{"package_id": "`+p+`", "inputs": `+drawInputs(t)+`}`)
					s.work()
					install := task["install_id"].(string)
					installs = append(installs, install)
					if s.object(http.StatusOK, "GET /zones/{zone}/installs/"+install, "")["status"] == "failed" {
						if d := cmp.Diff(earlier, s.contents()); d != "" {
							t.Fatalf("a failed creation left a trace:\n%s\n%s", d, s.object(http.StatusOK, "GET /zones/{zone}/catalog_tasks/"+task["id"].(string), ""))
						}
					}
				}
				for _, install := range rapid.Permutation(installs).Draw(t, "removed") {
					s.object(http.StatusAccepted, "DELETE /zones/{zone}/installs/"+install, "")
					s.work()
				}
				if d := cmp.Diff(before, s.contents()); d != "" {
					t.Fatalf("creation and removal left a trace:\n%s", d)
				}
			})
		})
	}
}

// arrange makes or removes something that installs may meet.
func (s *server) arrange(t *rapid.T) {
	plural := rapid.SampledFrom([]string{"providers", "applications", "resources"}).Draw(t, "arranged")
	identifier := fmt.Sprintf("https://%s%d.example", strings.TrimSuffix(plural, "s"), rapid.IntRange(0, 3).Draw(t, "which arranged"))
	items := s.object(http.StatusOK, "GET /zones/{zone}/"+plural+"?identifier="+identifier, "")["items"].([]any)
	if len(items) == 0 {
		s.object(http.StatusOK, "POST /zones/{zone}/"+plural, `{"identifier": "`+identifier+`", "name": "Arranged"}`)
		return
	}
	s.object(http.StatusNoContent, "DELETE /zones/{zone}/"+plural+"/"+items[0].(map[string]any)["id"].(string), "")
}
