package deputy

import (
	"fmt"
	"slices"
	"time"
)

// Part is one thing that a use of access rests on.
type Part string

// The parts.
const (
	PartOrganization      Part = "organization"
	PartServiceAccount    Part = "service account"
	PartServiceCredential Part = "service account credential"
	PartOrganizationUser  Part = "organization user"
	PartInvitation        Part = "invitation"
	PartZone              Part = "zone"
	PartKey               Part = "key"
	PartApplication       Part = "application"
	PartCredential        Part = "credential"
	PartResource          Part = "resource"
	PartProvider          Part = "provider"
	PartSubject           Part = "subject application"
	PartTokenClient       Part = "client of the token"
	PartUser              Part = "user"
	PartSession           Part = "session"
	PartUserAgent         Part = "user agent"
	PartSecret            Part = "secret"
	PartGrant             Part = "delegated grant"
)

// Use is a way in which access is used or handed out.
type Use string

// The uses. Each names in needs what it rests on; the table test walks every
// use, every part of it and every state of that part.
const (
	UseManagement           Use = "management call"
	UseServiceToken         Use = "service account token"
	UseUserManagement       Use = "management call of a person"
	UseUserToken            Use = "management token of a person"
	UseInvitation           Use = "acceptance of an invitation"
	UseClientCredentials    Use = "client credentials"
	UseExchangeApplication  Use = "token exchange for an application"
	UseExchangeUser         Use = "token exchange for a user"
	UseSignIn               Use = "sign-in"
	UseWebSession           Use = "web session"
	UseAuthorize            Use = "authorization for an application"
	UseAuthorizeAgent       Use = "authorization for a user agent"
	UseCode                 Use = "authorization code of an application"
	UseCodeAgent            Use = "authorization code of a user agent"
	UseRefresh              Use = "refresh by an application"
	UseRefreshAgent         Use = "refresh by a user agent"
	UseToken                Use = "token of a user"
	UseApplicationToken     Use = "token of an application"
	UseImpersonation        Use = "impersonation of a user"
	UseExchangeImpersonated Use = "token exchange for an impersonated user"
	UseImpersonatedToken    Use = "token of an impersonated user"
	UseSecret               Use = "vaulted secret" // beside what it is asked for with
	UseSignals              Use = "signals of a zone"
	UseGrant                Use = "brokered token" // beside what it is asked for with
)

var (
	account = []Part{PartOrganization, PartServiceAccount, PartServiceCredential}
	orgUser = []Part{PartOrganization, PartOrganizationUser}
	client  = []Part{PartZone, PartApplication, PartCredential}
	target  = []Part{PartResource, PartProvider, PartKey}
	person  = []Part{PartUser, PartSession}
	agent   = []Part{PartZone, PartUserAgent}
	needs   = map[Use][]Part{ // in the order in which they are named
		UseManagement:           account,
		UseServiceToken:         slices.Concat(account, []Part{PartKey}),
		UseUserManagement:       orgUser,
		UseUserToken:            slices.Concat(orgUser, []Part{PartKey}),
		UseInvitation:           {PartOrganization, PartInvitation},
		UseClientCredentials:    slices.Concat(client, target),
		UseExchangeApplication:  slices.Concat(client, []Part{PartSubject}, target),
		UseExchangeUser:         slices.Concat(client, person, []Part{PartTokenClient}, target),
		UseSignIn:               {PartZone, PartUser},
		UseWebSession:           slices.Concat([]Part{PartZone}, person),
		UseAuthorize:            slices.Concat(client, person, []Part{PartResource, PartProvider}),
		UseAuthorizeAgent:       slices.Concat(agent, person, []Part{PartResource, PartProvider}),
		UseCode:                 slices.Concat(client, person, target),
		UseCodeAgent:            slices.Concat(agent, person, target),
		UseRefresh:              slices.Concat(client, person, target),
		UseRefreshAgent:         slices.Concat(agent, person, target),
		UseToken:                slices.Concat([]Part{PartZone}, person, []Part{PartTokenClient}),
		UseApplicationToken:     {PartZone, PartSubject},
		UseImpersonation:        slices.Concat(client, []Part{PartUser}, target),
		UseExchangeImpersonated: slices.Concat(client, []Part{PartUser, PartTokenClient}, target),
		UseImpersonatedToken:    {PartZone, PartUser, PartTokenClient},
		UseSignals:              {PartZone, PartApplication, PartKey},
		UseSecret:               {PartResource, PartProvider, PartSecret},
		UseGrant:                {PartUser, PartResource, PartProvider, PartGrant},
	}
)

