package deputy

import "time"

// Caller is who makes a management call, in the one organization that their
// bearer is of: a service account, which administers it, or a person with a
// role in it.
type Caller struct {
	Organization OrganizationID
	Account      ID     // the service account's, or the person's
	Name         string // of the service account, or the person's mail address
	ClientID     string
	Credential   ID               // of a service account
	Role         OrganizationRole // of a person; empty for a service account
	KeyID        ID               // of a person: seals what the log knows of them
	Until        time.Time        // the end of a person's bearer
}

// Person reports whether the caller is a person.
func (c *Caller) Person() bool { return c.Role != "" }

// Actor returns the caller as events name it.
func (c *Caller) Actor() Actor {
	kind := "service_account"
	if c.Person() {
		kind = "user"
	}
	return Actor{Type: kind, ID: string(c.Account), Identifier: c.Name}
}

// BearerRequest asks for a bearer of the management API for a person who has
// proven who they are.
type BearerRequest struct {
	Organization OrganizationID
	Account      ID
	ClientID     string // what they signed in with
	GrantType    string // how it was asked for; may be empty
	// Until is the end of the bearer that it is asked for with, which this one
	// does not outlive: else whoever has got one would never have to sign in
	// again. Zero where they have just signed in.
	Until time.Time
	// What the event knows of the request.
	RequestID, IP, UserAgent string
}

// Bearer is a bearer of the management API.
type Bearer struct {
	Token    Secret
	Lifetime time.Duration
}
