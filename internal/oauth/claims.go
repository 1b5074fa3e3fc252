package oauth

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

// maxActors is how deep a chain of actors may nest.
const maxActors = 10

// actor is one link of a delegation: who acts for those further in (RFC 8693
// §4.1).
type actor struct {
	Subject  string `json:"sub"`
	ClientID string `json:"client_id,omitzero"`
	Previous *actor `json:"act,omitzero"`
}

// depth returns how many actors the chain has.
func (a *actor) depth() (n int) {
	for ; a != nil; a = a.Previous {
		n++
	}
	return n
}

// claims are those of an access token (RFC 9068 §2.2). Empty ones are left
// out.
type claims struct {
	issuer       string
	subject      string
	audience     []string // one: written as a string
	issuedAt     time.Time
	expiresAt    time.Time
	id           deputy.EventID
	clientID     string
	profile      string // sub_profile
	application  string // keycard_app_id: the identifier of the calling application
	scopes       []string
	session      deputy.SessionID // sid
	act          *actor
	organization deputy.OrganizationID // of management tokens
	targets      []string              // target: further resources of the person's authorization
	authTime     time.Time             // auth_time; zero: left out
	email        string
}

// append appends the claims as one JSON object in ASCII. It is written by hand
// because every token waits for it.
func (c *claims) append(b []byte) []byte {
	b = append(b, '{')
	b = appendMember(b, "iss", c.issuer)
	b = appendMember(b, "sub", c.subject)
	b = appendName(b, "aud")
	if len(c.audience) == 1 {
		b = appendQuoted(b, c.audience[0])
	} else {
		for i, a := range c.audience {
			b = appendQuoted(append(b, "[,"[min(i, 1)]), a)
		}
		b = append(b, ']')
	}
	b = strconv.AppendInt(appendName(b, "exp"), c.expiresAt.Unix(), 10)
	b = strconv.AppendInt(appendName(b, "iat"), c.issuedAt.Unix(), 10)
	b = appendMember(b, "jti", string(c.id))
	b = appendMember(b, "client_id", c.clientID)
	b = appendMember(b, "sub_profile", c.profile)
	b = appendMember(b, "keycard_app_id", c.application)
	b = appendMember(b, "organization_id", string(c.organization))
	if len(c.scopes) > 0 {
		b = appendScopes(appendName(b, "scope"), c.scopes)
	}
	b = appendMember(b, "sid", string(c.session))
	for i, t := range c.targets {
		if i == 0 {
			b = append(appendName(b, "target"), '[')
		} else {
			b = append(b, ',')
		}
		b = appendQuoted(b, t)
	}
	if len(c.targets) > 0 {
		b = append(b, ']')
	}
	if !c.authTime.IsZero() {
		b = strconv.AppendInt(appendName(b, "auth_time"), c.authTime.Unix(), 10)
	}
	b = appendMember(b, "email", c.email)
	if c.act != nil {
		b = c.act.append(appendName(b, "act"))
	}
	return append(b, '}')
}

func (a *actor) append(b []byte) []byte {
	b = append(b, '{')
	b = appendMember(b, "sub", a.Subject)
	b = appendMember(b, "client_id", a.ClientID)
	if a.Previous != nil {
		b = a.Previous.append(appendName(b, "act"))
	}
	return append(b, '}')
}

// appendScopes appends scopes as one JSON string. Scopes need no escaping: they
// hold neither quotes nor backslashes nor anything beyond ASCII.
func appendScopes(b []byte, scopes []string) []byte {
	b = append(b, '"')
	for i, s := range scopes {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, s...)
	}
	return append(b, '"')
}

// verifiedClaims are the claims of a token of ours, read back.
type verifiedClaims struct {
	Issuer       string                `json:"iss"`
	Subject      string                `json:"sub"`
	Audience     audience              `json:"aud"`
	ExpiresAt    int64                 `json:"exp"`
	ID           string                `json:"jti"`
	ClientID     string                `json:"client_id"`
	Profile      string                `json:"sub_profile"`
	Scope        string                `json:"scope"`
	Session      deputy.SessionID      `json:"sid"`
	Act          *actor                `json:"act"`
	Organization deputy.OrganizationID `json:"organization_id"`
}

// hasScope reports whether the token carries the scope.
func (c *verifiedClaims) hasScope(scope string) bool {
	for s := range strings.SplitSeq(c.Scope, " ") {
		if s == scope {
			return true
		}
	}
	return false
}

// expired reports whether the token ended before now, a leeway aside.
func (c *verifiedClaims) expired(now time.Time, leeway time.Duration) bool {
	return !now.Before(time.Unix(c.ExpiresAt, 0).Add(leeway))
}

// audience is a claim that is a string or an array of strings (RFC 7519
// §4.1.3).
type audience []string

// UnmarshalJSONFrom reads either form.
func (a *audience) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == jsontext.KindBeginArray {
		var list []string
		err := json.UnmarshalDecode(d, &list)
		*a = list
		return err
	}
	var one string
	err := json.UnmarshalDecode(d, &one)
	*a = audience{one}
	return err
}
