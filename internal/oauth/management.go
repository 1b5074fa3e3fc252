package oauth

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"deputy/internal/deputy"
)

// platform holds the keys of the management plane.
type platform struct {
	owner deputy.ID

	mu     sync.Mutex
	held   *snapshot // its keys only
	readAt time.Time
}

// Ages up to which the management plane's keys verify bearers: ordinarily, and
// when a bearer is not signed with one of them, so that bad bearers cost the
// store no more than one read a second.
const (
	platformAge   = time.Minute
	platformRetry = time.Second
)

// platformKeys returns the management plane's keys, read no longer ago than
// age, as a snapshot that holds nothing else.
func (s *Server) platformKeys(ctx context.Context, age time.Duration) (*snapshot, error) {
	p := &s.platform
	p.mu.Lock()
	defer p.mu.Unlock()
	now := s.now()
	if p.held != nil && now.Sub(p.readAt) < age {
		return p.held, nil
	}
	rows, err := s.store.SigningKeys(ctx, p.owner)
	if err != nil {
		return nil, err
	}
	next := new(snapshot)
	if err := next.setKeys(ctx, s.builder.vault, p.held, rows, now); err != nil {
		return nil, err
	}
	if p.held != nil && string(p.held.jwks.body) == string(next.jwks.body) {
		next.keys = p.held.keys // the same keys verify: what they verified stays known
	}
	p.held, p.readAt = next, now
	return next, nil
}

// serviceToken answers at the management plane's token endpoint: client
// credentials of a service account (RFC 6749 §4.4), in the form or in the
// header. With codes, those of people are redeemed as well.
func (s *Server) serviceToken(w http.ResponseWriter, r *http.Request, from *origin, codes bool) {
	form, claimed, err := readTokenRequest(r)
	if err == nil {
		from.decides(s.now())
		var c *credential
		issue := s.issueServiceToken
		if codes && form.grantType == authorizationCode {
			issue = s.redeemPlane
		}
		for range maxAttempts {
			if c, err = issue(r.Context(), form, claimed, from); deputy.KindOf(err) != deputy.Stale {
				break
			}
		}
		if err == nil {
			writeServiceToken(w, c)
			return
		}
	}
	s.refuseService(w, r, from, claimed, asRefusal(err))
}

// issueServiceToken is one attempt to answer a service account.
func (s *Server) issueServiceToken(ctx context.Context, form *tokenRequest, claimed *claimant, from *origin) (*credential, error) {
	a, clientID, err := s.serviceAccount(ctx, claimed)
	if err != nil {
		r, ok := asDecision(err)
		if !ok {
			return nil, err
		}
		by := failure{address: from.address, clientID: claimed.name()} // nobody's, but to throttle
		if a != nil {
			by.organization, by.clientID = a.Credential.OrganizationID, clientID
		}
		return nil, s.failures.count(r, by)
	}
	if err := s.limited(from, s.platform.owner, clientID); err != nil {
		return nil, err
	}
	d := s.serviceIssuance(a, form, from)
	if form.grantType == clientCredentials {
		var held *snapshot
		if held, err = s.platformKeys(ctx, 0); err != nil {
			return nil, err
		}
		if d.signer = held.anySigner(); d.signer != nil {
			d.standing.Key = d.signer.row
		}
		var c *credential
		if c, err = s.mint(ctx, d); err == nil {
			return c, nil
		}
	} else if form.grantType == "" {
		err = refuse(codeInvalidRequest, "The parameter grant_type is missing.")
	} else {
		err = refuse(codeUnsupportedGrantType, "The grant type must be client_credentials.")
	}
	refused, ok := asDecision(err)
	if !ok {
		return nil, err
	}
	if err := s.record(ctx, d.event, nil, refused); err != nil {
		return nil, err
	}
	return nil, refused
}

// anySigner returns an active key, of the cheapest algorithm.
func (s *snapshot) anySigner() *signer {
	if len(s.signers) == 0 {
		return nil
	}
	return s.signers[0]
}

