package deputy

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Record is an event as the log keeps it: its JSON bytes and their leaf hash.
type Record struct {
	ID             EventID
	OrganizationID OrganizationID
	ZoneID         ZoneID
	RequestID      string
	Seq            int64 // position in the organization's log; set by the store
	Bytes          []byte
	Leaf           [32]byte
}

// Sealing hides what an event knows of a person under that person's data key.
type Sealing interface {
	// SealPersonal encrypts personal under the data key for this event alone.
	SealPersonal(ctx context.Context, key ID, event EventID, personal []byte) ([]byte, error)
	// OpenPersonal decrypts it; NotFound once the key was destroyed.
	OpenPersonal(ctx context.Context, event EventID, sealed []byte) ([]byte, error)
}

// personal is what is sealed of an event that involves a person.
type personal struct {
	IP          string   `json:"ip,omitzero"`
	UserAgent   string   `json:"user_agent,omitzero"`
	Identifiers []string `json:"identifiers,omitempty"` // of user actors, in order of appearance
}

// users calls visit for each person among the actor and its chain.
func (a *Actor) users(visit func(*Actor)) {
	if a.Type == "user" {
		visit(a)
	}
	for i := range a.IdentityChain {
		a.IdentityChain[i].users(visit)
	}
}

// Take makes r the event as the log keeps it, in the memory of r.Bytes as far
// as that is enough. When the event involves a person (UserKey), their address,
// program and identifiers are sealed.
func (r *Record) Take(ctx context.Context, e *Event, s Sealing) error {
	var sealed []byte
	if e.UserKey != "" {
		p := personal{IP: e.IP, UserAgent: e.UserAgent}
		e.Actor.users(func(a *Actor) { p.Identifiers = append(p.Identifiers, a.Identifier) })
		plain, err := json.Marshal(p)
		if err != nil {
			return err
		}
		if sealed, err = s.SealPersonal(ctx, e.UserKey, e.ID, plain); err != nil {
			return fmt.Errorf("sealing the personal fields of an event: %w", err)
		}
	}
	b := e.append(r.Bytes[:0], sealed)
	*r = Record{
		ID: e.ID, OrganizationID: e.OrganizationID, ZoneID: e.ZoneID, RequestID: e.RequestID,
		Bytes: b, Leaf: LeafHash(b),
	}
	return nil
}

// Event returns the event, its personal fields opened. When the person was
// forgotten they stay empty.
func (r *Record) Event(ctx context.Context, s Sealing) (*Event, error) {
	var stored struct {
		Event
		Personal []byte `json:"personal"`
	}
	if err := json.Unmarshal(r.Bytes, &stored); err != nil {
		return nil, fmt.Errorf("event %s is unreadable: %w", r.ID, err)
	}
	e := stored.Event
	if stored.Personal == nil {
		return &e, nil
	}
	plain, err := s.OpenPersonal(ctx, r.ID, stored.Personal)
	if KindOf(err) == NotFound {
		return &e, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the personal fields of event %s: %w", r.ID, err)
	}
	var p personal
	if err := json.Unmarshal(plain, &p); err != nil {
		return nil, fmt.Errorf("event %s is unreadable: %w", r.ID, err)
	}
	e.IP, e.UserAgent = p.IP, p.UserAgent
	e.Actor.users(func(a *Actor) {
		if len(p.Identifiers) > 0 {
			a.Identifier, p.Identifiers = p.Identifiers[0], p.Identifiers[1:]
		}
	})
	return &e, nil
}

// append writes the event as one JSON object in the order of its fields. Where it
// involves a person, what is sealed stands in the place of what is personal. It
// is written by hand because every token waits for it.
func (e *Event) append(b []byte, sealed []byte) []byte {
	w, open := object(append(b, '{')), e.UserKey == ""
	w.text("id", string(e.ID))
	w.key("time")
	w = append(w, '"')
	w = e.Time.UTC().AppendFormat(w, TimeFormat)
	w = append(w, '"')
	w.text("type", e.Type)
	w.text("outcome", string(e.Outcome))
	w.text("error", e.Error)
	w.text("error_description", e.ErrorDetail)
	w.text("zone_id", string(e.ZoneID))
	w.text("organization_id", string(e.OrganizationID))
	w.text("request_id", e.RequestID)
	w.key("actor")
	w.actor(&e.Actor, open)
	if t := e.Target; t != nil {
		w.key("target")
		w = append(w, '{')
		w.text("type", t.Type)
		w.text("id", t.ID)
		w.text("previous_id", t.PreviousID)
		w = append(w, '}')
	}
	w.text("client_id", e.ClientID)
	w.text("credential_id", string(e.CredentialID))
	w.text("user_id", string(e.UserID))
	if r := e.Resource; r != nil {
		w.key("resource")
		w = append(w, '{')
		w.text("id", string(r.ID))
		w.text("identifier", r.Identifier)
		w = append(w, '}')
	}
	w.text("provider_id", string(e.ProviderID))
	w.text("grant_type", e.GrantType)
	w.texts("scopes_requested", e.ScopesRequested)
	w.texts("scopes_granted", e.ScopesGranted)
	w.text("jti", string(e.JTI))
	w.text("session_id", string(e.SessionID))
	w.policy(e.Policy)
	w.pkg(e.Package)
	if open {
		w.text("ip", e.IP)
		w.text("user_agent", e.UserAgent)
	}
	w.texts("changes", e.Changes)
	if e.Count != 0 {
		w.key("count")
		w = strconv.AppendInt(w, int64(e.Count), 10)
	}
	if !open {
		w.key("personal")
		w = append(w, '"')
		w = base64.StdEncoding.AppendEncode(w, sealed)
		w = append(w, '"')
	}
	if e.Evaluation != nil { // last: see EvaluationBytes
		w.key("evaluation")
		w = e.Evaluation.append(w)
	}
	return append(w, '}')
}

