package bench

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
)

// A People is a client that people sign in to, and the browsers of those who
// have.
type People struct {
	Zone   *Zone
	Client Client
	// Callback is where answers go; nobody needs to be there.
	Callback string
	// Cookies are Cookie headers, one of each browser.
	Cookies []string
}

// verifier is the PKCE verifier of all requests (RFC 7636 §4.1): what is
// measured does not depend on it.
const verifier = "the-verifier-of-a-load-which-nobody-needs-to-guess-0123456789"

// AuthorizeURL returns the authorization request of the client, with more
// parameters on top.
func (p *People) AuthorizeURL(base string, more ...string) string {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {p.Client.ID}, "redirect_uri": {p.Callback}, "state": {"state"},
		"resource": {p.Zone.Source}, "scope": {"documents:read"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return base + "/z/" + p.Zone.ID + "/oauth/2/authorize?" + q.Encode()
}

// codeFlow is what a connection of a load of code flows is at.
type codeFlow struct {
	code   []byte // that the last answer brought; nil: a flow begins
	memory []byte
}

// CodeFlows makes a load of code flows: each connection in turn sends a browser
// that is signed in to the authorization endpoint, and redeems the code that it
// comes back with. The figures are of the second request, so of whole flows.
// got, if it is not nil, is given each refresh token, with the connection.
func (p *People) CodeFlows(l Load, base string, got func(worker int, token string)) Load {
	address, _ := url.Parse(base)
	ask, _ := url.Parse(p.AuthorizeURL(base))
	begin := []byte("GET " + ask.RequestURI() + " HTTP/1.1\r\nHost: " + address.Host + "\r\nCookie: ")
	token := []byte("POST /z/" + p.Zone.ID + "/oauth/2/token HTTP/1.1\r\nHost: " + address.Host +
		"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ")
	redeem := []byte(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {p.Client.ID}, "client_secret": {p.Client.Secret},
		"redirect_uri": {p.Callback}, "code_verifier": {verifier},
	}.Encode() + "&code=")
	flows := make([]codeFlow, l.Connections)
	l.URL, l.Step = p.Zone.TokenURL(base), 302
	l.Raw = func(dst []byte, worker int, _ uint64) []byte {
		f := &flows[worker]
		if f.code == nil {
			dst = append(append(dst, begin...), p.Cookies[worker%len(p.Cookies)]...)
			return append(dst, "\r\n\r\n"...)
		}
		dst = strconv.AppendInt(append(dst, token...), int64(len(redeem)+len(f.code)), 10)
		return append(append(append(dst, "\r\n\r\n"...), redeem...), f.code...)
	}
	l.Answer = func(worker, status int, location, body []byte) {
		f := &flows[worker]
		if f.code = nil; status == l.Step {
			_, query, _ := bytes.Cut(location, []byte("?"))
			for pair := range bytes.SplitSeq(query, []byte("&")) {
				if code, ok := bytes.CutPrefix(pair, []byte("code=")); ok {
					f.memory = append(f.memory[:0], code...)
					f.code = f.memory
				}
			}
		} else if refresh := member(body, "refresh_token"); got != nil && refresh != "" {
			got(worker, refresh)
		}
	}
	return l
}

// Refreshes makes a load of refreshes: each connection has sessions of its own,
// whose tokens it replaces in turn. tokens are the first ones, by connection.
func (p *People) Refreshes(l Load, base string, tokens [][]string) Load {
	fixed := url.Values{"grant_type": {"refresh_token"}, "client_id": {p.Client.ID}, "client_secret": {p.Client.Secret}}.Encode() + "&refresh_token="
	tokens = slices.Clone(tokens)
	next, bodies := make([]int, len(tokens)), make([][]byte, len(tokens))
	l.URL = p.Zone.TokenURL(base)
	l.Body = func(worker int, _ uint64) []byte {
		bodies[worker] = append(append(bodies[worker][:0], fixed...), tokens[worker][next[worker]]...)
		return bodies[worker]
	}
	l.Answer = func(worker, _ int, _, body []byte) {
		if token := member(body, "refresh_token"); token != "" {
			tokens[worker][next[worker]] = token
		}
		next[worker] = (next[worker] + 1) % len(tokens[worker])
	}
	return l
}

// Introspections returns a load's bodies: the broker asks about each of the
// tokens in turn.
func (z *Zone) Introspections(tokens []string) func(worker int, seq uint64) []byte {
	fixed := url.Values{"client_id": {z.Broker.ID}, "client_secret": {z.Broker.Secret}}.Encode() + "&token="
	bodies := make([][]byte, len(tokens))
	for i, t := range tokens {
		bodies[i] = []byte(fixed + t)
	}
	return func(_ int, seq uint64) []byte { return bodies[seq%uint64(len(bodies))] }
}

// member returns a member of a JSON object that is a text without escapes.
func member(body []byte, name string) string {
	_, rest, ok := bytes.Cut(body, []byte(`"`+name+`":"`))
	if !ok {
		return ""
	}
	text, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(text)
}
