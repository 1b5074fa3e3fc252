package deputy

import "time"

// TicketKind says what a ticket is good for.
type TicketKind string

// The kinds.
const (
	LoginTicket        TicketKind = "login"        // a login transaction; its secret is in a cookie
	BrowserTicket      TicketKind = "browser"      // a person's web session; its secret is in a cookie
	PushedTicket       TicketKind = "pushed"       // a pushed authorization request; its request_uri
	CodeTicket         TicketKind = "code"         // an authorization code
	SpentCodeTicket    TicketKind = "spent code"   // a code that was redeemed, to notice its second use
	PasskeyTicket      TicketKind = "passkey"      // what an authenticator was asked to make; its secret is the browser's
	RevokedTicket      TicketKind = "revoked"      // an access token that was revoked; its jti
	AssertionTicket    TicketKind = "assertion"    // a client assertion that was used; its client and jti
	VerificationTicket TicketKind = "verification" // a stream was verified; the stream's id
	RegistrationTicket TicketKind = "registration" // a registered client that nobody has signed in with yet
)

// Bounded reports whether anybody can bring tickets of the kind about. What
// those take is bounded, so that a stranger who asks for many displaces first
// of all their own.
func (k TicketKind) Bounded() bool {
	return k == LoginTicket || k == PushedTicket || k == RegistrationTicket
}

// Ticket is something short-lived that a secret in somebody else's hands opens.
// It is no evidence of anything: what matters is an event.
type Ticket struct {
	Kind   TicketKind
	ZoneID ZoneID // empty: of the management plane
	Key    SecretHash
	// Source is who brought it about, for bounded kinds: an address or a
	// network.
	Source    string
	Data      []byte
	CreatedAt time.Time
	ExpiresAt time.Time
}
