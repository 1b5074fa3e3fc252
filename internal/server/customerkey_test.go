package server_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"deputy/internal/client"
	"deputy/internal/deputytest"
	"deputy/internal/server"
	"deputy/internal/vault"
)

// TestZonesHaveKeysOfTheirOwn: the key of a zone is wrapped by the customer's,
// changes with it, and cannot be had without it.
func TestZonesHaveKeysOfTheirOwn(t *testing.T) {
	service := deputytest.NewKMS(t)
	for name, value := range service.Environment() {
		t.Setenv(name, value)
	}
	w := newNodes(t, 2, map[string]string{"DEPUTY_AWS_KMS": "true", "DEPUTY_PUBLIC_URL": "https://id.example.com"})
	service.Now = w.clock.Now
	account, err := client.ReadAccount(w.nodes[0].Config().BootstrapFile())
	if err != nil {
		t.Fatal(err)
	}
	const one = "arn:aws:kms:eu-west-1:111122223333:key/one"
	const two = "arn:aws:kms:us-gov-west-1:111122223333:alias/two"
	const foreign = "arn:aws:kms:eu-west-1:111122223333:key/foreign"
	service.Allow(one, account.OrganizationID)
	service.Allow(two, account.OrganizationID)
	service.Allow(foreign, "another organization")
	root, err := vault.ReadRootKey(w.nodes[0].Config().DataDir + "/root.key")
	if err != nil {
		t.Fatal(err)
	}
	rooted := func() int {
		t.Helper()
		all, _, err := w.nodes[0].DataKeys(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	// fresh is a node with nothing in memory.
	fresh := func() *server.Server {
		t.Helper()
		n, _ := openAt(t, w.clock.Now, w.env, io.Discard)
		serve(t, n)
		return n
	}
	key := func(arn string) map[string]any {
		return map[string]any{"encryption_key": map[string]any{"type": "aws", "arn": arn}}
	}
	patch := func(in map[string]any, status int) made {
		t.Helper()
		var out made
		err := w.manage.Do(t.Context(), "PATCH", "/zones/"+w.zone, in, &out)
		var refused *client.Error
		switch {
		case status == 200 && err != nil:
			t.Fatal(err)
		case status != 200 && (!errors.As(err, &refused) || refused.Status != status):
			t.Errorf("got %v, want %d", err, status)
		}
		return out
	}
	now := func() string {
		t.Helper()
		var out made
		if err := w.manage.Do(t.Context(), "GET", "/zones/"+w.zone, nil, &out); err != nil {
			t.Fatal(err)
		}
		if out.Key == nil {
			return ""
		}
		return out.Key.ARN
	}

	before := rooted()
	if got := patch(key(one), 200); got.Key == nil || got.Key.ARN != one || rooted() != before-1 {
		t.Errorf("the zone is %+v, and the root key wraps %d keys after %d", got, rooted(), before)
	}
	uses := service.Uses()
	if len(uses) != 1 || uses[0].Operation != "Encrypt" || uses[0].Key != one || uses[0].Context["organization_id"] != account.OrganizationID {
		t.Errorf("the service was used for %+v", uses)
	}
	w.signer(w.nodes[1], "")
	w.signer(fresh(), "")
	if uses := service.Uses(); uses[len(uses)-1].Operation != "Decrypt" {
		t.Errorf("a node with nothing in memory did not ask: %+v", uses)
	}
	n := len(service.Uses())
	patch(key(one), 200)
	patch(map[string]any{"description": "as it was"}, 200)
	if len(service.Uses()) != n || now() != one {
		t.Error("the same key was used to change nothing, or is gone")
	}

	// What cannot be used is refused, and nothing has changed.
	for _, arn := range []string{foreign, "arn:aws:kms:eu-west-1:111122223333:key/unknown", "arn:aws:kms:169.254.169.254/:111122223333:key/x", "arn", ""} {
		patch(key(arn), 400)
	}
	service.Refuse(two, "AccessDeniedException")
	patch(key(two), 400)
	service.Allow(two, account.OrganizationID)
	service.Refuse(one, "DisabledException")
	patch(key(two), 400) // the one before is needed as well
	service.Allow(one, account.OrganizationID)
	service.Down(true)
	patch(key(two), 503)
	service.Down(false)
	if now() != one {
		t.Errorf("the key is %s", now())
	}
	w.signer(fresh(), "")

	// To another, which from then on is the only one that is needed.
	patch(key(two), 200)
	service.Refuse(one, "DisabledException")
	w.signer(fresh(), "")
	// Who has the database and the root key has nothing without it.
	service.Refuse(two, "DisabledException")
	late := fresh()
	r, err := http.PostForm(late.ListensOn()+"/z/"+w.zone+"/oauth/2/token", url.Values{
		"grant_type": {"client_credentials"}, "resource": {"https://api.example.com"}, "client_id": {w.agent.id}, "client_secret": {w.agent.secret}})
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode < 500 {
		t.Errorf("without the key: %s", r.Status)
	}
	service.Allow(two, account.OrganizationID)
	w.signer(late, "")

	// And back to the platform's.
	if got := patch(map[string]any{"encryption_key": nil}, 200); got.Key != nil || rooted() != before {
		t.Errorf("the zone is %+v", got)
	}
	service.Refuse(two, "DisabledException")
	w.signer(fresh(), "")

	// A zone may begin with one; the replacement of the root key leaves it alone.
	service.Allow(one, account.OrganizationID)
	w.zone = w.make("/zones", map[string]any{"name": "Own", "encryption_key": map[string]any{"type": "aws", "arn": one}}).ID
	if now() != one || rooted() != before {
		t.Errorf("the key is %s", now())
	}
	var refused *client.Error
	if err := w.manage.Do(t.Context(), "POST", "/zones", map[string]any{"name": "Other", "encryption_key": map[string]any{"type": "aws", "arn": foreign}}, nil); !errors.As(err, &refused) || refused.Status != 400 {
		t.Errorf("with another's key: %v", err)
	}
	var out strings.Builder
	if err := server.RotateRootKey(t.Context(), *w.nodes[0].Config(), io.Discard, &out); err != nil {
		t.Fatal(err)
	}
	if kids := w.published(fresh(), "ES256"); len(kids) != 1 {
		t.Errorf("published %v", kids)
	}
}
