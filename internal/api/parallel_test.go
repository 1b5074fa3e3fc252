package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"deputy/internal/api"
	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/store"
)

// writers is how many write into one zone at a time.
const writers = 200

// TestParallelWriters lets many change the same things at once, on two nodes
// where the database has several: nothing is lost, what is unique stays so, and
// nobody sees more of it than a conflict or a stale ETag.
func TestParallelWriters(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func() store.Config{
		"SQLite":     func() store.Config { return store.Config{Path: deputytest.SQLite(t)} },
		"PostgreSQL": func() store.Config { return store.Config{URL: deputytest.Postgres(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			c := database()
			s := newServerOn(t, c)
			nodes := []*api.API{s.api}
			if c.URL != "" {
				other, _, _ := s.node(c)
				nodes = append(nodes, other)
			}
			s.zone()
			s.run(
				step{do: "POST /zones/{zone}/applications", body: `{"identifier":"app","name":"App"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
				step{do: "POST /zones/{zone}/resources", body: `{"identifier":"https://r.test","name":"R"}`, status: 200, keep: []string{"res=id"}, events: []string{"resources:create"}},
				step{do: "POST /zones/{zone}/policies", body: `{"name":"P","description":"0"}`, status: 201, keep: []string{"policy=id"}, events: []string{"policies:create"}},
				step{do: "POST /zones/{zone}/secrets", body: `{"entity_id":"{res}","name":"S","data":{"type":"token","token":"first"}}`, status: 201, keep: []string{"secret=id"}, events: []string{"secrets:create"}},
				step{do: "POST /zones/{zone}/roles", body: `{"identifier":"role","name":"Role"}`, status: 200, keep: []string{"role=id"}, events: []string{"roles:create"}},
			)
			crowd := &crowd{server: s, nodes: nodes, answers: map[string]map[int]int{}}
			crowd.rush()
			crowd.settled()
		})
	}
}

// crowd writes at once and counts its answers.
type crowd struct {
	*server
	nodes   []*api.API
	lock    sync.Mutex
	answers map[string]map[int]int // by what was done and status
}

// send makes a call to one of the nodes.
func (c *crowd) send(n int, what, do, body, ifMatch string) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(c.fill(do), " ")
	r := httptest.NewRequest(method, path, strings.NewReader(c.fill(body)))
	r.Header.Set("Authorization", "Bearer admin")
	r.Header.Set("Content-Type", "application/json")
	if ifMatch != "" {
		r.Header.Set("If-Match", ifMatch)
	}
	w := httptest.NewRecorder()
	c.nodes[n%len(c.nodes)].ServeHTTP(w, r)
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.answers[what] == nil {
		c.answers[what] = map[int]int{}
	}
	c.answers[what][w.Code]++
	return w
}

// rush begins all writers at once.
func (c *crowd) rush() {
	works := []func(n int){
		func(n int) {
			c.send(n, "rename application", "PATCH /zones/{zone}/applications/{app}", fmt.Sprintf(`{"name":"App %d"}`, n), "")
		},
		func(n int) {
			c.send(n, "change resource", "PATCH /zones/{zone}/resources/{res}", fmt.Sprintf(`{"scopes":["read","s%d"],"description":"%d"}`, n, n), "")
		},
		c.count,
		func(n int) {
			c.send(n, "same identifier", "POST /zones/{zone}/applications", `{"identifier":"urn:same","name":"Same"}`, "")
		},
		func(n int) {
			c.send(n, "same name", "POST /zones/{zone}/applications", fmt.Sprintf(`{"identifier":"urn:%d","name":"Namesake"}`, n), "")
		},
		func(n int) {
			condition := []string{"", "?when_accessing={res}"}[n/8%2]
			c.send(n, "depend", "PUT /zones/{zone}/applications/{app}/dependencies/{res}"+condition, "", "")
		},
		func(n int) {
			c.send(n, "new secret", "PATCH /zones/{zone}/secrets/{secret}", fmt.Sprintf(`{"data":{"type":"token","token":"t%d"}}`, n), "")
		},
		func(n int) {
			c.send(n, "same assignment", "POST /zones/{zone}/role-assignments", `{"role_id":"{role}","principal":{"type":"application","id":"{app}"}}`, "")
		},
	}
	start := make(chan struct{})
	var wait sync.WaitGroup
	for n := range writers {
		wait.Go(func() {
			<-start
			works[n%len(works)](n)
		})
	}
	close(start)
	wait.Wait()
}

// count adds one to what the policy's description says, as often as it takes.
func (c *crowd) count(n int) {
	for {
		read := c.send(n, "read policy", "GET /zones/{zone}/policies/{policy}", "", "")
		was, err := strconv.Atoi(text(read, "description"))
		if err != nil {
			c.t.Error(err, read.Body)
			return
		}
		w := c.send(n, "count", "PATCH /zones/{zone}/policies/{policy}", fmt.Sprintf(`{"description":"%d"}`, was+1), read.Header().Get("ETag"))
		if w.Code != http.StatusPreconditionFailed {
			return
		}
	}
}

// settled checks what became of it.
func (c *crowd) settled() {
	const each = writers / 8
	for what, want := range map[string]map[int]int{
		"rename application": {200: each}, "change resource": {200: each}, "same identifier": {200: 1, 409: each - 1}, "same name": {200: each},
		"depend": {204: each}, "new secret": {200: each}, "same assignment": {200: 1, 409: each - 1},
	} {
		if got := c.answers[what]; fmt.Sprint(got) != fmt.Sprint(want) {
			c.t.Errorf("%s: answers by status %v, want %v", what, got, want)
		}
	}
	if got := c.answers["count"]; got[200] != each || len(got) > 2 || len(got) == 2 && got[412] == 0 {
		c.t.Errorf("count: answers by status %v", got)
	}
	c.events("admin")
	c.run(
		step{do: "GET /zones/{zone}/policies/{policy}", status: 200, want: fmt.Sprintf(`{"description":"%d"}`, each)},
		step{do: "GET /zones/{zone}/applications?filter[identifier]=urn:same", status: 200, want: `{"items":[{"name":"Same"}]}`},
		step{do: "GET /zones/{zone}/role-assignments?expand[]=total_count", status: 200, want: `{"pagination":{"total_count":1}}`},
		step{do: "GET /zones/{zone}/secrets/{secret}", status: 200, want: fmt.Sprintf(`{"version":%d}`, 1+each), events: []string{"secrets:read"}},
		step{do: "GET /zones/{zone}/applications/{app}/dependencies?expand[]=total_count", status: 200, want: `{"items":[{"id":"{res}"}],"pagination":{"total_count":1}}`},
	)
	slugs := map[string]bool{}
	w := c.send(0, "list", "GET /zones/{zone}/applications?query[name]=Namesake", "", "")
	var page struct{ Items []struct{ Slug string } }
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
		c.t.Fatal(err)
	}
	for _, a := range page.Items {
		slugs[a.Slug] = true
	}
	if len(slugs) != each {
		c.t.Errorf("%d applications of one name have %d slugs", each, len(slugs))
	}
	// One change after the other, each with its event.
	res := c.send(0, "read", "GET /zones/{zone}/resources/{res}", "", "")
	if description, scope := text(res, "description"), text(res, "scopes.1"); scope != "s"+description {
		c.t.Errorf("the resource is of two changes: %s", res.Body)
	}
	d, err := c.store.Resources().Get(c.t.Context(), c.in(), deputy.ID(c.vars["res"]))
	if err != nil || d.Revision != 1+each {
		c.t.Errorf("the resource has revision %d after %d changes: %v", d.Revision, each, err)
	}
}
