package deputy

// Caller is who makes a management call: a service account, in exactly one
// organization.
type Caller struct {
	Organization OrganizationID
	Account      ID // the service account
	Name         string
	ClientID     string
	Credential   ID
}

// Actor returns the caller as events name it.
func (c *Caller) Actor() Actor {
	return Actor{Type: "service_account", ID: string(c.Account), Identifier: c.Name}
}
