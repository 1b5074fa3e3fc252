package oauth

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// Impersonation: an application acts for a person who is not there and gave it
// no token. Nothing permits that unless a policy of the zone does, and whatever
// comes of it names the application as actor, for good.

// substituteTyp is the typ of the token that says who is meant. It proves
// nothing, and is not signed: no other unsigned token is taken anywhere.
const substituteTyp = "vnd.kc.su+jwt"

// errSubstitute is the answer to what is no such token.
var errSubstitute = refuse(codeInvalidRequest, "The subject token is not an unsigned one of the type "+substituteTyp+".")

// readSubstitute returns the identifier of the person whom the token means.
func readSubstitute(token string) (string, error) {
	head, rest, _ := strings.Cut(token, ".")
	body, signature, ok := strings.Cut(rest, ".")
	if !ok || signature != "" || len(token) > maxOutside || strings.ContainsAny(token, "\r\n") {
		return "", errSubstitute
	}
	var h struct {
		Typ string `json:"typ"`
		Alg string `json:"alg"`
	}
	var c struct {
		Subject string `json:"sub"`
	}
	if decodePart(head, &h, json.RejectUnknownMembers(true)) != nil || h.Typ != substituteTyp || h.Alg != "none" {
		return "", errSubstitute
	}
	if decodePart(body, &c) != nil || c.Subject == "" {
		return "", errSubstitute
	}
	return c.Subject, nil
}

// decodePart reads the JSON of one part of a token.
func decodePart(part string, to any, options ...json.Options) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to, options...)
}

// presentSubstitute takes up an impersonation.
func (s *Server) presentSubstitute(ctx context.Context, i *issuance) error {
	i.impersonates, i.use = true, deputy.UseImpersonation
	identifier, err := readSubstitute(i.form.subjectToken)
	if err != nil {
		return err
	}
	if i.wanted, err = i.form.exchangeTargets(); err != nil {
		return err
	}
	if err := s.presentAbsent(ctx, i, identifier); err != nil {
		return err
	}
	i.claims.subject, i.claims.profile = identifier, profileUser
	i.claims.act = &actor{Subject: i.client.application.Identifier, ClientID: i.client.id}
	i.question.Impersonate = true
	if i.delegator.user == nil {
		return nil // Standing refuses
	}
	i.question.Legs = []policy.Leg{{Principal: i.show()}, {Principal: &i.client.application}}
	i.event.Actor.IdentityChain = i.identities(i.event.Actor)
	return nil
}

// presentAbsent reads a person who has no session here.
func (s *Server) presentAbsent(ctx context.Context, i *issuance, identifier string) error {
	user, err := s.userCalled(ctx, i.zone.id, identifier)
	if err != nil {
		return err
	}
	i.delegator = &delegator{user: user}
	i.standing.User = user
	if user == nil {
		return nil
	}
	i.delegator.person, err = i.snap.person(ctx, s.store, user)
	return err
}

// userCalled returns the user with the identifier, or nil.
func (s *Server) userCalled(ctx context.Context, zone deputy.ZoneID, identifier string) (*deputy.User, error) {
	if deputy.SafeText("sub", identifier, 1, deputy.MaxIdentifier) != nil {
		return nil, nil // nobody can be called that
	}
	user, err := s.store.Users().Find(ctx, deputy.Scope{Zone: zone}, "identifier", identifier)
	return user, unlessAbsent(err)
}

// rereadChain reads again, in the committing transaction, the person behind a
// request and the sessions that it rests on; none, where the person is absent.
func (i *issuance) rereadChain(ctx context.Context, tx deputy.Tx) ([]*deputy.Session, *deputy.User, error) {
	if i.delegator.session != "" {
		return tx.SessionChain(ctx, i.zone.id, i.delegator.session)
	}
	user, err := tx.Users().Get(ctx, deputy.Scope{Zone: i.zone.id}, deputy.ID(i.delegator.user.ID))
	return nil, user, unlessAbsent(err)
}

// within keeps the end of what is got with a token of an absent person within
// that token's: no session ends the chain otherwise.
func (i *issuance) within(lifetime time.Duration) time.Duration {
	if i.subject == nil || i.subject.Profile != profileUser || i.subject.Session != "" {
		return lifetime
	}
	return min(lifetime, time.Unix(i.subject.ExpiresAt, 0).Sub(i.from.at.Truncate(time.Second)))
}
