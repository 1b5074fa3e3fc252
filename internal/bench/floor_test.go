package bench_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"deputy/internal/bench"
	"deputy/internal/deputy"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-json-experiment/json"
)

// startFloor serves a floor in this process until the test ends.
func startFloor(t *testing.T, f bench.Floor) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- f.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Errorf("the floor ended with %v", err)
		}
	})
	return "http://" + ln.Addr().String()
}

func form(secret string) func(int, uint64) []byte {
	body := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"app"}, "client_secret": {secret},
		"resource": {"https://api.example.test/notes"}, "scope": {"notes:read"},
	}.Encode()
	return func(int, uint64) []byte { return []byte(body) }
}

func tokenLoad(base, secret string) bench.Load {
	l := load(base + "/token")
	l.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	l.Body = form(secret)
	return l
}

func TestTheFloorDoesTheWorkOfATokenEndpoint(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "none"} {
		t.Run(alg, func(t *testing.T) {
			audit := filepath.Join(t.TempDir(), "audit")
			base := startFloor(t, bench.Floor{Algorithm: alg, AuditFile: audit, Now: time.Now})
			status, body, err := bench.Once(t.Context(), tokenLoad(base, bench.FloorSecret))
			if err != nil || status != 200 {
				t.Fatalf("%d %s %v", status, body, err)
			}
			var answer struct {
				AccessToken string `json:"access_token"`
				TokenType   string `json:"token_type"`
				ExpiresIn   int    `json:"expires_in"`
			}
			if err := json.Unmarshal(body, &answer); err != nil || answer.TokenType != "Bearer" || answer.ExpiresIn != 3600 {
				t.Fatalf("%s: %v", body, err)
			}
			if alg == "none" {
				if strings.Count(answer.AccessToken, ".") != 2 {
					t.Errorf("not three parts: %s", answer.AccessToken)
				}
			} else {
				token, err := jwt.ParseSigned(answer.AccessToken, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
				if err != nil {
					t.Fatal(err)
				}
				var c jwt.Claims
				if err := token.UnsafeClaimsWithoutVerification(&c); err != nil || !c.Audience.Contains("https://api.example.test/notes") || c.ID == "" {
					t.Errorf("claims %+v, %v", c, err)
				}
			}
			l := tokenLoad(base, bench.FloorSecret)
			l.Requests = 99
			if r := run(t, l); r.OK != 99 {
				t.Errorf("%+v", r)
			}
			if info, err := os.Stat(audit); err != nil || info.Size() != 100*400 {
				t.Errorf("100 answers left %v, %v", info.Size(), err)
			}
		})
	}
}

func TestTheFloorChecksItsClient(t *testing.T) {
	base := startFloor(t, bench.Floor{Algorithm: "none", Now: time.Now})
	for name, secret := range map[string]string{"wrong": "wrong", "none": ""} {
		if status, _, err := bench.Once(t.Context(), tokenLoad(base, secret)); err != nil || status != 401 {
			t.Errorf("%s secret: %d, %v", name, status, err)
		}
	}
	broken := tokenLoad(base, bench.FloorSecret)
	broken.Body = func(int, uint64) []byte { return []byte("a=%zz") }
	if status, _, err := bench.Once(t.Context(), broken); err != nil || status != 400 {
		t.Errorf("broken form: %d, %v", status, err)
	}
	if status, body, err := bench.Once(t.Context(), load(base+"/hello")); err != nil || status != 200 || string(body) != "hello, world\n" {
		t.Errorf("hello: %d %q, %v", status, body, err)
	}
}

func TestAFloorThatCannotBeBuiltIsRefused(t *testing.T) {
	for name, f := range map[string]bench.Floor{
		"unknown algorithm": {Algorithm: "HS256", Now: time.Now},
		"no such folder":    {Algorithm: "none", AuditFile: filepath.Join(t.TempDir(), "a", "b"), Now: time.Now},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Serve(t.Context(), ln); !errors.Is(err, deputy.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestComparisonsDivideTurnByTurn(t *testing.T) {
	base := startFloor(t, bench.Floor{Algorithm: "none", Now: time.Now})
	floor := load(base + "/hello")
	floor.Requests = 50
	server := tokenLoad(base, bench.FloorSecret)
	server.Scenario, server.Requests = "token", 50
	c, err := bench.Compare(t.Context(), server, floor, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Server) != 3 || len(c.Floor) != 3 || c.Rate <= 0 || c.Tail <= 0 {
		t.Fatalf("%+v", c)
	}
	var ratios []float64
	for i := range 3 {
		ratios = append(ratios, c.Server[i].PerSec/c.Floor[i].PerSec)
	}
	if lo, hi := min(ratios[0], ratios[1], ratios[2]), max(ratios[0], ratios[1], ratios[2]); c.Rate < lo || c.Rate > hi {
		t.Errorf("median %v of %v", c.Rate, ratios)
	}
	var b strings.Builder
	if err := c.WriteText(&b); err != nil || !strings.Contains(b.String(), "token floor #3") || !strings.Contains(b.String(), "median of 3 turns: rate ") {
		t.Errorf("%s%v", b.String(), err)
	}
	if _, err := bench.Compare(t.Context(), server, floor, 0); !errors.Is(err, deputy.Invalid) {
		t.Errorf("no turns: %v", err)
	}
}
