package policy_test

import (
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

func TestGroupsAndRolesDecide(t *testing.T) {
	role := func(id string, in ...deputy.ResourceID) deputy.HeldRole {
		h := deputy.HeldRole{ID: deputy.ID(id), Identifier: "urn:role:" + id}
		if len(in) > 0 {
			h.Resource = in[0]
		}
		return h
	}
	r, other := resource("r"), resource("other")
	zoe := policy.NewUser(policy.UserFacts{ID: "zoe", Identifier: "zoe", Affiliations: deputy.Affiliations{
		Groups: []deputy.HeldGroup{{ID: "g", Identifier: "finance", Name: "Finance", Roles: []deputy.HeldRole{role("approver"), role("auditor", "r")}}},
		Roles:  []deputy.HeldRole{role("owner", "r"), role("reader")},
	}})
	agent := policy.NewApplication(policy.ApplicationFacts{
		ID: "agent", Identifier: "agent", RegistrationMethod: "managed", CredentialType: deputy.PasswordCredential,
		Roles: []deputy.HeldRole{role("agents"), role("deployer", "r")},
	})
	bot := application("bot")
	user := func(condition string) string {
		return `permit (principal is Keycard::User, action, resource) when { ` + condition + ` };`
	}
	for name, c := range map[string]struct {
		text     string
		resource *policy.Resource
		app      *policy.Application
		allowed  bool
	}{
		"a group":                                 {user(`principal in Keycard::Group::"g"`), r, bot, true},
		"another group":                           {user(`principal in Keycard::Group::"h"`), r, bot, false},
		"a role of the user":                      {user(`principal in Keycard::Role::"reader"`), r, bot, true},
		"a role of the group":                     {user(`principal in Keycard::Role::"approver"`), other, bot, true},
		"a role that nobody here has":             {user(`principal in Keycard::Role::"admin"`), r, bot, false},
		"a role for the resource":                 {user(`principal in Keycard::Role::"owner"`), r, bot, true},
		"a role for another resource":             {user(`principal in Keycard::Role::"owner"`), other, bot, false},
		"a role of the group for the resource":    {user(`principal in Keycard::Role::"auditor"`), r, bot, true},
		"a role of the group for another":         {user(`principal in Keycard::Role::"auditor"`), other, bot, false},
		"in the scope of the policy":              {`permit (principal in Keycard::Role::"approver", action, resource);`, r, bot, true},
		"what a group is called":                  {user(`Keycard::Group::"g".identifier == "finance" && Keycard::Role::"reader".identifier == "urn:role:reader"`), r, bot, true},
		"a group has a role":                      {user(`Keycard::Group::"g" in Keycard::Role::"approver"`), r, bot, true},
		"the subject, asked for by the app's leg": {`permit (principal is Keycard::User, action, resource) when { context.subject in Keycard::Group::"g" };`, r, bot, true},
	} {
		set := compile(t, tools, c.text, `permit (principal is Keycard::Application, action, resource);`)
		if got := set.Decide(forUser(zoe, c.app, c.resource)); got.Allowed != c.allowed {
			t.Errorf("%s: allowed %v", name, got.Allowed)
		}
		if !set.ReadsAffiliations() {
			t.Errorf("%s: groups and roles are not read", name)
		}
	}
	for name, c := range map[string]struct {
		text     string
		resource *policy.Resource
		allowed  bool
	}{
		"an application's role":         {`permit (principal in Keycard::Role::"agents", action, resource);`, other, true},
		"its role for the resource":     {`permit (principal in Keycard::Role::"deployer", action, resource);`, r, true},
		"its role for another resource": {`permit (principal in Keycard::Role::"deployer", action, resource);`, other, false},
		"no role of its":                {`permit (principal in Keycard::Role::"reader", action, resource);`, r, false},
	} {
		for range 2 { // drawn, and found drawn
			set := compile(t, tools, c.text)
			if got := set.Decide(asItself(agent, c.resource)); got.Allowed != c.allowed {
				t.Errorf("%s: allowed %v", name, got.Allowed)
			}
		}
	}
	// Older schemas know no parents, and most sets ask for none.
	if compile(t, enums, `permit (principal, action, resource);`).ReadsAffiliations() || (*policy.Set)(nil).ReadsAffiliations() {
		t.Error("a set that names no group and no role reads them")
	}
}
