package oauth_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// sender posts forms of the client to the zone's endpoints, for load.
func (f *flow) sender(path string) func(url.Values) (int, []byte) {
	target := "/z/" + string(f.zone.ID) + path
	return func(q url.Values) (int, []byte) {
		r := httptest.NewRequest("POST", target, strings.NewReader(q.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(f.client.credential.Identifier, f.client.secret)
		rec := httptest.NewRecorder()
		f.server.ServeHTTP(rec, r)
		return rec.Code, rec.Body.Bytes()
	}
}

// sessions lets the person sign in n times and returns the refresh tokens.
func (f *flow) sessions(n int) []string {
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = f.must(f.redeem(f.code("resource", f.api.Identifier)), 200, "").text("refresh_token")
	}
	return tokens
}

// BenchmarkRefresh has many clients that refresh their own session over and over.
func BenchmarkRefresh(b *testing.B) {
	f := newFlow(b)
	const parallel = 32
	tokens, send := f.sessions(parallel*runtime.GOMAXPROCS(0)), f.sender("/oauth/2/token")
	var next, done atomic.Int64
	b.SetParallelism(parallel)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		token := tokens[int(next.Add(1)-1)%len(tokens)]
		for pb.Next() {
			status, body := send(form("grant_type", "refresh_token", "refresh_token", token))
			var got struct {
				Refresh string `json:"refresh_token"`
			}
			if err := json.Unmarshal(body, &got); err != nil || status != 200 {
				b.Errorf("%d %s", status, body)
				return
			}
			token = got.Refresh
			if done.Add(1)%int64(len(tokens)) == 0 {
				f.clock.advance(31 * time.Second) // so that no family has many recent turns
			}
		}
	})
}

// BenchmarkIntrospection has many clients that ask about a person's token.
func BenchmarkIntrospection(b *testing.B) {
	f := newFlow(b)
	token := f.must(f.redeem(f.code("resource", f.api.Identifier)), 200, "").text("access_token")
	send := f.sender("/oauth/2/introspect")
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if status, body := send(form("token", token)); status != 200 || !strings.HasPrefix(string(body), `{"active":true`) {
				b.Errorf("%d %s", status, body)
				return
			}
		}
	})
}
