package api_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"deputy/internal/deputy"
	"deputy/internal/evidence"
)

func TestAuditEvents(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	agent := map[string]string{"X-Client-Request-ID": requestID, "User-Agent": "tester/1"}
	s.run(
		step{do: "POST /zones/{zone}/providers", header: agent, status: 200, keep: []string{"idp=id"}, events: []string{"providers:create"},
			body: `{"identifier":"https://idp.test","name":"IdP","client_secret":"hush","protocols":{"oauth2":{"scope_separator":",","authorization_parameters":{"prompt":"x"}}}}`},
		step{do: "DELETE /zones/{zone}/providers/{idp}", status: 204, events: []string{"providers:delete"}},
		// What a call set is named, never what it was set to.
		step{do: "GET /zones/{zone}/audit-events?filter[request_id]=" + requestID, status: 200, keep: []string{"id=items.0.id", "when=items.0.time"},
			want: `{"items":[{"type":"providers:create","outcome":"success","zone_id":"{zone}","organization_id":"{org}","request_id":"` + requestID + `",
				"actor":{"type":"service_account","id":"<any>","identifier":"admin"},"client_id":"admin","target":{"type":"provider","id":"{idp}"},"user_agent":"tester/1","ip":"192.0.2.1",
				"changes":["client_secret","identifier","name","protocols.oauth2.authorization_parameters","protocols.oauth2.scope_separator"]}],
				"pagination":{"after_cursor":null,"before_cursor":null}}`},
		step{do: "GET /zones/{zone}/audit-events/{id}", status: 200, want: `{"id":"{id}","type":"providers:create"}`},
		step{do: "GET /organizations/own/audit-events/{id}", status: 200, want: `{"id":"{id}"}`},
		step{do: "GET /zones/{zone}/audit-events/none", status: 404},
		step{do: "GET /organizations/foreign/audit-events", as: "stranger", status: 200},
		step{do: "GET /organizations/foreign/audit-events/{id}", as: "stranger", status: 404},
		step{do: "PATCH /zones/{zone}", header: map[string]string{"X-Client-Request-ID": "6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a12"}, body: `{"name":"Prod","protocols":{"oauth2":{"signing_alg":"ES256"},"other":1},"encryption_key":null}`, status: 200, events: []string{"zones:update"}},
		step{do: "GET /zones/{zone}/audit-events?filter[request_id]=6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a12", status: 200, want: `{"items":[{"changes":["encryption_key","name","protocols.oauth2.signing_alg"],"target":{"type":"zone","id":"{zone}"}}]}`},
		step{do: "POST /zones/{zone}/applications", header: map[string]string{"X-Client-Request-ID": "6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a13"}, body: `{"identifier":"a","name":"A","metadata":{}}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "GET /zones/{zone}/audit-events?filter[request_id]=6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a13", status: 200, want: `{"items":[{"changes":["identifier","metadata","name"]}]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[request_id]=6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a13&filter[request_id]=" + requestID, status: 200, want: `{"items":[{"type":"applications:create"},{"type":"providers:create"}]}`},
	)
}

func TestAuditPages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "POST /zones/{zone}/providers", status: 200, keep: []string{"idp=id"}, events: []string{"providers:create"}, body: `{"identifier":"https://idp.test","name":"IdP"}`},
		step{do: "DELETE /zones/{zone}/providers/{idp}", status: 204, events: []string{"providers:delete"}},
		step{do: "GET /zones/{zone}/audit-events", status: 200, keep: []string{"id=items.1.id", "when=items.1.time"}},
		// Newest first, or in order; pages and times.
		step{do: "GET /zones/{zone}/audit-events", status: 200, want: `{"items":[{"type":"providers:delete"},{"type":"providers:create"},{"type":"zones:create"}]}`},
		step{do: "GET /zones/{zone}/audit-events?order=asc&limit=2", status: 200, keep: []string{"next=pagination.after_cursor"}, want: `{"items":[{"type":"zones:create"},{"type":"providers:create"}]}`},
		step{do: "GET /zones/{zone}/audit-events?order=asc&limit=2&after={next}", status: 200, want: `{"items":[{"type":"providers:delete"}],"pagination":{"after_cursor":null,"before_cursor":"<any>"}}`},
		step{do: "GET /zones/{zone}/audit-events?since={when}&order=asc", status: 200, want: `{"items":[{"type":"providers:create"},{"type":"providers:delete"}]}`},
		step{do: "GET /zones/{zone}/audit-events?until={when}", status: 200, want: `{"items":[{"type":"zones:create"}]}`},
		step{do: "GET /zones/{zone}/audit-events?since=yesterday", status: 400, want: `{"details":[{"field":"since"}]}`},
		step{do: "GET /zones/{zone}/audit-events?order=random", status: 400},
		step{do: "GET /zones/{zone}/audit-events?limit=1000", status: 400},
		step{do: "GET /zones/{zone}/audit-events?after=made-up", status: 400},
		step{do: "GET /zones/{zone}/audit-events?filter[jti]=none", status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[jti]=&filter[request_id]=&limit=1", status: 200, want: `{"items":[{"type":"providers:delete"}]}`},
		step{do: "GET /zones/{zone}/audit-events?expand[]=total_count&limit=1", status: 200, want: `{"pagination":{"total_count":3}}`},
		step{do: "GET /organizations/{org}/audit-events?limit=1", status: 200, want: `{"items":[{"type":"providers:delete","zone_id":"{zone}"}]}`},
		// By what an event is about.
		step{do: "GET /zones/{zone}/audit-events?filter[type]=providers:create", status: 200, want: `{"items":[{"type":"providers:create"}]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[type]=providers:create&filter[type]=providers:delete&expand[]=total_count", status: 200,
			want: `{"items":[{"type":"providers:delete"},{"type":"providers:create"}],"pagination":{"total_count":2}}`},
		step{do: "GET /zones/{zone}/audit-events?filter[outcome]=failure", status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[outcome]=maybe", status: 400, want: `{"details":[{"field":"filter[outcome]"}]}`},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"a","name":"A"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"https://r.test","name":"R","application_id":"{app}"}`, status: 200, keep: []string{"res=id"}, events: []string{"resources:create"}},
		step{do: "GET /zones/{zone}/audit-events?filter[application_id]={app}", status: 200, want: `{"items":[{"type":"applications:create"}]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[resource_id]={res}&filter[outcome]=success", status: 200, want: `{"items":[{"type":"resources:create"}]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[resource_id]={app}", status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[user_id]={app}&filter[session_id]={app}", status: 200, want: `{"items":[]}`},
		step{do: "DELETE /zones/{zone}/resources/{res}", status: 204, events: []string{"resources:delete"}},
		step{do: "GET /zones/{zone}/audit-events?filter[resource_id]={res}&limit=1", status: 200, keep: []string{"more=pagination.after_cursor"}, want: `{"items":[{"type":"resources:delete"}]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[resource_id]={res}&limit=1&after={more}", status: 200, want: `{"items":[{"type":"resources:create"}]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[resource_id]={app}&limit=1&after={more}", status: 400},
		// A refusal is an event, with the reason.
		step{do: "POST /organizations", status: 403, events: []string{"organizations:create!"}},
		step{do: "GET /organizations/{org}/audit-events?limit=1", status: 200, want: `{"items":[{"type":"organizations:create","outcome":"failure","error":"forbidden","error_description":"<any>","zone_id":"<absent>"}]}`},
	)
}

// What the API says of the log proves itself to somebody who does not trust it.
func TestAuditProofs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "POST /zones/{zone}/providers", status: 200, keep: []string{"idp=id"}, events: []string{"providers:create"}, body: `{"identifier":"https://idp.test","name":"IdP"}`},
	)
	var now, then struct {
		evidence.Signed
		Size        int64    `json:"tree_size"`
		Root        []byte   `json:"root_hash"`
		Consistency [][]byte `json:"consistency"`
	}
	s.get("/zones/{zone}/audit-checkpoint", &then)
	s.vars["size"] = strconv.FormatInt(then.Size, 10)
	s.run(
		step{do: "DELETE /zones/{zone}/providers/{idp}", status: 204, events: []string{"providers:delete"}},
		step{do: "GET /zones/{zone}/audit-events", status: 200, keep: []string{"id=items.1.id"}},
		step{do: "GET /organizations/{org}/audit-checkpoint?since_size={size}", status: 200, want: `{"organization_id":"{org}"}`},
		step{do: "GET /organizations/{org}/audit-checkpoint?since_size=1000000", status: 400, want: `{"details":[{"field":"since_size"}]}`},
		step{do: "GET /organizations/{org}/audit-checkpoint?since_size=-1", status: 400},
		step{do: "GET /zones/{zone}/audit-entries?limit=1001", status: 400, want: `{"details":[{"field":"limit"}]}`},
		step{do: "GET /zones/{zone}/audit-entries?limit=0", status: 400},
		step{do: "GET /zones/{zone}/audit-entries?from=0", status: 400, want: `{"details":[{"field":"from"}]}`},
		step{do: "GET /zones/{zone}/audit-entries?since=today", status: 400},
		step{do: "GET /organizations/{org}/audit-entries?since=2100-01-01T00:00:00Z&from=2&limit=1", status: 200, want: `{"items":[{"seq":2,"record":"<absent>"}]}`},
		step{do: "GET /organizations/{org}/audit-checkpoint", as: "stranger", status: 404},
		step{do: "GET /organizations/{org}/audit-entries", as: "stranger", status: 404},
	)
	s.get("/organizations/{org}/audit-checkpoint?since_size={size}", &now)
	key, err := json.Marshal(now.Key)
	if err != nil {
		t.Fatal(err)
	}
	jwks := []byte(`{"keys":[` + string(key) + `]}`)
	c, _, err := evidence.OpenCheckpoint(jwks, now.Checkpoint)
	if err != nil || c.Size != now.Size || [32]byte(now.Root) != c.Root {
		t.Fatalf("%+v, %v", c, err)
	}
	var tree tlog.TreeProof
	for _, h := range now.Consistency {
		tree = append(tree, tlog.Hash(h))
	}
	if err := tlog.CheckTree(tree, now.Size, tlog.Hash(now.Root), then.Size, tlog.Hash(then.Root)); err != nil {
		t.Error(err)
	}
	// One event, by its proof alone.
	var event struct {
		Proof struct {
			Record     string   `json:"record"`
			Index      int64    `json:"leaf_index"`
			Hashes     [][]byte `json:"hashes"`
			Checkpoint string   `json:"checkpoint"`
		} `json:"inclusion_proof"`
	}
	s.get("/zones/{zone}/audit-events/{id}", &event)
	in, _, err := evidence.OpenCheckpoint(jwks, event.Proof.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	var path tlog.RecordProof
	for _, h := range event.Proof.Hashes {
		path = append(path, tlog.Hash(h))
	}
	if err := tlog.CheckRecord(path, in.Size, in.Root, event.Proof.Index, deputy.LeafHash([]byte(event.Proof.Record))); err != nil {
		t.Error(err)
	}
	if !strings.Contains(event.Proof.Record, `"type":"providers:create"`) {
		t.Error(event.Proof.Record)
	}
	// What an export is made of leads to the checkpoint; a zone's shows no event
	// of another.
	for _, path := range []string{"/organizations/{org}", "/zones/{zone}"} {
		s.get(path+"/audit-checkpoint", &then)
		var file []byte
		var page struct {
			Items []struct {
				Seq    int64  `json:"seq"`
				Leaf   []byte `json:"leaf_hash"`
				Record string `json:"record"`
			} `json:"items"`
		}
		s.get(path+"/audit-entries?limit=1000", &page)
		shown := int64(0)
		for _, item := range page.Items[:then.Size] {
			e := evidence.Entry{Seq: item.Seq, Leaf: [32]byte(item.Leaf)}
			if item.Record != "" {
				e.Record, shown = []byte(item.Record), shown+1
			}
			if strings.HasPrefix(path, "/zones") && item.Record != "" && !strings.Contains(item.Record, s.fill(`"zone_id":"{zone}"`)) {
				t.Error(item.Record)
			}
			file = e.Append(file)
		}
		v, err := evidence.Verify(bytes.NewReader(then.Signed.Append(file)), jwks, &now.Signed)
		if err != nil || v.Size != then.Size || v.Shown != shown || shown == 0 {
			t.Errorf("%s: %+v, %v", path, v, err)
		}
	}
}
