package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A Verifier checks access tokens of one issuer for one resource server,
// offline: JWTs after RFC 9068, against the keys the issuer publishes. It is
// safe for concurrent use.
type Verifier struct {
	Issuer   string // exactly as in the tokens
	Audience string // this resource server's identifier
	HTTP     *http.Client
	Now      func() time.Time

	mu      sync.Mutex
	keys    map[string]jose.JSONWebKey // by key id; nil: never fetched
	fetched time.Time
}

// A Token is a verified access token.
type Token struct {
	Raw      string // the token itself: a credential, not for logs
	Subject  string // on whose behalf
	ClientID string // who asked for the token
	Scopes   []string
	Actors   []Actor // who acts for the subject, the latest first; none: the subject itself
	Expiry   time.Time
	ID       string // jti: the issuer's audit log knows the token by it
}

// Has reports whether the token carries a scope.
func (t *Token) Has(scope string) bool { return slices.Contains(t.Scopes, scope) }

// An Actor is a link of a chain of delegation.
type Actor struct {
	Subject  string `json:"sub"`
	ClientID string `json:"client_id,omitempty"`
}

// actClaim is the chain as tokens have it, each actor with the one before it
// inside (RFC 8693 §4.1).
type actClaim struct {
	Actor
	Before *actClaim `json:"act"`
}

func (a *actClaim) chain() (actors []Actor) {
	for ; a != nil; a = a.Before {
		actors = append(actors, a.Actor)
	}
	return actors
}

// InvalidToken says why a token is refused, in words for its bearer. Any other
// error of Verify means that the token could not be checked.
type InvalidToken string

// Error returns the reason.
func (e InvalidToken) Error() string { return string(e) }

// algorithms is closed: what a token's header names is never enough.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256}

const (
	clockSkew    = 30 * time.Second
	keysLifetime = 5 * time.Minute // then keys are fetched anew
	keysPause    = time.Minute     // between fetches, whatever key ids tokens name
)

// Verify checks a token and returns what it says: RFC 9068 §4, steps 1 to 6.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Token, error) {
	parsed, err := jwt.ParseSigned(raw, algorithms)
	if err != nil {
		return nil, InvalidToken("not a JWT signed with RS256 or ES256")
	}
	header := parsed.Headers[0]
	// Without this an ID token, or any other JWT of the issuer, would do.
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if t := strings.ToLower(typ); t != "at+jwt" && t != "application/at+jwt" {
		return nil, InvalidToken("not an access token")
	}
	key, err := v.key(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	if key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return nil, InvalidToken("signed with another algorithm than its key is for")
	}
	var registered jwt.Claims
	var own struct {
		ClientID string    `json:"client_id"`
		Scope    string    `json:"scope"`
		Act      *actClaim `json:"act"`
	}
	if err := parsed.Claims(key.Key, &registered, &own); err != nil {
		return nil, InvalidToken("the signature is wrong")
	}
	if err := v.accept(registered); err != nil {
		return nil, err
	}
	if registered.Subject == "" || own.ClientID == "" {
		return nil, InvalidToken("the token names no subject or no client")
	}
	return &Token{
		Raw:      raw,
		Subject:  registered.Subject,
		ClientID: own.ClientID,
		Scopes:   strings.Fields(own.Scope),
		Actors:   own.Act.chain(),
		Expiry:   registered.Expiry.Time(),
		ID:       registered.ID,
	}, nil
}

// accept checks who issued the token, for whom and until when.
func (v *Verifier) accept(c jwt.Claims) error {
	now := v.Now()
	switch {
	case c.Issuer != v.Issuer:
		return InvalidToken("issued by someone else")
	case !slices.Contains(c.Audience, v.Audience):
		return InvalidToken("issued for another resource")
	case c.Expiry == nil:
		return InvalidToken("the token never expires")
	case !now.Before(c.Expiry.Time().Add(clockSkew)):
		return InvalidToken("the token has expired")
	case c.NotBefore != nil && now.Add(clockSkew).Before(c.NotBefore.Time()),
		c.IssuedAt != nil && now.Add(clockSkew).Before(c.IssuedAt.Time()):
		return InvalidToken("the token is from the future")
	}
	return nil
}

// key returns the issuer's key of that id, from memory where possible. Tokens
// with made-up key ids cause one fetch a minute, not one each.
func (v *Verifier) key(ctx context.Context, id string) (jose.JSONWebKey, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	age := v.Now().Sub(v.fetched)
	k, known := v.keys[id]
	if known && age < keysLifetime {
		return k, nil
	}
	if v.keys == nil || age >= keysPause {
		keys, err := fetchKeys(ctx, v.HTTP, v.Issuer)
		if err != nil {
			return jose.JSONWebKey{}, fmt.Errorf("fetching the keys of %s: %w", v.Issuer, err)
		}
		v.keys, v.fetched = keys, v.Now()
	}
	if k, known = v.keys[id]; !known {
		return jose.JSONWebKey{}, InvalidToken("signed with a key that its issuer does not publish")
	}
	return k, nil
}

// metadata is what these programs need of an authorization server's metadata
// (RFC 8414 §2).
type metadata struct {
	Issuer        string `json:"issuer"`
	TokenEndpoint string `json:"token_endpoint"`
	JWKSURI       string `json:"jwks_uri"`
}

// fetchMetadata reads the metadata of an issuer (RFC 8414 §3).
func fetchMetadata(ctx context.Context, client *http.Client, issuer string) (*metadata, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the issuer %q is not an address", issuer)
	}
	u.Path = "/.well-known/oauth-authorization-server" + u.Path
	var m metadata
	if err := getJSON(ctx, client, u.String(), &m); err != nil {
		return nil, err
	}
	if m.Issuer != issuer { // RFC 8414 §3.3: or anyone could speak for anyone
		return nil, fmt.Errorf("%s describes the issuer %q", u, m.Issuer)
	}
	for _, endpoint := range []string{m.TokenEndpoint, m.JWKSURI} {
		if e, err := url.Parse(endpoint); err != nil || e.Scheme != u.Scheme || e.Host != u.Host {
			return nil, fmt.Errorf("%q is not at the issuer's origin", endpoint)
		}
	}
	return &m, nil
}

// fetchKeys reads the signing keys of an issuer. Keys of a kind it does not
// know are passed over (RFC 7517 §5).
func fetchKeys(ctx context.Context, client *http.Client, issuer string) (map[string]jose.JSONWebKey, error) {
	m, err := fetchMetadata(ctx, client, issuer)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := getJSON(ctx, client, m.JWKSURI, &set); err != nil {
		return nil, err
	}
	keys := map[string]jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && k.Valid() && k.IsPublic() && k.Use != "enc" && k.KeyID != "" {
			keys[k.KeyID] = k
		}
	}
	return keys, nil
}

// getJSON reads a JSON document of at most 1 MB.
func getJSON(ctx context.Context, client *http.Client, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, resp.Status)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return fmt.Errorf("%s is not JSON", address)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, resp.Body, 1<<20))
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// bearer returns the token of a request (RFC 6750 §2.1).
func bearer(r *http.Request) (string, error) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", errors.New("no bearer token")
	}
	return strings.TrimSpace(token), nil
}