// Uses returns every use with the parts it rests on.
func Uses() map[Use][]Part { return needs }

// Standing is what one use of access rests on. A nil or empty member does not
// exist, or no longer. Of what can only exist or not, the id is enough.
type Standing struct {
	Organization      *Organization
	ServiceAccount    *ServiceAccount
	ServiceCredential *ServiceAccountCredential
	OrganizationUser  *OrganizationUser
	Invitation        *Invitation
	Zone              *Zone
	Key               *SigningKey // nil is fine where the credential is not signed: see Unsigned
	Unsigned          bool        // the credential is handed out, not signed
	Application       ApplicationID
	Credential        CredentialID
	Resource          *Resource
	Provider          *Provider
	Subject           ApplicationID
	TokenClient       string // client_id of whom the token was issued to
	UserAgent         ID
	Secret            ID // of the vault
	Grant             *Grant
	User              *User
	// Sessions is the session and its parents, innermost first. The last has no
	// parent; a missing parent is a nil element.
	Sessions []*Session
}

// Off says that a part may no longer be used, and why. It is Denied.
type Off struct {
	Part  Part
	State string // "deleted", "disabled", "expired", "revoked", "accepted", "retired"
}

// OfSubject reports whether the part is one of those whom access is about.
func (o *Off) OfSubject() bool {
	return o.Part == PartSubject || o.Part == PartUser || o.Part == PartSession || o.Part == PartTokenClient
}

// Error returns a sentence for the operator's log.
func (o *Off) Error() string { return fmt.Sprintf("the %s is %s", o.Part, o.State) }

// Is reports that an Off is a refusal.
func (o *Off) Is(target error) bool { return target == Denied }

// Live reports whether use may go on at now: nil when every part it rests on
// is in force, else an *Off naming the first that is not. It is the only place
// that decides this.
func (s *Standing) Live(use Use, now time.Time) error {
	parts, known := needs[use]
	if !known {
		return fmt.Errorf("unknown use %q", use)
	}
	for _, part := range parts {
		if state := s.state(part, now); state != "" {
			return &Off{Part: part, State: state}
		}
	}
	return nil
}

// state returns why the part is off, or "" when it is in force.
func (s *Standing) state(part Part, now time.Time) string {
	const deleted = "deleted"
	exists := func(there bool) string {
		if there {
			return ""
		}
		return deleted
	}
	switch part {
	case PartOrganization:
		return exists(s.Organization != nil)
	case PartServiceAccount:
		return exists(s.ServiceAccount != nil)
	case PartServiceCredential:
		return exists(s.ServiceCredential != nil)
	case PartOrganizationUser:
		if s.OrganizationUser != nil && s.OrganizationUser.Status != UserActive {
			return "disabled"
		}
		return exists(s.OrganizationUser != nil)
	case PartInvitation:
		if s.Invitation == nil {
			return deleted
		}
		if state := s.Invitation.State(now); state != InvitationPending {
			return string(state)
		}
		return ""
	case PartZone:
		return exists(s.Zone != nil && s.Zone.DeletedAt == nil)
	case PartKey:
		switch {
		case s.Unsigned:
			return ""
		case s.Key == nil:
			return deleted
		case s.Key.State != KeyActive:
			return "retired"
		}
		return ""
	case PartApplication:
		return exists(s.Application != "")
	case PartCredential:
		return exists(s.Credential != "")
	case PartResource:
		return exists(s.Resource != nil)
	case PartProvider:
		return exists(s.Provider != nil)
	case PartSubject:
		return exists(s.Subject != "")
	case PartTokenClient:
		return exists(s.TokenClient != "")
	case PartUserAgent:
		return exists(s.UserAgent != "")
	case PartSecret:
		return exists(s.Secret != "")
	case PartGrant:
		if s.Grant != nil && s.Grant.State(now) != Active {
			return string(s.Grant.State(now))
		}
		return exists(s.Grant != nil)
	case PartUser:
		if s.User != nil && s.User.Status != UserActive {
			return "disabled"
		}
		return exists(s.User != nil)
	case PartSession:
		return sessionState(s.Sessions, now)
	}
	return "unknown"
}

// sessionState returns why a chain of sessions is off, or "".
func sessionState(chain []*Session, now time.Time) string {
	if len(chain) == 0 {
		return "deleted"
	}
	for i, session := range chain {
		switch {
		case session == nil:
			return "deleted"
		case session.State(now) != Active:
			return string(session.State(now))
		case i == len(chain)-1 && session.ParentID != nil:
			return "deleted" // the chain must reach the session without a parent
		}
	}
	return ""
}
