package oauth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"deputy/internal/api"
	"deputy/internal/catalog"
	"deputy/internal/deputy"
	"deputy/internal/keys"
)

// tool is a kind of package: an API that an application provides, a key, and an
// application that depends on both.
const tool = `{
	"title": "Tool", "description": "A tool.",
	"input_schema": {"type": "object", "required": ["api", "owner", "key", "token", "caller", "last"], "properties": {
		"api": {"type": "string"}, "owner": {"type": "string"}, "key": {"type": "string"}, "token": {"type": "string", "writeOnly": true},
		"caller": {"type": "string"}, "last": {"type": "string"}}},
	"entities": [
		{"name": "sts", "type": "provider", "mode": "reference", "key": "type", "identity": "\"keycard-sts\""},
		{"name": "vault", "type": "provider", "mode": "reference", "key": "type", "identity": "\"keycard-vault\""},
		{"name": "api", "type": "resource", "mode": "managed", "identity": "entities.inputs.api", "bindings": {
			"identifier": "entities.inputs.api", "name": "entities.inputs.api",
			"credential_provider_id": "entities.sts.outputs.id", "application_id": "entities.inputs.owner"}},
		{"name": "key", "type": "resource", "mode": "managed", "identity": "entities.inputs.key", "bindings": {
			"identifier": "entities.inputs.key", "name": "entities.inputs.key", "credential_provider_id": "entities.vault.outputs.id"}},
		{"name": "secret", "type": "secret", "mode": "managed", "identity": "entities.key.outputs.id + \" token\"", "bindings": {
			"entity_id": "entities.key.outputs.id", "name": "\"key\"", "data": "{\"type\": \"token\", \"token\": entities.inputs.token}"}},
		{"name": "api_edge", "type": "application-dependency", "mode": "managed", "identity": "entities.inputs.caller + \" \" + entities.api.outputs.id", "bindings": {
			"application_id": "entities.inputs.caller", "resource_id": "entities.api.outputs.id"}},
		{"name": "key_edge", "type": "application-dependency", "mode": "managed", "identity": "entities.inputs.caller + \" \" + entities.key.outputs.id", "bindings": {
			"application_id": "entities.inputs.caller", "resource_id": "entities.key.outputs.id"}},
		{"name": "last", "type": "application", "mode": "reference", "key": "id", "identity": "entities.inputs.last"}
	]}`

// The model of installs: each remembers what it found or made, in order.
type (
	simInstall struct {
		id       string
		entities []*simEntity
	}
	simEntity struct {
		name, id string // the id is of what is there now, and never comes back
		app      *simApp
		resource *simResource
		relation string
	}
)

// installer is the management API beside the servers, with a package.
type installer struct {
	*simulation
	api      *api.API
	account  *account
	packaged string
	live     []*simInstall
}

func newInstaller(s *simulation) *installer {
	kind, err := catalog.ParseKind("tool", []byte(tool))
	if err != nil {
		s.Fatal(err)
	}
	i := &installer{simulation: s, account: s.newAccountOf(s.organization)}
	i.api, err = api.New(api.Config{
		Store: s.store, Addresses: s.config.Addresses, Vault: s.vault, Pool: keys.NewPool(1), Sealing: s.sealing, Now: s.clock.Now, Log: s.config.Logger,
		Authenticate: func(ctx context.Context, bearer, address string) (*deputy.Caller, error) {
			return s.servers[0].Authenticate(ctx, bearer, address)
		},
		IssueBearer: func(context.Context, deputy.BearerRequest) (*deputy.Bearer, error) { panic("nobody signs in") },
		Catalog:     func() *catalog.Catalog { return catalog.New(kind) },
	})
	if err != nil {
		s.Fatal(err)
	}
	i.packaged = i.call(http.StatusCreated, "POST", "/packages", `{"kind": "tool", "name": "Tool"}`)["id"].(string)
	i.call(http.StatusCreated, "POST", "/packages/"+i.packaged+"/versions", "")
	return i
}

