package broker

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/maypok86/otter/v2"

	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

// Broker finds authorization servers. It is safe for concurrent use.
type Broker struct {
	fetcher *upstream.Fetcher
	// posting are the servers that refuse a client's secret in a header without
	// ever having said so.
	posting *otter.Cache[deputy.ProviderID, *int64] // the revision of the settings; see upstream.Fetcher
}

// New returns a Broker that reaches servers through the fetcher.
func New(f *upstream.Fetcher) *Broker {
	return &Broker{fetcher: f, posting: otter.Must(&otter.Options[deputy.ProviderID, *int64]{
		MaximumSize: 10_000, Executor: func(f func()) { f() },
	})}
}

// Server is an authorization server, and Deputy as its client.
type Server struct {
	broker *Broker
	zone   deputy.ZoneID
	row    *deputy.Provider
	set    deputy.ProviderOAuth2
	secret deputy.Secret

	identity                           bool // it says who people are
	issuer                             string
	authorize, token, register, revoke string
	keys                               string
	methods                            []string // of authenticating clients; nil: it does not say
	saysIssuer                         bool     // its answers carry iss (RFC 9207)
}

// metadata is what a server says of itself (RFC 8414 §2).
type metadata struct {
	Issuer     string   `json:"issuer"`
	Authorize  string   `json:"authorization_endpoint"`
	Token      string   `json:"token_endpoint"`
	Register   string   `json:"registration_endpoint"`
	Revoke     string   `json:"revocation_endpoint"`
	Keys       string   `json:"jwks_uri"`
	Methods    []string `json:"token_endpoint_auth_methods_supported"`
	SaysIssuer bool     `json:"authorization_response_iss_parameter_supported"`
}

// Server returns the server of a provider. It is asked about itself where its
// settings leave something open.
func (b *Broker) Server(ctx context.Context, p *deputy.Provider, secret deputy.Secret) (*Server, error) {
	return b.server(ctx, p, secret, false)
}

// Identity returns the server of a provider that people sign in through (OpenID
// Connect Core 1.0 §3.1): its keys are known, and it is always shown that an
// answer comes back to where it was asked for.
func (b *Broker) Identity(ctx context.Context, p *deputy.Provider, secret deputy.Secret) (*Server, error) {
	return b.server(ctx, p, secret, true)
}

func (b *Broker) server(ctx context.Context, p *deputy.Provider, secret deputy.Secret, identity bool) (*Server, error) {
	s := &Server{broker: b, zone: p.ZoneID, row: p, secret: secret, issuer: p.Identifier, identity: identity}
	if p.OAuth2 != nil {
		s.set = *p.OAuth2
	}
	for _, one := range []struct {
		to  *string
		set *string
	}{
		{&s.issuer, s.set.Issuer},
		{&s.authorize, s.set.AuthorizationEndpoint},
		{&s.token, s.set.TokenEndpoint},
		{&s.register, s.set.RegistrationEndpoint},
		{&s.keys, s.set.JWKSURI},
	} {
		if one.set != nil {
			*one.to = *one.set
		}
	}
	if s.usable() && (p.ClientID != nil || s.register != "") {
		return s, nil
	}
	if err := s.discover(ctx); err != nil && !s.usable() {
		return nil, err
	}
	if !s.usable() {
		return nil, &Fault{cause: errors.New("it has no authorization endpoint, no token endpoint or no keys")}
	}
	return s, nil
}

// usable reports whether the endpoints that are needed are known.
func (s *Server) usable() bool {
	return s.authorize != "" && s.token != "" && (s.keys != "" || !s.identity)
}

// discover completes the settings by the server's own document. What is set
// stays.
func (s *Server) discover(ctx context.Context) error {
	m, err := s.metadata(ctx)
	if err != nil {
		return err
	}
	for _, one := range []struct {
		to   *string
		says string
	}{{&s.authorize, m.Authorize}, {&s.token, m.Token}, {&s.register, m.Register}, {&s.revoke, m.Revoke}, {&s.keys, m.Keys}} {
		if *one.to == "" {
			*one.to = one.says
		}
	}
	s.methods, s.saysIssuer = m.Methods, m.SaysIssuer
	return nil
}

// metadata returns the server's document, at one of the places for it.
func (s *Server) metadata(ctx context.Context) (*metadata, error) {
	var failed error
	for _, address := range documents(s.issuer) {
		d, err := s.broker.fetcher.Get(ctx, upstream.Source{Zone: s.zone, URL: address, MaxAge: time.Hour})
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		m := new(metadata)
		switch err := json.Unmarshal(d.Body, m); {
		case err != nil:
			failed = errors.Join(failed, err)
		case m.Issuer != s.issuer: // RFC 8414 §3.3
			failed = errors.Join(failed, errors.New("the document is of another issuer"))
		default:
			return m, nil
		}
	}
	return nil, &Fault{Transient: true, cause: failed}
}

// documents lists where a server may describe itself: after the issuer's path
// (OpenID Connect Discovery 1.0 §4), and between host and path (RFC 8414 §3).
func documents(issuer string) []string {
	bare := strings.TrimSuffix(issuer, "/")
	places := []string{bare + "/.well-known/openid-configuration"}
	if u, err := url.Parse(bare); err == nil && u.Host != "" {
		path := u.EscapedPath()
		places = append(places, strings.TrimSuffix(bare, path)+"/.well-known/oauth-authorization-server"+path)
	}
	return places
}

// Issuer returns who the server is.
func (s *Server) Issuer() string { return s.issuer }

// Keys returns where the keys are that the server signs with.
func (s *Server) Keys() string { return s.keys }

// Known reports whether Deputy is a client of the server; else it can Register,
// if CanRegister.
func (s *Server) Known() bool { return s.row.ClientID != nil }

// CheckIssuer refuses an answer at the redirect endpoint that names another
// issuer than the server's, or none although the server always does (RFC 9207
// §2.4): it was sent to another server.
func (s *Server) CheckIssuer(iss string) error {
	if iss != s.issuer && (iss != "" || s.saysIssuer) {
		return &Fault{cause: errors.New("the answer is of another issuer")}
	}
	return nil
}

// proves reports whether the server wants PKCE: it does unless it has said that
// it knows no method, or another one only. Whoever says who people are gets it
// anyway.
func (s *Server) proves() bool {
	methods := s.set.CodeChallengeMethodsSupported
	return s.identity || methods == nil || slices.Contains(methods, "S256")
}
