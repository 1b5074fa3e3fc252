package oauth

import (
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
)

// idClaims are what we read of an ID token that comes back as a hint.
type idClaims struct {
	Issuer   string           `json:"iss"`
	Subject  string           `json:"sub"`
	Audience audience         `json:"aud"`
	Session  deputy.SessionID `json:"sid"`
}

// readIDToken returns the claims of an ID token of the zone. That it has expired
// does not matter: it says who was here, and grants nothing.
func (s *snapshot) readIDToken(now time.Time, token string) (*idClaims, error) {
	payload, _, err := s.keys.Verify(now, token, idTokenTyp)
	if err != nil {
		return nil, err
	}
	c := new(idClaims)
	if err := json.Unmarshal(payload, c); err != nil {
		return nil, deputy.Error{Kind: deputy.Unauthenticated, Message: "the token's claims are malformed"}.Because(err)
	}
	if c.Issuer != s.issuer || c.Subject == "" || len(c.Audience) != 1 {
		return nil, deputy.Errorf(deputy.Unauthenticated, "the token is no ID token of this zone")
	}
	return c, nil
}
