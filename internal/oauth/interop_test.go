package oauth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"deputy/internal/deputy"
)

// online is a world whose zone can be reached over HTTP.
func online(t *testing.T) (w *world, base string) { return newWorld(t, both...).online(t) }

// onlineNow is one whose clock says what those of programs outside say.
func onlineNow(t *testing.T) (w *world, base string) {
	return newWorldAt(t, time.Now().Truncate(time.Second), both...).online(t)
}

func (w *world) online(t *testing.T) (_ *world, base string) {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mailed-code" {
			w.mailedCode(rw)
			return
		}
		w.server.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	base = strings.Replace(server.URL, "127.0.0.1", "localhost", 1) // passkeys need a name
	addresses, err := deputy.NewAddresses(base, "")
	if err != nil {
		t.Fatal(err)
	}
	w.config.Addresses = addresses
	w.restart()
	return w, base
}

// TestWithOIDC reads the metadata and verifies tokens with go-oidc, gets them
// with x/oauth2, by each way of client authentication.
func TestWithOIDC(t *testing.T) {
	t.Parallel()
	w, _ := online(t)
	ctx := context.Background()
	agent := w.newApp("agent")
	r := w.newResource("https://api.test/mcp", func(r *deputy.Resource) { r.Scopes = []string{"read"} })
	w.depend(agent, r)
	provider, err := oidc.NewProvider(ctx, w.issuer())
	if err != nil {
		t.Fatal(err)
	}
	verifier := provider.Verifier(&oidc.Config{
		ClientID: r.Identifier, SupportedSigningAlgs: []string{"RS256", "ES256"}, Now: w.clock.Now,
	})
	for _, alg := range []string{"RS256", "ES256"} {
		w.setZone(func(z *deputy.Zone) { z.SigningAlg = alg })
		for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams, oauth2.AuthStyleAutoDetect} {
			config := clientcredentials.Config{
				ClientID: agent.credential.Identifier, ClientSecret: agent.secret, TokenURL: provider.Endpoint().TokenURL,
				Scopes: []string{"read"}, AuthStyle: style, EndpointParams: url.Values{"resource": {r.Identifier}},
			}
			token, err := config.Token(ctx)
			if err != nil {
				t.Fatalf("%s, style %v: %v", alg, style, err)
			}
			verified, err := verifier.Verify(ctx, token.AccessToken)
			if err != nil {
				t.Fatalf("%s, style %v: %v", alg, style, err)
			}
			if verified.Subject != agent.Identifier || token.TokenType != "Bearer" || time.Until(token.Expiry) < 59*time.Minute {
				t.Errorf("%s, style %v: %+v %+v", alg, style, verified, token)
			}
		}
	}
}

// TestCodeFlowWithOIDC signs a person in as programs in Go do: x/oauth2 asks,
// redeems and refreshes, go-oidc discovers, verifies and reads who it is.
func TestCodeFlowWithOIDC(t *testing.T) {
	t.Parallel()
	w, _ := online(t)
	ctx := context.Background()
	client := w.newWebApp("web", deputy.RequiredConsent)
	api := w.newResource("https://api.test", func(r *deputy.Resource) { r.Scopes = []string{"read"} })
	provider, err := oidc.NewProvider(ctx, w.issuer())
	if err != nil {
		t.Fatal(err)
	}
	config := oauth2.Config{
		ClientID: client.credential.Identifier, ClientSecret: client.secret, Endpoint: provider.Endpoint(), RedirectURL: callback,
		Scopes: []string{oidc.ScopeOpenID, "email", "read"},
	}
	pkce := oauth2.GenerateVerifier()
	asked, err := url.Parse(config.AuthCodeURL("the-state", oauth2.S256ChallengeOption(pkce), oidc.Nonce("the-nonce"), oauth2.SetAuthURLParam("resource", api.Identifier)))
	if err != nil {
		t.Fatal(err)
	}
	b := w.newBrowser()
	b.at(b.open(asked.Query()), "/login")
	user := w.newUser("zoe@example.test")
	b.at(b.act("sign in", user), "/login/consent")
	token, err := config.Exchange(ctx, b.answered(b.act("approve", nil)), oauth2.VerifierOption(pkce))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	verifies := oidc.Config{ClientID: config.ClientID, Now: w.clock.Now}
	id, err := provider.Verifier(&verifies).Verify(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	if id.Nonce != "the-nonce" || id.Subject != user.Identifier || id.VerifyAccessToken(token.AccessToken) != nil {
		t.Errorf("the ID token is %+v", id)
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil || info.Subject != id.Subject || info.Email != user.Email || !info.EmailVerified {
		t.Errorf("userinfo says %+v, %v", info, err)
	}
	verifies = oidc.Config{ClientID: api.Identifier, Now: w.clock.Now, SupportedSigningAlgs: []string{"RS256", "ES256"}}
	if _, err := provider.Verifier(&verifies).Verify(ctx, token.AccessToken); err != nil {
		t.Error(err)
	}
	token.Expiry = time.Now().Add(-time.Hour)
	next, err := config.TokenSource(ctx, token).Token()
	if err != nil || next.RefreshToken == token.RefreshToken || next.RefreshToken == "" || next.AccessToken == token.AccessToken {
		t.Errorf("refreshed to %+v, %v", next, err)
	}
}

func TestServiceAccountWithOAuth2(t *testing.T) {
	t.Parallel()
	w, base := online(t)
	account := w.newAccount()
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		config := clientcredentials.Config{
			ClientID: account.credential.ClientID, ClientSecret: account.secret, TokenURL: base + "//service-account-token", AuthStyle: style,
		}
		token, err := config.Token(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.server.Authenticate(context.Background(), token.AccessToken, "192.0.2.9"); err != nil {
			t.Error(err)
		}
		config.ClientSecret = "wrong"
		if _, err := config.Token(context.Background()); err == nil {
			t.Error("a wrong secret works")
		} else if refused, ok := err.(*oauth2.RetrieveError); !ok || refused.ErrorCode != "invalid_client" {
			t.Errorf("refused with %v", err)
		}
	}
}
