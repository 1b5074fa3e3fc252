package oauth

import (
	"encoding/base64"
	"net/http"
	"strings"

	"deputy/internal/deputy"
)

// claimant is who a request says it comes from, and the proof it brings
// (RFC 6749 §2.3).
type claimant struct {
	basic bool // by the Authorization header: a refusal is a challenge
	// identities are the readings of what was presented: two when the Basic
	// header reads differently decoded and raw, none when nobody is named.
	identities []identity
	proven     bool // a secret was presented, or an assertion
	assertion  *assertion
}

type identity struct {
	clientID string
	secret   deputy.Secret
}

// newClaimant gathers what the header and the form say about the client.
func newClaimant(h http.Header, f *tokenRequest) (*claimant, error) {
	c := new(claimant)
	methods := 0
	header, err := basicHeader(h["Authorization"])
	if err != nil {
		c.basic = true
		return c, err
	}
	if header != "" {
		methods++
		c.basic, c.proven = true, true
		if c.identities, err = basicIdentities(header, f.clientID); err != nil {
			return c, err
		}
	}
	if !f.clientSecret.IsZero() {
		methods++
		c.proven = true
		c.identities = []identity{{f.clientID, f.clientSecret}}
	}
	asserted := f.clientAssertion != "" || f.clientAssertionType != "" // RFC 7521 §4.2
	if asserted {
		methods++
	}
	if methods > 1 {
		return c, refuse(codeInvalidRequest, "More than one way of client authentication is used.")
	}
	if asserted {
		c.proven = true
		if c.assertion, err = newAssertion(f); err != nil {
			return c, disproven(err)
		}
	}
	if methods == 0 && f.clientID != "" {
		c.identities = []identity{{clientID: f.clientID}}
	}
	return c, nil
}

// basicHeader returns the credentials of a Basic Authorization header, still
// in base64. A header of another scheme is not for the token endpoint.
func basicHeader(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", refuse(codeInvalidRequest, "More than one Authorization header is given.")
	}
	scheme, credentials, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", nil
	}
	credentials = strings.TrimLeft(credentials, " ") // RFC 9110 §11.4: one space or more
	if credentials == "" {
		return "", errClient
	}
	return credentials, nil
}

// basicIdentities decodes Basic credentials (RFC 7617 §2). The RFC for OAuth
// has both halves form-encoded, and many clients send them raw: the decoded
// reading comes first. When the form names a client too, only readings of that
// client count.
func basicIdentities(credentials, formClient string) ([]identity, error) {
	text, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return nil, errClient
	}
	rawID, rawSecret, _ := strings.Cut(string(text), ":")
	var all []identity
	add := func(id, secret string) {
		if id != "" && secret != "" && (formClient == "" || formClient == id) {
			all = append(all, identity{id, deputy.Conceal(secret)})
		}
	}
	id, okID := unescape(rawID)
	secret, okSecret := unescape(rawSecret)
	if okID && okSecret {
		add(id, secret)
	}
	if !okID || !okSecret || id != rawID || secret != rawSecret {
		add(rawID, rawSecret)
	}
	return all, nil
}

// name returns the client id that the request gives, for counting.
func (c *claimant) name() string {
	switch {
	case c == nil:
	case c.assertion != nil:
		return clip(c.assertion.claims.Subject)
	case len(c.identities) > 0:
		return clip(c.identities[0].clientID)
	}
	return ""
}
