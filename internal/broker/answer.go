package broker

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

// Tokens are what a token endpoint has given.
type Tokens struct {
	Access  deputy.Secret
	Refresh deputy.Secret // zero: it cannot be refreshed
	Lives   time.Duration // of Access; 0: the server does not say
	// Scopes are those that the server says it granted, nil when it does not
	// say: then it is what was asked for (RFC 6749 §5.1).
	Scopes []string
	// Identity is an ID token, of which nothing is believed yet; empty: none.
	Identity string
	// Account is whose the tokens are at the server, by issuer and subject of the
	// ID token; empty where there is none. It is good for telling two answers of
	// the same token endpoint apart (OpenID Connect Core 1.0 §3.1.3.7, 6).
	Account string
}

// account returns issuer and subject of an ID token.
func account(token string) string {
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Subject == "" {
		return ""
	}
	return claims.Issuer + " " + claims.Subject
}

// Fault says that a server has not given what it was asked for.
type Fault struct {
	Code      string // the server's own word, empty if it has none; see upstream.Code
	Status    int    // of HTTP; 0: there was no answer
	Over      bool   // what was presented is good for nothing any more
	Transient bool   // it may be given when asked again
	cause     error
}

func (f *Fault) Error() string {
	text := "the provider gave no token"
	if f.Status != 0 {
		text += fmt.Sprintf(": status %d, error %q", f.Status, f.Code)
	}
	if f.cause != nil {
		text += ": " + f.cause.Error()
	}
	return text
}

func (f *Fault) Unwrap() error { return f.cause }

// over has the words that servers have for a grant, code or refresh token that
// is good for nothing any more.
var over = map[string]bool{
	"invalid_grant":         true, // RFC 6749 §5.2
	"bad_refresh_token":     true, // GitHub
	"bad_verification_code": true, // GitHub
	"invalid_refresh_token": true, // Slack
	"token_revoked":         true, // Slack
	"token_expired":         true, // Slack
	"BAD_REFRESH_TOKEN":     true, // HubSpot
	"BAD_AUTH_CODE":         true, // HubSpot
}

// members are the members of an answer, of JSON or of a form.
type members map[string]jsontext.Value

// parse reads the members of an answer: JSON, or the form that some servers
// answer with in spite of what was asked for.
func parse(body []byte) members {
	m := members{}
	if v := jsontext.Value(body); v.Kind() == jsontext.KindBeginObject {
		if json.Unmarshal(v, &m) != nil {
			return members{}
		}
		return m
	}
	if q, err := url.ParseQuery(strings.TrimSpace(string(body))); err == nil {
		for name := range q {
			if quoted, err := json.Marshal(q.Get(name)); err == nil {
				m[name] = quoted
			}
		}
	}
	return m
}

// text returns a member that is a text, else the empty one.
func (m members) text(name string) string {
	var text string
	if json.Unmarshal(m[name], &text) != nil {
		return ""
	}
	return text
}

// below returns the members of a member that is an object.
func (m members) below(name string) members {
	sub := members{}
	if json.Unmarshal(m[name], &sub) != nil {
		return members{}
	}
	return sub
}

// fault returns what is wrong, in whatever way the server says so: with a status,
// with a member error, or with ok being false.
func (m members) fault(status int) *Fault {
	f := &Fault{Status: status, Code: m.text("error")}
	if f.Code == "" && status >= http.StatusBadRequest {
		for _, name := range []string{"code", "status"} { // Notion, HubSpot
			if f.Code == "" {
				f.Code = m.text(name)
			}
		}
	}
	f.Code = upstream.Code(f.Code)
	denied := string(m["ok"]) == "false" // Slack
	if status < http.StatusBadRequest && f.Code == "" && !denied {
		return nil
	}
	// Atlassian has one code for clients and for refresh tokens.
	f.Over = over[f.Code] || f.Code == "unauthorized_client" && strings.Contains(m.text("error_description"), "refresh_token")
	f.Transient = status >= http.StatusInternalServerError || status == http.StatusTooManyRequests ||
		f.Code == "temporarily_unavailable" || f.Code == "server_error" || f.Code == "ratelimited"
	return f
}

func fault(answer *upstream.Response) *Fault { return parse(answer.Body).fault(answer.Status) }

// refusesClient reports whether an answer may mean that the client has not
// proved who it is.
func refusesClient(answer *upstream.Response) bool {
	f := fault(answer)
	return f != nil && !f.Over && !f.Transient
}

// read returns the tokens in an answer. That to a refresh may have them where
// the standard says, wherever they were at first (Slack).
func (s *Server) read(answer *upstream.Response, refresh bool) (*Tokens, error) {
	all := parse(answer.Body)
	if f := all.fault(answer.Status); f != nil {
		return nil, f
	}
	beside, name := all.find(or(s.set.TokenResponseAccessTokenPointer, "access_token"))
	if refresh && beside.text(name) == "" {
		beside, name = all, "access_token"
	}
	t := &Tokens{Access: deputy.Conceal(beside.text(name)), Identity: all.text("id_token")}
	t.Account = account(t.Identity)
	if t.Access.IsZero() && !s.identity {
		// A rotated refresh token may be lost with it. Asking again is all that
		// can be done.
		return nil, &Fault{Status: answer.Status, Transient: true, cause: fmt.Errorf("the answer has no %s", name)}
	}
	for _, m := range []members{all, beside} { // beside the token wins
		if text := m.text("refresh_token"); text != "" {
			t.Refresh = deputy.Conceal(text)
		}
		if lives, ok := m.seconds("expires_in"); ok {
			t.Lives = lives
		}
		if scopes, ok := m.scopes(s.set.ScopeSeparator); ok {
			t.Scopes = scopes
		}
	}
	return t, nil
}

// find follows a path of names, written with dots or as a JSON pointer (RFC
// 6901), to a member: what it lies beside, and its name.
func (m members) find(path string) (beside members, name string) {
	var names []string
	if rest, ok := strings.CutPrefix(path, "/"); ok {
		for token := range strings.SplitSeq(rest, "/") {
			names = append(names, strings.NewReplacer("~1", "/", "~0", "~").Replace(token))
		}
	} else {
		names = strings.Split(path, ".")
	}
	for _, n := range names[:len(names)-1] {
		m = m.below(n)
	}
	return m, names[len(names)-1]
}

// maxLives bounds what a server may say of how long a token lasts.
const maxLives = 100 * 365 * 24 * time.Hour

// seconds returns a member that is a number of seconds, which some write as a
// text. One that is no positive number says nothing.
func (m members) seconds(name string) (time.Duration, bool) {
	n, err := strconv.ParseFloat(strings.Trim(string(m[name]), `"`), 64)
	if err != nil || !(n > 0) {
		return 0, false
	}
	return min(time.Duration(min(n, maxLives.Seconds()))*time.Second, maxLives), true
}

// scopes returns the scopes of an answer: a text, separated by spaces, commas or
// as the server wants to have it, or a list.
func (m members) scopes(separator *string) ([]string, bool) {
	var list []string
	if json.Unmarshal(m["scope"], &list) == nil && m["scope"].Kind() == jsontext.KindBeginArray {
		return list, true
	}
	if m["scope"].Kind() != jsontext.KindString {
		return nil, false
	}
	text := m.text("scope")
	if separator != nil && *separator != "" {
		text = strings.ReplaceAll(text, *separator, " ")
	}
	return append([]string{}, strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' })...), true
}
