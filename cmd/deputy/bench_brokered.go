package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"deputy/internal/bench"
	"deputy/internal/client"
	"deputy/internal/demo"
)

const (
	benchRedirect = "http://127.0.0.1/bench"
	benchPeople   = 16
)

// exchangeBrokered loads the server with exchanges for the tokens of an outside
// provider, which people have authorized and which are fresh: the provider is
// not asked.
func (b *benchmark) exchangeBrokered(ctx context.Context) error {
	if b.remote.url != "" {
		return &usageError{fmt.Errorf("exchange-brokered needs a server of its own; leave --url out")}
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	site, err := demo.Listen()
	if err != nil {
		return err
	}
	defer site.Close()
	host := demo.NewCodeHost(site.URL)
	site.Serve(host)
	if err := b.guard(ctx, site.URL, host); err != nil {
		return err
	}
	var tokens []string
	for n := range benchPeople {
		token, err := b.delegator(ctx, fmt.Sprintf("delegator-%d@example.com", n))
		if err != nil {
			return fmt.Errorf("a person signs up: %w", err)
		}
		tokens = append(tokens, token)
	}
	l := tokenLoad(b.load("exchange-brokered", b.zone.TokenURL(b.base)), b.zone.Exchange(tokens, site.URL+"/api"))
	b.unsigned = true
	defer func() { b.unsigned = false }()
	return b.measure(ctx, func(context.Context) (bench.Load, error) { return l, nil })
}

// guard makes a resource that the code host guards, and lets people sign up to
// the broker, which depends on it.
func (b *benchmark) guard(ctx context.Context, at string, host *demo.CodeHost) error {
	type object = map[string]any
	base := "/zones/" + b.zone.ID
	var provider, resource struct {
		ID string `json:"id"`
	}
	var brokers struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	for _, call := range []struct {
		method string
		path   func() string
		in     func() object
		out    any
	}{
		{"POST", func() string { return "/providers" }, func() object {
			return object{"name": "Code host", "identifier": at, "client_id": host.ClientID, "client_secret": host.ClientSecret}
		}, &provider},
		{"POST", func() string { return "/resources" }, func() object {
			return object{"name": "Repositories", "identifier": at + "/api", "credential_provider_id": provider.ID, "scopes": []string{"documents:read"}}
		}, &resource},
		{"GET", func() string { return "/applications?identifier=broker" }, nil, &brokers},
		{"PUT", func() string { return "/applications/" + brokers.Items[0].ID + "/dependencies/" + resource.ID }, nil, nil},
		{"PATCH", func() string { return "/applications/" + brokers.Items[0].ID }, func() object {
			return object{"consent": "implicit", "protocols": object{"oauth2": object{"redirect_uris": []string{benchRedirect}}}}
		}, nil},
		{"PATCH", func() string { return "" }, func() object { return object{"requires_invitation": false} }, nil},
	} {
		var in any
		if call.in != nil {
			in = call.in()
		}
		if err := b.manage.Do(ctx, call.method, base+call.path(), in, call.out); err != nil {
			return err
		}
	}
	return nil
}

// delegator lets somebody sign up with the broker, authorize the code host, and
// returns their token for the broker's own resource.
func (b *benchmark) delegator(ctx context.Context, email string) (token string, err error) {
	h := client.Outside(30 * time.Second)
	p, err := demo.NewPerson(email, rand.Text(), h)
	if err != nil {
		return "", err
	}
	p.Code = func(ctx context.Context) (string, error) {
		return mailed(ctx, filepath.Join(b.folder, "data", "outbox"), email)
	}
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	back, _, err := p.Visit(ctx, b.base+"/z/"+b.zone.ID+"/oauth/2/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {b.zone.Broker.ID}, "redirect_uri": {benchRedirect}, "resource": {b.zone.Source},
		"scope":          {"documents:read"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), benchRedirect)
	if err != nil {
		return "", err
	}
	if back == nil || back.Query().Get("code") == "" {
		return "", fmt.Errorf("the browser came back with %v", back)
	}
	at := demo.Client{ID: b.zone.Broker.ID, Secret: b.zone.Broker.Secret, TokenURL: b.zone.TokenURL(b.base), HTTP: h}
	grant, err := at.Redeem(ctx, back.Query().Get("code"), benchRedirect, verifier)
	if err != nil {
		return "", err
	}
	return grant.Token, nil
}
