package oauth_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
)

// account is a service account of an organization of its own.
type account struct {
	organization *deputy.Organization
	account      *deputy.ServiceAccount
	credential   *deputy.ServiceAccountCredential
	secret       string
}

func (w *world) newAccount() *account {
	w.Helper()
	return w.newAccountOf(w.newOrganization("Client", strings.ToLower(string(w.id()))))
}

func (w *world) newAccountOf(o *deputy.Organization) *account {
	w.Helper()
	now := w.clock.Now()
	if rows, err := w.store.SigningKeys(context.Background(), w.platform); err != nil {
		w.Fatal(err)
	} else if len(rows) == 0 {
		dataKey := w.newDataKey(w.platform, "")
		rows, _ := w.newKeys(w.platform, dataKey.ID)
		w.write("", func(ctx context.Context, tx deputy.Tx) error {
			if err := tx.InsertDataKey(ctx, dataKey); err != nil {
				return err
			}
			for _, row := range rows {
				if err := tx.InsertSigningKey(ctx, row); err != nil {
					return err
				}
			}
			return nil
		})
	}
	a := &account{organization: o}
	a.account = &deputy.ServiceAccount{
		ID: w.id(), OrganizationID: a.organization.ID, Name: "bootstrap", CreatedAt: now, UpdatedAt: now,
	}
	secret := deputy.NewSecret()
	a.secret = secret.Reveal()
	a.credential = &deputy.ServiceAccountCredential{
		ID: w.id(), OrganizationID: a.organization.ID, ServiceAccountID: a.account.ID,
		ClientID: deputy.NewClientID(), SecretHash: deputy.HashSecret(secret), CreatedAt: now,
	}
	w.write("", func(ctx context.Context, tx deputy.Tx) error {
		if err := tx.ServiceAccounts().Insert(ctx, a.account); err != nil {
			return err
		}
		return tx.ServiceCredentials().Insert(ctx, a.credential)
	})
	return a
}

// erase removes something of the account.
func (a *account) erase(s *stage, apply func(context.Context, deputy.Tx) error) {
	s.Helper()
	s.write("", apply)
}

// serviceToken asks for a bearer of the management API.
func (w *world) serviceToken(a *account) *answer {
	w.Helper()
	return w.service("grant_type=client_credentials", basic(a.credential.ClientID, a.secret))
}

func (w *world) service(body, authorization string) *answer {
	w.Helper()
	r := httptest.NewRequest("POST", "/service-account-token", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	r.RemoteAddr = "192.0.2.7:1234"
	return w.do(r)
}

func TestServiceAccountToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account := w.newAccount()
	id, secret := account.credential.ClientID, account.secret
	for name, a := range map[string]*answer{
		"Basic": w.serviceToken(account),
		"form":  w.service("grant_type=client_credentials&client_id="+id+"&client_secret="+secret, ""),
	} {
		w.must(a, 200, "")
		token := a.text("access_token")
		delete(a.json, "access_token")
		if diff := cmp.Diff(map[string]any{"token_type": "Bearer", "expires_in": 3600.0}, a.json); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		claims := w.payload(token)
		now := float64(w.clock.Now().Unix())
		if diff := cmp.Diff(map[string]any{
			"iss": publicURL, "aud": publicURL, "sub": string(account.account.ID), "client_id": id, "iat": now, "exp": now + 3600,
			"organization_id": string(account.organization.ID), "jti": claims["jti"],
		}, claims); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		caller, err := w.server.Authenticate(context.Background(), token, "192.0.2.9")
		want := &deputy.Caller{
			Organization: account.organization.ID, Account: account.account.ID, Name: "bootstrap", ClientID: id, Credential: account.credential.ID,
		}
		if diff := cmp.Diff(want, caller); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
		e, err := w.store.Event(context.Background(), account.organization.ID, "", deputy.EventID(claims["jti"].(string)))
		if err != nil {
			t.Fatal(err)
		}
		if event, _ := e.Event(context.Background(), w.sealing); event.Type != "credentials:issue" || event.Actor.Type != "service_account" || event.JTI != event.ID {
			t.Errorf("%s: the event is %+v", name, event)
		}
	}
	stored, err := w.store.ServiceCredentials().Get(context.Background(), deputy.Scope{Organization: account.organization.ID}, account.credential.ID)
	if err != nil || stored.LastUsedAt == nil || !stored.LastUsedAt.Equal(w.clock.Now()) {
		t.Errorf("last_used_at: %+v %v", stored, err)
	}
}

func TestServiceAccountTokenRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account := w.newAccount()
	id, secret := account.credential.ClientID, account.secret
	good := basic(id, secret)
	for _, c := range []struct {
		name, body, authorization string
		status                    int
		error, code               string
	}{
		{"wrong secret", "grant_type=client_credentials", basic(id, "wrong"), 401, "invalid_client", "unauthorized"},
		{"unknown client", "grant_type=client_credentials", basic("nobody", secret), 401, "invalid_client", "unauthorized"},
		{"nobody", "grant_type=client_credentials", "", 401, "invalid_client", "unauthorized"},
		{"client_id alone", "grant_type=client_credentials&client_id=" + id, "", 401, "invalid_client", "unauthorized"},
		{"assertion", "grant_type=client_credentials&client_assertion=x", "", 401, "invalid_client", "unauthorized"},
		{"two ways", "grant_type=client_credentials&client_id=" + id + "&client_secret=" + secret, good, 400, "invalid_request", "bad_request"},
		{"no grant", "", good, 400, "invalid_request", "bad_request"},
		{"another grant", "grant_type=password", good, 400, "unsupported_grant_type", "bad_request"},
		{"token exchange", "grant_type=" + exchangeGrantType, good, 400, "unsupported_grant_type", "bad_request"},
		{"grant twice", "grant_type=a&grant_type=b", good, 400, "invalid_request", "bad_request"},
	} {
		a := w.service(c.body, c.authorization)
		if a.status != c.status {
			t.Errorf("%s: %s", c.name, a)
		}
		want := map[string]any{
			"error": c.error, "error_description": a.json["error_description"], "message": a.json["error_description"], "code": c.code,
			"status": float64(c.status), "details": []any{}, "path": "/service-account-token",
			"request_id": a.json["request_id"], "timestamp": w.clock.Now().Format("2006-01-02T15:04:05.000Z"),
		}
		if diff := cmp.Diff(want, a.json); diff != "" || a.text("message") == "" || len(a.text("request_id")) != 36 {
			t.Errorf("%s: %s %s", c.name, a, diff)
		}
		if challenged := a.header.Get("WWW-Authenticate") != ""; challenged != (c.status == 401 && c.authorization != "") {
			t.Errorf("%s: WWW-Authenticate %v", c.name, challenged)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.newAccount(), w.newAccount()
	bearer := w.must(w.serviceToken(one), 200, "").text("access_token")
	ctx := context.Background()
	platform := w.platformSigner()
	sign := func(change map[string]any) string {
		claims := w.payload(bearer)
		for name, value := range change {
			claims[name] = value
		}
		w.signers[deputy.ES256] = platform
		return w.sign(deputy.ES256, "at+jwt", claims)
	}
	agent := w.newApp("agent")
	r := w.newResource(publicURL, nil) // a resource that calls itself as the management API
	w.depend(agent, r)
	zoneToken := w.must(w.credentialsFor(agent, publicURL), 200, "").text("access_token")
	for _, c := range []struct {
		name, bearer string
		ok           bool
	}{
		{"issued", bearer, true},
		{"signed by the platform", sign(nil), true},
		{"a zone's token", zoneToken, false},
		{"nothing", "", false},
		{"no token", "opaque", false},
		{"signature cut", bearer[:len(bearer)-4], false},
		{"of a zone's issuer", sign(map[string]any{"iss": w.issuer()}), false},
		{"for another audience", sign(map[string]any{"aud": "urn:x"}), false},
		{"for several audiences", sign(map[string]any{"aud": []string{publicURL, "urn:x"}}), false},
		{"expired", sign(map[string]any{"exp": w.clock.Now().Unix()}), false},
		{"of another account", sign(map[string]any{"sub": string(two.account.ID)}), false},
		{"of another organization", sign(map[string]any{"organization_id": string(two.organization.ID)}), false},
		{"of another credential", sign(map[string]any{"client_id": two.credential.ClientID}), false},
		{"of no organization", sign(map[string]any{"organization_id": ""}), false},
		{"of an unknown credential", sign(map[string]any{"client_id": "nobody"}), false},
	} {
		for range 2 {
			caller, err := w.server.Authenticate(ctx, c.bearer, "192.0.2.9")
			if (err == nil) != c.ok || err != nil && (!errors.Is(err, deputy.Unauthenticated) || caller != nil) {
				t.Errorf("%s: %+v, %v", c.name, caller, err)
			}
		}
	}
	w.clock.advance(time.Hour)
	if _, err := w.server.Authenticate(ctx, bearer, "192.0.2.9"); !errors.Is(err, deputy.Unauthenticated) {
		t.Errorf("after its time: %v", err)
	}
}

// newOrganizationUser adds a person to an organization.
func (w *world) newOrganizationUser(o *deputy.Organization, email string) *deputy.OrganizationUser {
	w.Helper()
	now := w.clock.Now()
	key := w.newDataKey(w.id(), "")
	u := &deputy.OrganizationUser{
		OrganizationID: o.ID, ID: w.id(), Email: email, Role: deputy.OrganizationViewer, Status: deputy.UserActive, KeyID: key.ID,
		CreatedAt: now, UpdatedAt: now,
	}
	u.Subject = string(u.ID)
	w.write("", func(ctx context.Context, tx deputy.Tx) error {
		if err := tx.InsertDataKey(ctx, key); err != nil {
			return err
		}
		return tx.OrganizationUsers().Insert(ctx, u)
	})
	return u
}

func (w *world) issueBearer(u *deputy.OrganizationUser) (*deputy.Bearer, error) {
	return w.server.IssueBearer(context.Background(), deputy.BearerRequest{
		Organization: u.OrganizationID, Account: u.ID, ClientID: "console", RequestID: "r", IP: "192.0.2.9", UserAgent: "browser",
	})
}

// bearerOf returns a person's bearer.
func (w *world) bearerOf(u *deputy.OrganizationUser) string {
	w.Helper()
	b, err := w.issueBearer(u)
	if err != nil {
		w.Fatal(err)
	}
	return b.Token.Reveal()
}

func TestBearerOfAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account := w.newAccount()
	ann := w.newOrganizationUser(account.organization, "ann@example.test")
	b, err := w.issueBearer(ann)
	if err != nil || b.Lifetime != time.Hour {
		t.Fatal(b, err)
	}
	claims := w.payload(b.Token.Reveal())
	now := float64(w.clock.Now().Unix())
	if diff := cmp.Diff(map[string]any{
		"iss": publicURL, "aud": publicURL, "sub": string(ann.ID), "sub_profile": "user", "client_id": "console", "iat": now, "exp": now + 3600,
		"organization_id": string(account.organization.ID), "jti": claims["jti"],
	}, claims); diff != "" {
		t.Error(diff)
	}
	caller, err := w.server.Authenticate(context.Background(), b.Token.Reveal(), "192.0.2.9")
	want := &deputy.Caller{
		Organization: account.organization.ID, Account: ann.ID, Name: "ann@example.test", ClientID: "console",
		Role: deputy.OrganizationViewer, KeyID: ann.KeyID, Until: w.clock.Now().Truncate(time.Second).Add(time.Hour).UTC(),
	}
	if diff := cmp.Diff(want, caller); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	r, err := w.store.Event(context.Background(), account.organization.ID, "", deputy.EventID(claims["jti"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(r.Bytes), "ann@") || strings.Contains(string(r.Bytes), "192.0.2.9") {
		t.Errorf("the log shows the person: %s", r.Bytes)
	}
	event, err := r.Event(context.Background(), w.sealing)
	if err != nil || event.Type != "credentials:issue" || !cmp.Equal(event.Actor, deputy.Actor{Type: "user", ID: string(ann.ID), Identifier: ann.Email}) ||
		event.ClientID != "console" || event.IP != "192.0.2.9" || event.JTI != event.ID {
		t.Errorf("the event is %+v, %v", event, err)
	}

	// A person is not a service account, nor in another organization.
	w.signers[deputy.ES256] = w.platformSigner()
	for name, change := range map[string]map[string]any{
		"as a service account":    {"sub_profile": ""},
		"as somebody else":        {"sub": string(account.account.ID)},
		"as an account":           {"client_id": account.credential.ClientID, "sub_profile": ""},
		"in another organization": {"organization_id": string(w.organization.ID)},
		"in no organization":      {"organization_id": ""},
		"for a zone":              {"iss": w.issuer(), "aud": w.issuer()},
		"for another resource":    {"aud": "urn:x"},
	} {
		claims := w.payload(b.Token.Reveal())
		for claim, value := range change {
			claims[claim] = value
		}
		if _, err := w.server.Authenticate(context.Background(), w.sign(deputy.ES256, "at+jwt", claims), "192.0.2.9"); !errors.Is(err, deputy.Unauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.server.IssueBearer(context.Background(), deputy.BearerRequest{Organization: w.organization.ID, Account: ann.ID}); !errors.Is(err, deputy.NotFound) {
		t.Errorf("in another organization: %v", err)
	}
}

// TestABearerIsNotRenewed: what a bearer was got for ends with it, however often
// it is exchanged.
func TestABearerIsNotRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.newOrganizationUser(w.newAccount().organization, "ann@example.test")
	b, err := w.issueBearer(ann)
	if err != nil {
		t.Fatal(err)
	}
	ends := w.payload(b.Token.Reveal())["exp"]
	again := func() (*deputy.Bearer, error) {
		caller, err := w.server.Authenticate(context.Background(), b.Token.Reveal(), "192.0.2.9")
		if err != nil {
			return nil, err
		}
		return w.server.IssueBearer(context.Background(), deputy.BearerRequest{Organization: caller.Organization, Account: caller.Account, ClientID: caller.ClientID, Until: caller.Until})
	}
	for range 2 {
		w.clock.advance(29 * time.Minute)
		if b, err = again(); err != nil || w.payload(b.Token.Reveal())["exp"] != ends {
			t.Fatal(b, err)
		}
	}
	if b.Lifetime != 2*time.Minute {
		t.Errorf("it says it lasts %v", b.Lifetime)
	}
	w.clock.advance(2 * time.Minute)
	if _, err := again(); !errors.Is(err, deputy.Unauthenticated) {
		t.Errorf("after its end: %v", err)
	}
	if _, err := w.server.IssueBearer(context.Background(), deputy.BearerRequest{Organization: ann.OrganizationID, Account: ann.ID, Until: w.clock.Now()}); !errors.Is(err, deputy.Unauthenticated) {
		t.Errorf("in the moment of its end: %v", err)
	}
}

func TestBadBearersAreThrottledGoodOnesNever(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account := w.newAccount()
	good := w.must(w.serviceToken(account), 200, "").text("access_token")
	dead := w.must(w.serviceToken(account), 200, "").text("access_token")
	show := func(bearer, address string) error {
		_, err := w.server.Authenticate(context.Background(), bearer, address)
		return err
	}
	for range 100 {
		if err := show("nonsense", "192.0.2.1"); !errors.Is(err, deputy.Unauthenticated) {
			t.Fatal(err)
		}
	}
	var tooMany *deputy.Error
	if err := show("nonsense", "192.0.2.1"); !errors.As(err, &tooMany) || tooMany.Kind != deputy.TooMany || tooMany.After != time.Minute {
		t.Errorf("the 101st: %v", err)
	}
	if err := show("nonsense", "192.0.2.2"); !errors.Is(err, deputy.Unauthenticated) {
		t.Errorf("from another address: %v", err)
	}
	if err := show(good, "192.0.2.1"); err != nil {
		t.Errorf("a good one: %v", err)
	}
	// Those of a client are counted apart, and the organization's log tells.
	w.write("", func(ctx context.Context, tx deputy.Tx) error {
		return tx.ServiceCredentials().Delete(ctx, deputy.Scope{Organization: account.organization.ID}, account.credential.ID)
	})
	if err := show(dead, "192.0.2.1"); !errors.Is(err, deputy.Unauthenticated) {
		t.Errorf("of a credential that is gone: %v", err)
	}
	w.server.Close()
	w.organization = account.organization
	if all := w.events("clients:authenticate"); len(all) != 1 || all[0].Count != 1 || all[0].IP != "192.0.2.1" {
		t.Errorf("the log has %+v", all)
	}
}