// serviceAccount returns the account that proves who it is. With an error it
// returns the account that was named, if there is one.
func (s *Server) serviceAccount(ctx context.Context, claimed *claimant) (named *deputy.Account, clientID string, err error) {
	for _, who := range claimed.identities {
		a, err := s.store.Account(ctx, who.clientID)
		if err != nil && deputy.KindOf(err) != deputy.NotFound {
			return nil, "", err
		}
		hash := deputy.SecretHash(nobody[:])
		if a != nil && a.Credential != nil {
			hash, named, clientID = a.Credential.SecretHash, a, who.clientID
		}
		if hash.Match(who.secret) && named != nil {
			return a, who.clientID, nil
		}
	}
	return named, clientID, errClient
}

// serviceIssuance prepares the bearer of an account.
func (s *Server) serviceIssuance(a *deputy.Account, form *tokenRequest, from *origin) *decided {
	issuer := s.addresses.PublicURL()
	organization := a.Credential.OrganizationID
	credential := a.Credential
	d := &decided{
		claims: claims{
			issuer: issuer, subject: string(credential.ServiceAccountID), audience: []string{issuer},
			clientID: credential.ClientID, organization: organization,
		},
		lifetime: deputy.DefaultLifetime * time.Second,
		use:      deputy.UseServiceToken,
		standing: &deputy.Standing{Organization: a.Organization, ServiceAccount: a.Account, ServiceCredential: credential},
		event: &deputy.Event{
			ID: from.id, Time: from.at, Type: eventIssue, OrganizationID: organization,
			RequestID: from.requestID, IP: from.address, UserAgent: from.userAgent,
			Actor:    deputy.Actor{Type: "service_account", ID: string(credential.ServiceAccountID)},
			ClientID: credential.ClientID, CredentialID: deputy.CredentialID(credential.ID),
			GrantType: clip(form.grantType),
		},
		reread: func(ctx context.Context, tx deputy.Tx, now *deputy.Standing) error {
			a, err := tx.Account(ctx, credential.ClientID)
			if err != nil {
				return err
			}
			now.Organization, now.ServiceAccount, now.ServiceCredential = a.Organization, a.Account, a.Credential
			return nil
		},
		note: func(tx deputy.Tx) { tx.TouchServiceCredential(organization, credential.ID, from.at) },
	}
	if a.Account != nil {
		d.event.Actor.Identifier = a.Account.Name
	}
	return d
}

func writeServiceToken(w http.ResponseWriter, c *credential) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["Pragma"] = jsonType, noStore, noCache
	h["Access-Control-Allow-Origin"] = anyone
	b := append(make([]byte, 0, len(c.token)+128), '{')
	b = appendToken(b, c.token)
	b = appendMember(b, "token_type", "Bearer")
	b = strconv.AppendInt(appendName(b, "expires_in"), c.expiresIn, 10)
	_, _ = w.Write(append(b, '}')) // a client that has gone needs no answer
}

// serviceCodes are the management API's words for statuses.
var serviceCodes = map[int]string{
	http.StatusBadRequest:          "bad_request",
	http.StatusUnauthorized:        "unauthorized",
	http.StatusMethodNotAllowed:    "bad_request",
	http.StatusTooManyRequests:     "rate_limit_exceeded",
	http.StatusInternalServerError: "internal_error",
	http.StatusServiceUnavailable:  "service_unavailable",
}

// refuseService answers in the words of OAuth and of the management API at
// once: some clients read the one, some the other.
func (s *Server) refuseService(w http.ResponseWriter, r *http.Request, from *origin, claimed *claimant, refused *refusal) {
	refused.log(s.log, from, "")
	status := refused.httpStatus()
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["Pragma"] = jsonType, noStore, noCache
	h["Access-Control-Allow-Origin"] = anyone
	if claimed != nil && claimed.basic {
		refused.challenge(h, s.addresses.PublicURL())
	} else {
		refused.challenge(h, "")
	}
	b := []byte{'{'}
	b = appendMember(b, "error", refused.code)
	b = appendMember(b, "error_description", refused.description)
	b = appendMember(b, "code", serviceCodes[status])
	b = appendMember(b, "message", refused.description)
	b = strconv.AppendInt(appendName(b, "status"), int64(status), 10)
	b = append(appendName(b, "details"), "[]"...)
	b = appendMember(b, "path", r.URL.Path)
	b = appendMember(b, "request_id", from.requestID)
	b = appendMember(b, "timestamp", from.at.Format(deputy.TimeFormat))
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '}')) // a client that has gone needs no answer
}

