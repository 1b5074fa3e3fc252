package oauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"deputy/internal/deputy"
	"deputy/internal/oauth"
)

// browser is a person's browser: it keeps cookies, and follows nothing by
// itself.
type browser struct {
	*world
	cookies map[string]string
	client  *app   // whose requests begin opens
	address string // where it is
	manages bool   // it looks at the management plane, not the zone
}

// base returns the path that the issuer's addresses begin with.
func (b *browser) base() string {
	if b.manages {
		return ""
	}
	return "/z/" + string(b.zone.ID)
}

func (b *browser) issuer() string {
	if b.manages {
		return publicURL
	}
	return b.world.issuer()
}

func (w *world) newBrowser() *browser {
	return &browser{world: w, cookies: make(map[string]string), address: "192.0.2.7:1234"}
}

// page is what a browser is shown.
type page struct {
	status   int
	header   http.Header
	body     string
	location *url.URL // nil unless it is sent on
}

// query returns a parameter of the address that the browser is sent to.
func (p *page) query(name string) string {
	if p.location == nil {
		return ""
	}
	return p.location.Query().Get(name)
}

func (b *browser) load(r *http.Request, handle http.HandlerFunc) *page {
	b.Helper()
	asked.Store(oauth.EndpointOf(b.server, r), true)
	r.RemoteAddr = b.address
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	rec := httptest.NewRecorder()
	handle(rec, r)
	for _, c := range rec.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	p := &page{status: rec.Code, header: rec.Header(), body: rec.Body.String()}
	if to := rec.Header().Get("Location"); to != "" {
		var err error
		if p.location, err = url.Parse(to); err != nil {
			b.Fatal(err)
		}
	}
	return p
}

// open sends the browser to the zone's authorization endpoint.
func (b *browser) open(query url.Values) *page {
	b.Helper()
	return b.get("/oauth/2/authorize?" + query.Encode())
}

// get asks for an address below the issuer.
func (b *browser) get(path string) *page {
	b.Helper()
	return b.load(httptest.NewRequest("GET", b.base()+path, nil), b.server.ServeHTTP)
}

// send posts a form to an address below the issuer.
func (b *browser) send(path string, f url.Values) *page {
	b.Helper()
	r := httptest.NewRequest("POST", b.base()+path, strings.NewReader(f.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.load(r, b.server.ServeHTTP)
}

// act takes a step on the sign-in pages.
func (b *browser) act(step string, user *deputy.User) *page {
	b.Helper()
	r := httptest.NewRequest("POST", "/z/"+string(b.zone.ID)+"/login", nil)
	return b.load(r, func(w http.ResponseWriter, r *http.Request) { b.server.Act(w, r, b.zone.ID, step, user) })
}

// at fails unless the browser is sent to a page of the zone.
func (b *browser) at(p *page, path string) *page {
	b.Helper()
	if p.location == nil || p.location.String() != b.issuer()+path {
		b.Fatalf("the browser is at %d %v %s, want %s", p.status, p.location, p.body, path)
	}
	return p
}

// shown fails unless the browser is shown an error page.
func (b *browser) shown(p *page, code string) *page {
	b.Helper()
	if p.status != 400 || p.location != nil || !strings.Contains(p.body, code) || !strings.HasPrefix(p.header.Get("Content-Type"), "text/html") {
		b.Fatalf("the browser is at %d %v %s, want a page about %s", p.status, p.location, p.body, code)
	}
	return p
}

const (
	callback = "https://client.test/callback"
	verifier = "a-verifier-that-is-long-enough-to-be-accepted-0123456789"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// newWebApp makes an application that people sign in to.
func (w *world) newWebApp(name string, consent deputy.Consent) *app {
	w.Helper()
	a := w.newApp(name)
	w.change(a, func(x *deputy.Application) { x.Consent, x.RedirectURIs = consent, []string{callback} })
	return a
}

// change changes an application.
func (w *world) change(a *app, set func(*deputy.Application)) {
	w.Helper()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Applications().Update(ctx, w.in(), deputy.ID(a.ID), func(x *deputy.Application) error {
			set(x)
			return nil
		})
		return err
	})
}

// newUser makes a person who has no session yet.
func (w *world) newUser(email string) *deputy.User {
	w.Helper()
	now := w.clock.Now()
	id := w.id()
	key := w.newDataKey(id, w.zone.KeyID)
	u := &deputy.User{
		ID: deputy.UserID(id), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Identifier: string(id),
		Email: email, EmailVerified: true, Status: deputy.UserActive, KeyID: key.ID, CreatedAt: now, UpdatedAt: now,
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		if err := tx.InsertDataKey(ctx, key); err != nil {
			return err
		}
		return tx.Users().Insert(ctx, u)
	})
	return u
}

// asking returns the parameters of an authorization request of the client;
// more are set on top, or removed when empty.
func asking(clientID string, more ...string) url.Values {
	q := form(
		"response_type", "code", "client_id", clientID, "redirect_uri", callback, "state", "the-state",
		"code_challenge", challengeOf(verifier), "code_challenge_method", "S256",
	)
	for i := 0; i < len(more); i += 2 {
		switch {
		case more[i+1] == "":
			q.Del(more[i])
		case more[i] == "resource":
			q.Add(more[i], more[i+1])
		default:
			q.Set(more[i], more[i+1])
		}
	}
	return q
}

// answered fails unless the browser is sent back to the client with a code.
func (b *browser) answered(p *page) string {
	b.Helper()
	if p.location == nil || !strings.HasPrefix(p.location.String(), callback+"?") || p.query("code") == "" {
		b.Fatalf("the browser is at %d %v %s, want it back with a code", p.status, p.location, p.body)
	}
	if p.query("state") != "the-state" || p.query("iss") != b.issuer() {
		b.Errorf("the answer is %s", p.location)
	}
	return p.query("code")
}

// refused fails unless the browser is sent back to the client with an error.
func (b *browser) refused(p *page, code string) *page {
	b.Helper()
	if p.location == nil || !strings.HasPrefix(p.location.String(), callback+"?") || p.query("error") != code || p.query("code") != "" {
		b.Fatalf("the browser is at %d %v %s, want it back with %s", p.status, p.location, p.body, code)
	}
	if p.query("state") != "the-state" || p.query("iss") != b.issuer() || p.query("error_description") == "" {
		b.Errorf("the answer is %s", p.location)
	}
	return p
}
