package oauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"deputy/internal/broker"
	"deputy/internal/deputy"
	"deputy/internal/password"
	"deputy/internal/upstream"
	"deputy/internal/vault"
)

// Config is what a Server needs. Every field but ClientAddress, Limit and
// Fetcher is required.
type Config struct {
	Store     deputy.Store
	Vault     *vault.Vault // opens the signing keys
	Addresses deputy.Addresses
	// Platform owns the keys that sign the bearers of the management API.
	Platform deputy.ID
	Now      func() time.Time
	Logger   *slog.Logger
	// ClientAddress returns the address that a request came from, for events
	// and the counting of failures; nil means the peer's.
	ClientAddress func(*http.Request) string
	// Limit returns how long a client must wait before another token; 0: not at
	// all. Nil is no limit.
	Limit func(principal string) time.Duration
	// Fetcher gets what tenants' URLs name; nil where none is followed.
	Fetcher *upstream.Fetcher
	// RefreshLease is how long the refresh of a grant is one node's own; 0 means
	// 30 s. A provider has a third of it to answer.
	RefreshLease time.Duration
	// StrictAudience refuses client assertions that are addressed to the client
	// itself.
	StrictAudience bool
	// RepeatTokens is for how long who asks for the same token gets the same one;
	// 0 signs each anew.
	RepeatTokens time.Duration
	// Observer is told what there is to count.
	Observer Observer
}

// Observer is told what there is to count. Its functions are on the way of
// every token; nil ones are not called.
type Observer struct {
	// Decided is called for each answer of a zone's token endpoint, with the
	// grant type ("other" where it is none) and "issued" or the error code.
	Decided func(grantType, result string)
	// Built is called for each snapshot of a zone that was made, in full or from
	// the one before.
	Built func(full bool)
}

// Server answers for the authorization servers of all zones and of the
// management plane. It is safe for concurrent use.
type Server struct {
	store         deputy.Store
	addresses     deputy.Addresses
	basePath      string // of the public URL
	now           func() time.Time
	log           *slog.Logger
	clientAddress func(*http.Request) string
	limit         func(principal string) time.Duration

	builder  builder
	zones    zones
	plane    *zone // the management plane
	clients  *clients
	verified *otter.Cache[[32]byte, *verified]
	people   people
	memory   memory
	platform platform
	failures failures
	shadows  shadows

	fetcher        *upstream.Fetcher
	broker         *broker.Broker
	flights        singleflight.Group // calls to providers that several wait for
	refreshLease   time.Duration
	passwords      *password.Hasher
	throttle       *throttle
	late           sync.WaitGroup // counts work after answers
	lateSlots      chan struct{}
	keysets        keysets
	strictAudience bool
	repeats        repeats
	observer       Observer
}

// maxWaiting is how many people may wait for their password to be checked.
const maxWaiting = 64

// New returns a Server. Close ends it.
func New(c Config) *Server {
	s := &Server{
		store: c.Store, addresses: c.Addresses, now: c.Now, log: c.Logger, clientAddress: c.ClientAddress, limit: c.Limit,
		builder: builder{vault: c.Vault, addresses: c.Addresses, log: c.Logger},
		clients: newClients(),
		zones:   zones{limit: maxWeight},
		verified: otter.Must(&otter.Options[[32]byte, *verified]{
			MaximumSize: maxRemembered, Executor: func(f func()) { f() },
		}),
		people:   newPeople(),
		memory:   newMemory(),
		platform: platform{owner: c.Platform},
		plane:    newPlane(c.Addresses),
		fetcher:  c.Fetcher, broker: broker.New(c.Fetcher), refreshLease: cmp.Or(c.RefreshLease, refreshLease),
		keysets: newKeysets(), strictAudience: c.StrictAudience, repeats: newRepeats(c.RepeatTokens), observer: c.Observer,
		// One processor is left to everything else, where there are several.
		passwords: password.New(max(1, runtime.GOMAXPROCS(0)-1), maxWaiting, c.Now),
		throttle:  newThrottle(c.Now),
		lateSlots: make(chan struct{}, maxLate),
	}
	if s.observer.Decided == nil {
		s.observer.Decided = func(string, string) {}
	}
	if s.observer.Built == nil {
		s.observer.Built = func(bool) {}
	}
	if s.clientAddress == nil {
		s.clientAddress = peer
	}
	if u, err := url.Parse(c.Addresses.PublicURL()); err == nil {
		s.basePath = u.Path
	}
	s.failures.init(s)
	s.shadows.init(s)
	return s
}

// Close writes down the failures counted so far, lets the shadows answer what
// they were asked, and waits for work in the background. Requests must have
// ended.
func (s *Server) Close() {
	s.late.Wait()
	s.shadows.close()
	s.failures.close()
}

// Handles reports whether the request is for one of the authorization servers.
// Whatever comes for a zone is, even if there is no such zone or path.
func (s *Server) Handles(r *http.Request) bool {
	_, _, ours := s.route(r)
	return ours
}

