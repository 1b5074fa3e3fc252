package oauth

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"deputy/internal/deputy"
)

// identityClaims are those of an ID token beside those that it shares with the
// access token (OpenID Connect Core 1.0 §2).
type identityClaims struct {
	authTime time.Time
	nonce    string
	user     *deputy.User
	scopes   []string // of OpenID Connect
}

// idTokenLives is how long an ID token says something.
const idTokenLives = time.Hour

// append returns the payload of the ID token that goes with an access token.
func (c *identityClaims) append(with *claims, accessToken string) []byte {
	sum := sha256.Sum256([]byte(accessToken))
	b := append(make([]byte, 0, 768), '{')
	b = appendMember(b, "iss", with.issuer)
	b = appendMember(b, "sub", with.subject)
	b = appendMember(b, "aud", with.clientID)
	b = strconv.AppendInt(appendName(b, "exp"), with.issuedAt.Add(idTokenLives).Unix(), 10)
	b = strconv.AppendInt(appendName(b, "iat"), with.issuedAt.Unix(), 10)
	b = strconv.AppendInt(appendName(b, "auth_time"), c.authTime.Unix(), 10)
	b = appendMember(b, "nonce", c.nonce)
	b = appendMember(b, "sid", string(with.session))
	b = appendMember(b, "at_hash", base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2]))
	b = appendPersonal(b, c.user, c.scopes)
	return append(b, '}')
}

// appendPersonal appends the claims about a person that scopes ask for
// (OpenID Connect Core 1.0 §5.4).
func appendPersonal(b []byte, u *deputy.User, scopes []string) []byte {
	if slices.Contains(scopes, scopeEmail) {
		b = appendMember(b, "email", u.Email)
		b = strconv.AppendBool(appendName(b, "email_verified"), u.EmailVerified)
	}
	if slices.Contains(scopes, scopeProfile) {
		b = appendMember(b, "preferred_username", cmp.Or(u.Email, u.Identifier))
		b = strconv.AppendInt(appendName(b, "updated_at"), u.UpdatedAt.Unix(), 10)
	}
	return b
}

// complete fills in what a token says that a person's authorization is behind.
func (i *issuance) complete() {
	i.claims.scopes = append(slices.Clone(i.agreed.OpenID), i.claims.scopes...)
	if !i.agreed.narrowed {
		for _, id := range i.agreed.Targets {
			if r := i.snap.resources[id]; r != nil {
				i.claims.targets = append(i.claims.targets, r.identifier)
			}
		}
	}
	if slices.Contains(i.agreed.OpenID, scopeOpenID) {
		i.claims.authTime = i.delegator.sessions[0].AuthenticatedAt
	}
	if slices.Contains(i.agreed.OpenID, scopeEmail) {
		i.claims.email = i.delegator.user.Email
	}
}

// identify lets an ID token come along where one was asked for.
func (i *issuance) identify(d *decided) error {
	if !slices.Contains(i.agreed.OpenID, scopeOpenID) {
		return nil
	}
	if d.witness = i.snap.signer(deputy.RS256); d.witness == nil {
		return offRefusal(&deputy.Off{Part: deputy.PartKey, State: "deleted"})
	}
	d.identity = &identityClaims{
		authTime: i.claims.authTime, nonce: i.agreed.nonce, user: i.delegator.user, scopes: i.agreed.OpenID,
	}
	return nil
}