// userProfile is the sub_profile of a person's bearer; a service account's has
// none.
const userProfile = "user"

// IssueBearer gives a person a bearer of the management API for one of their
// organizations. It is NotFound when they are not a user of it, Denied when they
// are disabled there, and Unauthenticated when r.Until is over. Signing in and
// POST /organizations/{id}/token both end here.
func (s *Server) IssueBearer(ctx context.Context, r deputy.BearerRequest) (*deputy.Bearer, error) {
	for range maxAttempts {
		c, err := s.issueBearer(ctx, r, nil)
		if err == nil {
			return &deputy.Bearer{Token: deputy.Conceal(c.token), Lifetime: time.Duration(c.expiresIn) * time.Second}, nil
		}
		if deputy.KindOf(err) != deputy.Stale {
			return nil, err
		}
	}
	return nil, deputy.Errorf(deputy.Unavailable, "the organization keeps changing, try again")
}

// issueBearer is one attempt to give a person a bearer. effect, if not nil, is
// what happens with it in the same transaction.
func (s *Server) issueBearer(ctx context.Context, r deputy.BearerRequest, effect func(context.Context, deputy.Tx) error) (*credential, error) {
	organization, user, err := membership(ctx, s.store.Organizations(), s.store.OrganizationUsers(), r.Organization, r.Account)
	if err != nil {
		return nil, err
	}
	held, err := s.platformKeys(ctx, 0)
	if err != nil {
		return nil, err
	}
	issuer, at := s.addresses.PublicURL(), deputy.Time(s.now())
	d := &decided{
		claims: claims{
			issuer: issuer, subject: string(user.ID), audience: []string{issuer}, clientID: r.ClientID,
			profile: userProfile, organization: organization.ID,
		},
		lifetime: deputy.DefaultLifetime * time.Second,
		signer:   held.anySigner(),
		effect:   effect,
		use:      deputy.UseUserToken,
		standing: &deputy.Standing{Organization: organization, OrganizationUser: user},
		event: &deputy.Event{
			ID: deputy.EventID(deputy.NewID(at)), Time: at, Type: eventIssue, OrganizationID: organization.ID,
			RequestID: r.RequestID, IP: r.IP, UserAgent: r.UserAgent, GrantType: r.GrantType, ClientID: r.ClientID,
			Actor: deputy.Actor{Type: "user", ID: string(user.ID), Identifier: user.Email}, UserKey: user.KeyID,
		},
		reread: func(ctx context.Context, tx deputy.Tx, now *deputy.Standing) (err error) {
			now.Organization, now.OrganizationUser, err = membership(ctx, tx.Organizations(), tx.OrganizationUsers(), r.Organization, r.Account)
			return err
		},
	}
	if d.signer != nil {
		d.standing.Key = d.signer.row
	}
	if !r.Until.IsZero() {
		d.lifetime = min(d.lifetime, r.Until.Sub(at.Truncate(time.Second)))
	}
	if d.lifetime < time.Second {
		return nil, deputy.Errorf(deputy.Unauthenticated, "the bearer token has expired")
	}
	c, err := s.mint(ctx, d)
	var off *deputy.Off
	if errors.As(err, &off) {
		kind := deputy.Denied
		if off.Part == deputy.PartKey {
			kind = deputy.Unavailable
		}
		return nil, deputy.Error{Kind: kind, Message: off.Error()}.Because(err)
	}
	return c, err
}

