package pages

import "time"

// Page is one of the pages of this package.
type Page interface{ template() string }

// Message names a sentence of the message files.
type Message string

// What a page says about what was just tried.
const (
	None              Message = ""
	WrongPassword     Message = "error.password"      // also: no such person
	WrongCode         Message = "error.code"          // also: expired, or tried too often
	Throttled         Message = "error.throttled"     // the password was not even looked at
	Busy              Message = "error.busy"          // too many sign in at once
	InvalidEmail      Message = "error.email"         // not an address
	PasswordTooShort  Message = "error.short"         //
	PasswordTooLong   Message = "error.long"          //
	PasswordTooCommon Message = "error.common"        //
	PasswordReused    Message = "error.reused"        // the new one is the old one
	NoSignUp          Message = "error.signup"        // not invited, or taken
	PasskeyFailed     Message = "error.passkey"       //
	CodeSent          Message = "notice.sent"         //
	Saved             Message = "notice.saved"        //
	PasskeyAdded      Message = "notice.passkey"      //
	Removed           Message = "notice.removed"      //
	PasswordChanged   Message = "notice.changed"      //
	MailVerify        Message = "mail.verify.subject" //
	MailVerifyBody    Message = "mail.verify.body"    //
	MailReset         Message = "mail.reset.subject"  //
	MailResetBody     Message = "mail.reset.body"     //
)

// Identifier asks who signs in.
type Identifier struct {
	Client     string // who sent them here; empty: nobody but themselves
	Identifier string // as given before
	SignUp     bool   // offer to sign up
	Passkey    string // WebAuthn request options as JSON; empty: no passkeys
	Problem    Message
}

// Password asks whoever signs in for their password.
type Password struct {
	Username string
	Passkey  string
	Problem  Message
}

// SignUp makes an account.
type SignUp struct {
	Username string
	Shortest int // characters of a password
	Problem  Message
}

// VerifyEmail asks for the code that was mailed.
type VerifyEmail struct {
	Email   string
	Problem Message
	Notice  Message
}

// ConfirmEmail asks whoever opened a mailed link to confirm the address: who
// merely looks at it, as programs that check mail do, confirms nothing.
type ConfirmEmail struct {
	Email string
	Code  string // from the link
}

// ForgotPassword asks where to send a code.
type ForgotPassword struct {
	Username string
	Problem  Message
}

// ResetPassword asks for the mailed code and a new password.
type ResetPassword struct {
	Username string
	Code     string // from the mailed link, else empty
	Shortest int
	Problem  Message
}

// Trust says how a client came to be known.
type Trust string

// The levels of trust.
const (
	Registered       Trust = "registered"        // by those who run the zone
	MetadataDocument Trust = "metadata-document" // described at its own address
	SelfRegistered   Trust = "self-registered"   // nobody looked
)

// Client is who asks for consent.
type Client struct {
	Name  string
	Trust Trust
	ID    string // the client_id, where it tells people something: an address
	// Host is where the answer goes; empty when it goes nowhere.
	Host string
	// Loopback says that the host is this very computer.
	Loopback bool
}

// Asked is a resource that consent is asked for.
type Asked struct {
	Name, Identifier string
	Scopes           []AskedScope
	New              bool   // not consented to before
	Through          string // who else will reach it, on whose behalf it is asked
}

// AskedScope is one scope of a resource.
type AskedScope struct {
	Name string
	New  bool
}

// Consent asks whether the client may.
type Consent struct {
	Client    Client
	User      string
	Resources []Asked
	Personal  []string // scopes about the person: openid, profile, email, offline_access
	// Renewed says that something was agreed to before.
	Renewed bool
	// Action is where the answer goes, below the issuer.
	Action string
	// Fields go with the answer.
	Fields map[string]string
}

// Connect leads to the provider that guards a resource, or says that it has not
// let the client in.
type Connect struct {
	Provider, Resource string
	Scopes             []string
	Address            string // where the person goes; empty: nowhere
	Host               string // of that
	Failed             bool
	// Action is where the answer goes, below the issuer.
	Action string
}

