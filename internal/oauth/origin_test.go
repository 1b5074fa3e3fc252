package oauth_test

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
)

// slow is a body whose last bytes take a while to come.
type slow struct {
	io.Reader
	wait func()
}

func (s *slow) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err == io.EOF && s.wait != nil {
		s.wait()
		s.wait = nil
	}
	return n, err
}

// TestTimeOfADecision: what a client that is slow to send its form gets is
// decided, and dated, when the form is there.
func TestTimeOfADecision(t *testing.T) {
	w := newRelay(t)
	account := w.newAccount()
	for path, c := range map[string]struct{ body, authorization string }{
		"/z/" + string(w.zone.ID) + "/oauth/2/token": {
			"grant_type=client_credentials&resource=" + w.front.Identifier, basic(w.agent.credential.Identifier, w.agent.secret),
		},
		"/service-account-token": {"grant_type=client_credentials", basic(account.credential.ClientID, account.secret)},
	} {
		r := httptest.NewRequest("POST", path, &slow{strings.NewReader(c.body), func() { w.clock.advance(25 * time.Second) }})
		r.ContentLength = -1 // nobody knows yet
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", c.authorization)
		claims := w.payload(w.must(w.do(r), 200, "").text("access_token"))
		now := w.clock.Now()
		made, _ := deputy.ID(claims["jti"].(string)).Time()
		if now.Sub(made) > time.Millisecond || claims["iat"] != float64(now.Unix()) {
			t.Errorf("%s: at %s: id of %s, claims %v", path, now, made, claims)
		}
	}
}