// membership reads an organization and a user of it, from the store or inside a
// transaction. It is NotFound when there is no such user.
func membership(ctx context.Context, organizations deputy.Reads[deputy.Organization], users deputy.Reads[deputy.OrganizationUser],
	id deputy.OrganizationID, account deputy.ID) (*deputy.Organization, *deputy.OrganizationUser, error) {
	organization, err := organizations.Get(ctx, deputy.Scope{}, deputy.ID(id))
	if err != nil {
		return nil, nil, err
	}
	user, err := users.Get(ctx, deputy.Scope{Organization: id}, account)
	return organization, user, err
}

// Authenticate returns who a bearer of the management API is, which came from
// the address. The signature is checked once; that what it rests on is still
// there, on every call. Refusals are Unauthenticated, or TooMany when the
// address keeps failing.
func (s *Server) Authenticate(ctx context.Context, bearer, address string) (*deputy.Caller, error) {
	by := failure{address: address}
	v, err := s.verifyBearer(ctx, bearer)
	var caller *deputy.Caller
	if err == nil {
		by.clientID, by.organization = v.ClientID, v.Organization
		caller, err = s.caller(ctx, v)
	}
	if deputy.KindOf(err) == deputy.Unauthenticated && s.failures.tooMany(by) {
		return nil, &deputy.Error{Kind: deputy.TooMany, Message: "bearers failed too often, try again later", After: failurePeriod}
	}
	return caller, err
}

// caller returns who a verified bearer is, as long as what it rests on is in
// force.
func (s *Server) caller(ctx context.Context, v *verified) (*deputy.Caller, error) {
	use, read := deputy.UseManagement, s.accountOf
	if v.Profile == userProfile {
		use, read = deputy.UseUserManagement, s.person
	}
	var standing deputy.Standing
	c, err := read(ctx, v, &standing)
	if err != nil && deputy.KindOf(err) != deputy.NotFound {
		return nil, err
	}
	if err := standing.Live(use, s.now()); err != nil {
		return nil, deputy.Error{Kind: deputy.Unauthenticated, Message: "the bearer token is no longer valid"}.Because(err)
	}
	return c, nil
}

// person reads what a person's bearer rests on.
func (s *Server) person(ctx context.Context, v *verified, standing *deputy.Standing) (*deputy.Caller, error) {
	organization, user, err := membership(ctx, s.store.Organizations(), s.store.OrganizationUsers(), v.Organization, deputy.ID(v.Subject))
	if err != nil {
		return nil, err
	}
	standing.Organization, standing.OrganizationUser = organization, user
	return &deputy.Caller{
		Organization: organization.ID, Account: user.ID, Name: user.Email, ClientID: v.ClientID, Role: user.Role, KeyID: user.KeyID,
		Until: time.Unix(v.ExpiresAt, 0).UTC(),
	}, nil
}

// accountOf reads what a service account's bearer rests on. A bearer that says
// otherwise than the account rests on nothing.
func (s *Server) accountOf(ctx context.Context, v *verified, standing *deputy.Standing) (*deputy.Caller, error) {
	a, err := s.store.Account(ctx, v.ClientID)
	if err != nil {
		return nil, err
	}
	if string(a.Account.ID) != v.Subject || a.Organization.ID != v.Organization {
		return nil, deputy.Errorf(deputy.NotFound, "the account has no such credential")
	}
	standing.Organization, standing.ServiceAccount, standing.ServiceCredential = a.Organization, a.Account, a.Credential
	return &deputy.Caller{
		Organization: a.Organization.ID, Account: a.Account.ID, Name: a.Account.Name, ClientID: v.ClientID, Credential: a.Credential.ID,
	}, nil
}

// verifyBearer checks a bearer against the keys of the last minute, then
// against newer ones: a key may have begun to sign since.
func (s *Server) verifyBearer(ctx context.Context, bearer string) (*verified, error) {
	issuer := s.addresses.PublicURL()
	for _, age := range []time.Duration{platformAge, platformRetry} {
		held, err := s.platformKeys(ctx, age)
		if err != nil {
			return nil, err
		}
		v, err := s.verify(held.keys, issuer, bearer, 0)
		if err == nil && len(v.Audience) == 1 && v.Audience[0] == issuer {
			return v, nil
		}
	}
	return nil, deputy.Errorf(deputy.Unauthenticated, "the bearer token is not valid")
}
