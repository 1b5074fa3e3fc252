package deputy_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"deputy/internal/deputy"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// inForce returns a standing in which everything may be used.
func inForce() *deputy.Standing {
	parent := deputy.SessionID("parent")
	later := noon.Add(time.Hour)
	return &deputy.Standing{
		Organization: &deputy.Organization{}, ServiceAccount: &deputy.ServiceAccount{}, ServiceCredential: &deputy.ServiceAccountCredential{},
		OrganizationUser: &deputy.OrganizationUser{Status: deputy.UserActive},
		Invitation:       &deputy.Invitation{Status: deputy.InvitationPending, ExpiresAt: later},
		Zone:             &deputy.Zone{}, Key: &deputy.SigningKey{State: deputy.KeyActive}, Application: "application",
		Credential: "credential", Resource: &deputy.Resource{}, Provider: &deputy.Provider{}, Subject: "subject", UserAgent: "ua", TokenClient: "client",
		Secret: "secret",
		Grant:  &deputy.Grant{Status: deputy.Active, ExpiresAt: later},
		User:   &deputy.User{Status: deputy.UserActive},
		Sessions: []*deputy.Session{
			{Status: deputy.Active, ExpiresAt: later, ParentID: &parent},
			{Status: deputy.Active, ExpiresAt: later},
		},
	}
}

// states lists, for each part, every way in which it can be off.
var states = map[deputy.Part]map[string]func(*deputy.Standing){
	deputy.PartOrganization:      {"deleted": func(s *deputy.Standing) { s.Organization = nil }},
	deputy.PartServiceAccount:    {"deleted": func(s *deputy.Standing) { s.ServiceAccount = nil }},
	deputy.PartServiceCredential: {"deleted": func(s *deputy.Standing) { s.ServiceCredential = nil }},
	deputy.PartOrganizationUser: {
		"deleted":  func(s *deputy.Standing) { s.OrganizationUser = nil },
		"disabled": func(s *deputy.Standing) { s.OrganizationUser.Status = deputy.UserDisabled },
	},
	deputy.PartInvitation: {
		"deleted":       func(s *deputy.Standing) { s.Invitation = nil },
		"accepted":      func(s *deputy.Standing) { s.Invitation.Status = deputy.InvitationAccepted },
		"expired":       func(s *deputy.Standing) { s.Invitation.Status = deputy.InvitationExpired },
		"past its time": func(s *deputy.Standing) { s.Invitation.ExpiresAt = noon },
		"revoked":       func(s *deputy.Standing) { s.Invitation.Status = deputy.InvitationRevoked },
	},
	deputy.PartZone: {
		"deleted": func(s *deputy.Standing) { s.Zone = nil },
		"deleted, rows left": func(s *deputy.Standing) {
			s.Zone.DeletedAt = &noon
		},
	},
	deputy.PartKey: {
		"deleted": func(s *deputy.Standing) { s.Key = nil },
		"retired": func(s *deputy.Standing) { s.Key.State = deputy.KeyRetired },
		"next":    func(s *deputy.Standing) { s.Key.State = deputy.KeyNext },
	},
	deputy.PartApplication: {"deleted": func(s *deputy.Standing) { s.Application = "" }},
	deputy.PartCredential:  {"deleted": func(s *deputy.Standing) { s.Credential = "" }},
	deputy.PartResource:    {"deleted": func(s *deputy.Standing) { s.Resource = nil }},
	deputy.PartProvider:    {"deleted": func(s *deputy.Standing) { s.Provider = nil }},
	deputy.PartSubject:     {"deleted": func(s *deputy.Standing) { s.Subject = "" }},
	deputy.PartTokenClient: {"deleted": func(s *deputy.Standing) { s.TokenClient = "" }},
	deputy.PartUserAgent:   {"deleted": func(s *deputy.Standing) { s.UserAgent = "" }},
	deputy.PartSecret:      {"deleted": func(s *deputy.Standing) { s.Secret = "" }},
	deputy.PartGrant: {
		"deleted":       func(s *deputy.Standing) { s.Grant = nil },
		"revoked":       func(s *deputy.Standing) { s.Grant.Status = deputy.Revoked },
		"expired":       func(s *deputy.Standing) { s.Grant.Status = deputy.Expired },
		"past its time": func(s *deputy.Standing) { s.Grant.ExpiresAt = noon },
	},
	deputy.PartUser: {
		"deleted":  func(s *deputy.Standing) { s.User = nil },
		"disabled": func(s *deputy.Standing) { s.User.Status = deputy.UserDisabled },
	},
	deputy.PartSession: {
		"deleted":         func(s *deputy.Standing) { s.Sessions = nil },
		"revoked":         func(s *deputy.Standing) { s.Sessions[0].Status = deputy.Revoked },
		"expired":         func(s *deputy.Standing) { s.Sessions[0].Status = deputy.Expired },
		"past its time":   func(s *deputy.Standing) { s.Sessions[0].ExpiresAt = noon },
		"parent revoked":  func(s *deputy.Standing) { s.Sessions[1].Status = deputy.Revoked },
		"parent expired":  func(s *deputy.Standing) { s.Sessions[1].ExpiresAt = noon },
		"parent deleted":  func(s *deputy.Standing) { s.Sessions[1] = nil },
		"parent not read": func(s *deputy.Standing) { s.Sessions = s.Sessions[:1] },
	},
}

func TestOffMeansOffInEveryUse(t *testing.T) {
	for use, parts := range deputy.Uses() {
		if err := inForce().Live(use, noon); err != nil {
			t.Errorf("%s with everything in force: %v", use, err)
		}
		for _, part := range parts {
			if len(states[part]) == 0 {
				t.Errorf("%s rests on the %s, whose states have no row here", use, part)
			}
			for name, turnOff := range states[part] {
				s := inForce()
				turnOff(s)
				var off *deputy.Off
				if err := s.Live(use, noon); !errors.As(err, &off) || off.Part != part || !errors.Is(err, deputy.Denied) {
					t.Errorf("%s with the %s %s: %v", use, part, name, err)
				}
			}
		}
		// What a use does not rest on is not asked for.
		for part, ways := range states {
			if slices.Contains(parts, part) {
				continue
			}
			for name, turnOff := range ways {
				s := inForce()
				turnOff(s)
				if err := s.Live(use, noon); err != nil {
					t.Errorf("%s does not rest on the %s, yet %s: %v", use, part, name, err)
				}
			}
		}
	}
	if err := inForce().Live("unheard of", noon); err == nil {
		t.Error("an unknown use is live")
	}
}
