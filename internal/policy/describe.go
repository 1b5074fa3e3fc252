package policy

import "deputy/internal/deputy"

// DescribeApplication returns what policies may know of an application that
// used a credential. Beside what it was made to depend on, every application
// depends on the zone's sign-in resource, if there is one: a client that names
// no resource gets a token for that one, which says who it is and opens nothing
// else.
func DescribeApplication(a *deputy.Application, by deputy.CredentialType, edges []deputy.Dependency, roles []deputy.HeldRole, signIn deputy.ResourceID) ApplicationFacts {
	dependencies := make([]Dependency, 0, len(edges)+1)
	for _, d := range edges {
		dependencies = append(dependencies, Dependency{ResourceID: d.ResourceID, WhenAccessing: d.WhenAccessing})
	}
	if signIn != "" {
		dependencies = append(dependencies, Dependency{ResourceID: signIn})
	}
	return ApplicationFacts{
		ID: a.ID, Identifier: a.Identifier, Name: a.Name, RegistrationMethod: "managed",
		CredentialType: by, Dependencies: dependencies, Traits: a.Traits, Roles: roles,
	}
}