// ask makes a call about the zone.
func (i *installer) ask(want int, method, path, body string) []byte {
	i.Helper()
	r := httptest.NewRequest(method, "/zones/"+string(i.zone.ID)+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+i.serviceToken(i.account).text("access_token"))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	i.api.ServeHTTP(w, r)
	if w.Code != want {
		i.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// call is ask for an object.
func (i *installer) call(want int, method, path, body string) (out map[string]any) {
	i.Helper()
	if err := json.Unmarshal(i.ask(want, method, path, body), &out); err != nil {
		i.Fatal(err)
	}
	return out
}

// work does what waits to be done.
func (i *installer) work() {
	i.Helper()
	ctx := context.Background()
	for {
		tasks, err := i.store.ClaimTasks(ctx, []string{deputy.TaskCatalog}, 1, time.Minute)
		if err != nil {
			i.Fatal(err)
		}
		if len(tasks) == 0 {
			return
		}
		if err := i.api.RunCatalogTask(ctx, tasks[0].ZoneID, tasks[0].ID, tasks[0].Attempt); err != nil {
			i.Fatal(err)
		}
		if err := i.store.FinishTask(ctx, tasks[0], time.Time{}); err != nil {
			i.Fatal(err)
		}
	}
}

// install connects an application to a resource and a key: what is there is
// shared or adopted, what is not is made. One that fails leaves all as it was.
func (s *simulation) install() {
	i := s.installer
	if len(i.live) == 4 {
		return
	}
	a, r, k := one(s, s.apps), one(s, s.resources), one(s, s.keys)
	secret, last, status := fmt.Sprint("installed ", s.id()), string(a.ID), "active"
	if s.dice.IntN(5) == 0 {
		last, status = "gone", "failed"
	}
	inputs, err := json.Marshal(map[string]string{
		"api": r.Identifier, "owner": string(r.owner.ID), "key": k.Identifier, "token": secret, "caller": string(a.ID), "last": last,
	})
	if err != nil {
		s.Fatal(err)
	}
	x := &simInstall{id: i.call(http.StatusAccepted, "POST", "/installs", `{"package_id": "`+i.packaged+`", "inputs": `+string(inputs)+`}`)["install_id"].(string)}
	i.work()
	if got := i.call(http.StatusOK, "GET", "/installs/"+x.id, "")["status"]; got != status {
		s.Fatalf("the install is %v, not %s", got, status)
	}
	s.did["install "+status]++
	s.note("install %s of %s and %s for %s: %s", x.id, r.Identifier, k.Identifier, a.Name, status)
	if status == "active" {
		i.appear(x, "api", r)
		i.appear(x, "key", k)
		if i.place(x, &simEntity{name: "secret", id: "secret of " + string(k.ID), resource: k}, k.secret != "") {
			k.secret = secret
		}
		for name, to := range map[string]*simResource{"api_edge": r, "key_edge": k} {
			edge := pair[*simApp, *simResource]{a, to}
			i.place(x, &simEntity{name: name, id: string(a.ID) + " " + string(to.ID), app: a, resource: to}, s.edges[edge])
			s.edges[edge] = true
		}
		i.live = append(i.live, x)
	}
	i.compare()
}

// appear places a resource.
func (i *installer) appear(x *simInstall, name string, r *simResource) {
	there := r.there
	if !there {
		page, err := i.store.Resources().List(context.Background(), i.in(), deputy.Query{Where: []deputy.Filter{{Fields: []string{"identifier"}, Values: []string{r.Identifier}}}})
		if err != nil || len(page.Items) != 1 {
			i.Fatalf("%d resources %s, %v", len(page.Items), r.Identifier, err)
		}
		i.appeared(r, page.Items[0])
	}
	i.place(x, &simEntity{name: name, id: string(r.ID), resource: r}, there)
}

// place remembers what an install found or made, and reports whether it made it.
func (i *installer) place(x *simInstall, e *simEntity, there bool) (made bool) {
	switch {
	case !there:
		e.relation = "created"
	case len(i.sharers(e)) > 0:
		e.relation = "shared"
	default:
		e.relation = "adopted"
	}
	x.entities = append(x.entities, e)
	return !there
}

// sharers are the entries of installs that made an entity, or use what one made.
func (i *installer) sharers(of *simEntity) (found []*simEntity) {
	for _, x := range i.live {
		for _, e := range x.entities {
			if e != of && e.id == of.id && e.relation != "adopted" {
				found = append(found, e)
			}
		}
	}
	return found
}

// uninstall takes away what an install made, unless others need or share it.
func (s *simulation) uninstall() {
	i := s.installer
	if len(i.live) == 0 {
		return
	}
	x := one(s, i.live)
	i.call(http.StatusAccepted, "DELETE", "/installs/"+x.id, "")
	i.work()
	got := i.call(http.StatusOK, "GET", "/installs/"+x.id, "")["status"]
	if got != "deleted" {
		s.Fatalf("the install is %v", got)
	}
	s.did["uninstall"]++
	s.note("install %s is gone", x.id)
	i.live = slices.DeleteFunc(i.live, func(other *simInstall) bool { return other == x })
	relations := i.relations()
	for _, name := range []string{"key_edge", "api_edge", "secret", "key", "api"} {
		e := x.entities[slices.IndexFunc(x.entities, func(e *simEntity) bool { return e.name == name })]
		if e.relation != "created" {
			continue
		}
		if heirs := i.sharers(e); len(heirs) > 0 {
			// One of them, whichever, has made it from now on.
			n := slices.IndexFunc(heirs, func(h *simEntity) bool { return relations[h] == "created" })
			heirs[max(n, 0)].relation = "created"
		} else if !i.needed(x, e) {
			i.gone(e)
		}
	}
	i.compare()
}

// needed reports whether something beside an install needs what it made.
func (i *installer) needed(x *simInstall, e *simEntity) bool {
	if e.name != "api" && e.name != "key" || e.id != string(e.resource.ID) {
		return false
	}
	for _, a := range i.apps {
		own := slices.ContainsFunc(x.entities, func(o *simEntity) bool { return o.app == a && o.resource == e.resource && o.relation == "created" })
		if i.edges[pair[*simApp, *simResource]{a, e.resource}] && !own {
			return true
		}
	}
	return i.granted[e.resource.ID]
}

// gone notes that an entity is gone, if it is the one that is there.
func (i *installer) gone(e *simEntity) {
	r := e.resource
	switch {
	case !strings.Contains(e.id, string(r.ID)):
	case e.app != nil:
		delete(i.edges, pair[*simApp, *simResource]{e.app, r})
	case e.name == "secret":
		r.secret = ""
	case r.there:
		i.vanished(r)
	}
}

// relations returns what the server says of the entities of all installs.
func (i *installer) relations() map[*simEntity]string {
	i.Helper()
	out := map[*simEntity]string{}
	for _, x := range i.live {
		said := map[any]string{}
		for _, l := range i.call(http.StatusOK, "GET", "/installs/"+x.id, "")["links"].([]any) {
			link := l.(map[string]any)
			said[link["properties"].(map[string]any)["name"]] = link["rel"].(string)
		}
		for _, e := range x.entities {
			out[e] = said[e.name]
		}
	}
	return out
}

// compare compares all that an install may touch with the model.
func (i *installer) compare() {
	i.Helper()
	differs := func(what string, got, want any) {
		i.Helper()
		if got != want {
			i.Fatalf("%s is %v, and in the model %v, after\n%s", what, got, want, strings.Join(i.last[max(0, len(i.last)-25):], "\n"))
		}
	}
	for e, relation := range i.relations() {
		differs(e.name+" "+e.id, relation, e.relation)
	}
	there, kept := map[string]bool{}, map[string]bool{}
	for _, item := range i.call(http.StatusOK, "GET", "/resources", "")["items"].([]any) {
		there[item.(map[string]any)["id"].(string)] = true
	}
	var secrets []map[string]any
	if err := json.Unmarshal(i.ask(http.StatusOK, "GET", "/secrets", ""), &secrets); err != nil {
		i.Fatal(err)
	}
	for _, secret := range secrets {
		kept[secret["entity_id"].(string)] = true
	}
	edges := map[string]bool{}
	for _, a := range i.apps {
		for _, item := range i.call(http.StatusOK, "GET", "/applications/"+string(a.ID)+"/dependencies", "")["items"].([]any) {
			edges[string(a.ID)+item.(map[string]any)["id"].(string)] = true
		}
	}
	for _, r := range i.all() {
		differs(r.Identifier, there[string(r.ID)], r.there)
		differs("the secret of "+r.Identifier, kept[string(r.ID)], r.secret != "")
		for _, a := range i.apps {
			differs("that "+a.Name+" depends on "+r.Identifier, edges[string(a.ID)+string(r.ID)], i.edges[pair[*simApp, *simResource]{a, r}])
		}
	}
}