// ServeHTTP answers a request that Handles is true for.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, to, _ := s.route(r)
	if named, ok := w.(interface{ Route(name string) }); ok {
		named.Route(to.String())
	}
	allowed := methods[to]
	switch {
	case to == notFound:
		s.refuse(w, s.origin(r), id, errNoEndpoint, "")
	case r.Method == http.MethodOptions && to != authorizeEndpoint && to != logoutEndpoint && to != pageEndpoint: // only people go there
		preflight(w, to)
	case !slices.Contains(allowed, r.Method):
		w.Header()["Allow"] = []string{strings.Join(allowed, ", ") + ", OPTIONS"}
		refused := refuse(codeMethodNotAllowed, "The method is not allowed here.")
		if to == serviceTokenEndpoint {
			s.refuseService(w, r, s.origin(r), nil, refused)
			return
		}
		s.refuse(w, s.origin(r), id, refused, "")
	case to == tokenEndpoint && id == "":
		s.serviceToken(w, r, s.origin(r), true)
	case to == tokenEndpoint:
		s.token(w, r, id, s.origin(r))
	case to == pageEndpoint:
		s.page(w, r, id)
	case to == pushEndpoint:
		s.push(w, r, id, s.origin(r))
	case to == introspectEndpoint:
		s.introspect(w, r, id, s.origin(r))
	case to == revokeEndpoint:
		s.revoke(w, r, id, s.origin(r))
	case to == userInfoEndpoint:
		s.userInfo(w, r, id, s.origin(r))
	case to == logoutEndpoint:
		s.logout(w, r, id, s.origin(r))
	case to == registrationEndpoint:
		s.register(w, r, id, s.origin(r))
	case to == authorizeEndpoint:
		s.authorize(w, r, id, s.origin(r))
	case to == serviceTokenEndpoint:
		s.serviceToken(w, r, s.origin(r), false)
	case receiving[to] != nil:
		s.receive(w, r, id, to, s.origin(r))
	case id == "":
		s.planeDocument(w, r, to)
	default:
		s.document(w, r, id, to)
	}
}

// document serves what is the same for everybody.
func (s *Server) document(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, to endpoint) {
	snap, err := s.fresh(r.Context(), id)
	if err != nil {
		s.refuse(w, s.origin(r), id, asRefusal(err), "")
		return
	}
	if to == jwksEndpoint {
		snap.jwks.serve(w)
		return
	}
	if to == transmitterEndpoint {
		newDocument(streamMetadata(snap.issuer)).serve(w)
		return
	}
	snap.metadata.serve(w)
}

// refuse answers with a refusal and returns its code; realm is the issuer when
// Basic was used.
func (s *Server) refuse(w http.ResponseWriter, from *origin, zone deputy.ZoneID, r *refusal, realm string) string {
	r.log(s.log, from, zone)
	writeRefusal(w, r, from.requestID, realm)
	return r.code
}

// refuseClaimant answers a caller who could not be authenticated, and counts
// the failure. It returns the code of the answer.
func (s *Server) refuseClaimant(w http.ResponseWriter, from *origin, snap *snapshot, claimed *claimant, err error) string {
	r := asRefusal(err)
	if r.code == codeInvalidClient || r.code == codeUnauthorizedClient {
		r = s.failures.count(r, failure{snap.zone.OrganizationID, snap.zone.ID, from.address, claimed.name()})
	}
	return s.refuse(w, from, snap.zone.ID, r, realm(claimed, snap))
}

// realm returns the realm to challenge with, empty unless Basic was used.
func realm(claimed *claimant, snap *snapshot) string {
	if claimed == nil || !claimed.basic {
		return ""
	}
	return snap.issuer
}

// origin is what is known of a request beside what it asks.
type origin struct {
	ctx       context.Context // of the request, for what is logged of it
	at        time.Time       // when it began; once it is read, when it is decided
	id        deputy.EventID  // of its event, and of what it is given
	requestID string
	address   string
	userAgent string
	counted   bool // towards the client's limit
}

// maxUserAgent is how much of a User-Agent is kept.
const maxUserAgent = 256

func (s *Server) origin(r *http.Request) *origin {
	o := &origin{
		ctx: r.Context(),
		at:  deputy.Time(s.now()), requestID: requestID(r.Header),
		address: s.clientAddress(r), userAgent: r.Header.Get("User-Agent"),
	}
	if len(o.userAgent) > maxUserAgent {
		o.userAgent = strings.ToValidUTF8(o.userAgent[:maxUserAgent], "")
	}
	deputy.SpanOf(o.ctx).Set(deputy.SpanRequestID, o.requestID)
	return o
}

// decides sets the time of the request's decision, its event and its token. A
// client may take long to send its form, and the log looks for an event by the
// time in its id.
func (o *origin) decides(now time.Time) {
	o.at = deputy.Time(now)
	o.id = deputy.EventID(deputy.NewID(o.at))
}

// limited refuses a client that has proven who it is and asks too often. A
// request counts once, however often it is decided.
func (s *Server) limited(from *origin, owner deputy.ID, clientID string) error {
	if s.limit == nil || from.counted {
		return nil
	}
	from.counted = true
	if wait := s.limit(string(owner) + " " + clientID); wait > 0 {
		return &refusal{
			code: codeUnavailable, description: "Too many requests. Try again later.", status: http.StatusTooManyRequests,
			retryAfter: wait.Truncate(time.Second) + time.Second,
		}
	}
	return nil
}

// peer returns the address of the connection's other end.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// requestID returns the caller's X-Client-Request-ID if it is a UUID, else a
// new one.
func requestID(h http.Header) string {
	if given := h["X-Client-Request-Id"]; len(given) == 1 && isUUID(given[0]) {
		return given[0]
	}
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		panic(err) // crypto/rand does not fail on supported systems
	}
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80 // RFC 9562 §5.4
	var out [36]byte
	hex.Encode(out[:], raw[:4])
	hex.Encode(out[9:], raw[4:6])
	hex.Encode(out[14:], raw[6:8])
	hex.Encode(out[19:], raw[8:10])
	hex.Encode(out[24:], raw[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// isUUID reports whether s is written as a UUID (RFC 9562 §4).
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && unhex(s[i]) > 15 {
			return false
		}
	}
	return true
}

// PasswordHashes returns how many hashes of passwords were made since the start,
// to keep or to compare.
func (s *Server) PasswordHashes() uint64 { return s.passwords.Made() }