// Account is a person's own page.
type Account struct {
	User, Email string
	Verified    bool
	Password    bool // there is one to change
	Passkeys    []Passkey
	CanAdd      bool // passkeys may be added
	Sessions    []Session
	Consents    []Agreement
	Grants      []Connection
	Notice      Message
}

// Passkey is one of a person's passkeys.
type Passkey struct {
	ID, Name string
	Added    time.Time
	Used     time.Time // zero: never
}

// Session is where a person is signed in.
type Session struct {
	ID, Name string
	Since    time.Time
	Expires  time.Time
	Current  bool // the one that looks at the page
	Clients  []Session
}

// Agreement is what a person has allowed a client.
type Agreement struct {
	Client  string // its id
	Name    string
	Targets []Target
	Since   time.Time
}

// Target is a resource that a client may reach, in the name of a person.
type Target struct {
	Name   string
	Scopes []string
}

// Connection is a resource that can be reached for a person.
type Connection struct {
	ID, Name string
	Scopes   []string
	Since    time.Time
	Status   string
}

// ChangePassword replaces a password by another.
type ChangePassword struct {
	Username string
	Shortest int
	Problem  Message
}

// AddPasskey makes a passkey.
type AddPasskey struct {
	Options string // WebAuthn creation options as JSON
	Problem Message
}

// Logout asks whether to sign out.
type Logout struct {
	User   string
	Fields map[string]string
}

// Invitation welcomes somebody to an organization.
type Invitation struct {
	Organization, Email, Role string
	Known                     bool // has signed in before
	SSO                       bool // through the organization's own sign-in
	Shortest                  int
	Problem                   Message
}

// Done says that something has ended well, and what to do next.
type Done struct{ What Message }

// What can end well.
const (
	DoneVerified  Message = "done.verified"
	DoneSignedOut Message = "done.signedout"
	DoneApproved  Message = "done.approved"
	DoneReset     Message = "done.reset"
	DoneJoined    Message = "done.joined"
)

// Error says that it goes no further, and why.
type Error struct {
	Problem     Message
	Code        string // of the standard, for whoever looks into it
	Description string // for developers
	RequestID   string
	Back        string // where a form leads that goes back to the client; empty: nowhere
}

// Why it goes no further.
const (
	ErrorRequest    Message = "stop.request"    // the application's fault
	ErrorExpired    Message = "stop.expired"    // too late, or begun elsewhere
	ErrorDisabled   Message = "stop.disabled"   // the person may not sign in
	ErrorProvider   Message = "stop.provider"   // the identity provider's fault
	ErrorIdentity   Message = "stop.identity"   // no account may be made
	ErrorForged     Message = "stop.forged"     // not from our own page
	ErrorLink       Message = "stop.link"       // a link that leads nowhere
	ErrorInvitation Message = "stop.invitation" // expired, revoked, accepted
	ErrorInternal   Message = "stop.internal"   // our own fault
	ErrorThrottled  Message = "stop.throttled"  //
)

func (Identifier) template() string     { return "identifier" }
func (Password) template() string       { return "password" }
func (SignUp) template() string         { return "signup" }
func (VerifyEmail) template() string    { return "verify-email" }
func (ConfirmEmail) template() string   { return "confirm-email" }
func (ForgotPassword) template() string { return "forgot-password" }
func (ResetPassword) template() string  { return "reset-password" }
func (Consent) template() string        { return "consent" }
func (Connect) template() string        { return "connect" }
func (Account) template() string        { return "account" }
func (ChangePassword) template() string { return "change-password" }
func (AddPasskey) template() string     { return "add-passkey" }
func (Logout) template() string         { return "logout" }
func (Invitation) template() string     { return "invitation" }
func (Done) template() string           { return "done" }
func (Error) template() string          { return "error" }