// TimeFormat is how times are shown everywhere: RFC 3339 in UTC with
// milliseconds.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// Time returns t as it is stored and shown: UTC, whole microseconds.
func Time(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// object appends the members of a JSON object.
type object []byte

func (w *object) key(name string) {
	if last := (*w)[len(*w)-1]; last != '{' {
		*w = append(*w, ',')
	}
	*w = append(append(append(*w, '"'), name...), '"', ':')
}

// text appends a member unless it is empty.
func (w *object) text(name, value string) {
	if value != "" {
		w.key(name)
		w.string(value)
	}
}

func (w *object) texts(name string, values []string) {
	if len(values) == 0 {
		return
	}
	w.key(name)
	for i, v := range values {
		*w = append(*w, "[,"[min(i, 1)])
		w.string(v)
	}
	*w = append(*w, ']')
}

func (w *object) policy(p *EventPolicy) {
	if p == nil {
		return
	}
	w.key("policy")
	*w = append(*w, '{')
	w.text("set_id", string(p.SetID))
	w.text("set_version_id", string(p.SetVersionID))
	w.key("version")
	*w = strconv.AppendInt(*w, int64(p.Version), 10)
	w.text("schema_version", p.SchemaVersion)
	w.text("manifest_sha", p.ManifestSHA)
	w.texts("determining", p.Determining)
	if len(p.Policies) > 0 {
		w.key("policies")
		for i, v := range p.Policies {
			*w = append(*w, "[,"[min(i, 1)], '{')
			w.text("policy_id", string(v.PolicyID))
			w.text("policy_version_id", string(v.VersionID))
			*w = append(*w, '}')
		}
		*w = append(*w, ']')
	}
	if p.Latency != 0 {
		w.key("latency_us")
		*w = strconv.AppendInt(*w, p.Latency, 10)
	}
	*w = append(*w, '}')
}

func (w *object) pkg(p *EventPackage) {
	if p == nil {
		return
	}
	w.key("package")
	*w = append(*w, '{')
	w.text("id", string(p.ID))
	w.text("slug", p.Slug)
	if p.Version != 0 {
		w.key("version")
		*w = strconv.AppendInt(*w, int64(p.Version), 10)
	}
	w.text("install_id", string(p.InstallID))
	w.text("task_id", string(p.TaskID))
	w.texts("entities", p.Entities)
	*w = append(*w, '}')
}

func (w *object) actor(a *Actor, open bool) {
	*w = append(*w, '{')
	w.text("type", a.Type)
	w.text("id", a.ID)
	if open || a.Type != "user" {
		w.text("identifier", a.Identifier)
	}
	if len(a.IdentityChain) > 0 {
		w.key("identity_chain")
		for i := range a.IdentityChain {
			*w = append(*w, "[,"[min(i, 1)])
			w.actor(&a.IdentityChain[i], open)
		}
		*w = append(*w, ']')
	}
	*w = append(*w, '}')
}

// plain are the bytes that stand for themselves in a JSON string.
var plain = func() (all [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		all[c] = c != '"' && c != '\\'
	}
	return all
}()

// string appends a JSON string; invalid UTF-8 becomes U+FFFD.
func (w *object) string(s string) {
	const hex = "0123456789abcdef"
	b := append(*w, '"')
	for i := 0; i < len(s); {
		start := i
		for i < len(s) && plain[s[i]] {
			i++
		}
		if b = append(b, s[start:i]...); i == len(s) {
			break
		}
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < utf8.RuneSelf:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
	}
	*w = append(b, '"')
}
