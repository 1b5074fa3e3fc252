package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"deputy/internal/bench"
	"deputy/internal/client"
	"deputy/internal/demo"
)

// Scenarios with people, who sign in at the pages as they would at a browser.

const (
	// peopleInBench is how many people sign up.
	peopleInBench = 8
	// sessionsEach is how many sessions a connection refreshes in turn.
	sessionsEach = 32
	// signingIn is how many sign in at the same time, again and again.
	signingIn = 16
)

// signUp makes a client and people who are signed in to it.
func (b *benchmark) signUp(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil || b.people != nil {
		return err
	}
	if b.server == nil {
		return &usageError{fmt.Errorf("people sign up with a code that is mailed to a folder of the server; leave --url out")}
	}
	zone := "/zones/" + b.zone.ID
	if err := b.manage.Do(ctx, "PATCH", zone, map[string]any{"requires_invitation": false}, nil); err != nil {
		return err
	}
	people := &bench.People{Zone: b.zone, Callback: "http://127.0.0.1:9/callback"}
	var app struct {
		ID string `json:"id"`
	}
	if err := b.manage.Do(ctx, "POST", zone+"/applications", map[string]any{
		"name": "Sign-in", "identifier": "sign-in", "consent": "implicit",
		"protocols": map[string]any{"oauth2": map[string]any{"redirect_uris": []string{people.Callback}}},
	}, &app); err != nil {
		return err
	}
	var credential struct {
		Identifier string `json:"identifier"`
		Password   string `json:"password"`
	}
	if err := b.manage.Do(ctx, "POST", zone+"/application-credentials", map[string]any{"application_id": app.ID, "type": "password"}, &credential); err != nil {
		return err
	}
	people.Client = bench.Client{ID: credential.Identifier, Secret: credential.Password}
	for i := range peopleInBench {
		p, err := b.person(i)
		if err != nil {
			return err
		}
		if _, _, err := p.Visit(ctx, people.AuthorizeURL(b.base), people.Callback); err != nil {
			return fmt.Errorf("a person cannot sign up: %w", err)
		}
		people.Cookies = append(people.Cookies, p.Cookies(b.base))
	}
	b.people = people
	return nil
}

// person returns one of the people, at a browser that nobody has used.
func (b *benchmark) person(i int) (*demo.Person, error) {
	email := fmt.Sprintf("person-%d@example.com", i)
	p, err := demo.NewPerson(email, "the analytical engine weaves", client.Outside(time.Minute))
	if err == nil {
		p.Code = func(ctx context.Context) (string, error) {
			return mailedIn(ctx, filepath.Join(b.folder, "data", "outbox"), email)
		}
	}
	return p, err
}

var mailedCode = regexp.MustCompile(`(?m)^(\d{8})\r?$`)

// mailedIn returns the code in the mail to an address, once it is there.
func mailedIn(ctx context.Context, outbox, to string) (string, error) {
	for range 1000 {
		files, err := filepath.Glob(filepath.Join(outbox, "*.eml"))
		if err != nil {
			return "", err
		}
		for _, file := range slices.Backward(files) {
			text, err := os.ReadFile(file)
			if err != nil || !strings.Contains(string(text), to) {
				continue
			}
			if m := mailedCode.FindSubmatch(text); m != nil {
				return string(m[1]), nil
			}
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return "", fmt.Errorf("no mail to %s has come", to)
}

func (b *benchmark) codeFlow(ctx context.Context) error {
	if err := b.signUp(ctx); err != nil {
		return err
	}
	return b.measure(ctx, func(context.Context) (bench.Load, error) {
		return b.people.CodeFlows(b.load("code-flow", b.base), b.base, nil), nil
	})
}

func (b *benchmark) refresh(ctx context.Context) error {
	if err := b.signUp(ctx); err != nil {
		return err
	}
	return b.measure(ctx, func(ctx context.Context) (bench.Load, error) {
		tokens, err := b.sessions(ctx) // of each turn: of the last nobody knows which are spent
		return b.people.Refreshes(tokenLoad(b.load("refresh", b.base), nil), b.base, tokens), err
	})
}

// sessions begins sessions and returns their refresh tokens, by connection.
func (b *benchmark) sessions(ctx context.Context) ([][]string, error) {
	tokens := make([][]string, b.connections)
	l := b.load("sessions", b.base)
	l.Warmup, l.Duration, l.PID = 0, bench.MaxTime, 0
	l.Requests = uint64(2 * sessionsEach * b.connections)
	l = b.people.CodeFlows(l, b.base, func(worker int, token string) { tokens[worker] = append(tokens[worker], token) })
	r, err := bench.Run(ctx, l)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(tokens, func(own []string) bool { return len(own) == 0 }) {
		return nil, fmt.Errorf("connections are without a session: %v %v", r.Statuses, r.Errors)
	}
	return tokens, nil
}

func (b *benchmark) introspection(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	tokens, err := b.zone.Subjects(ctx, tokenLoad(b.load("", b.base), nil), 1000)
	if err != nil {
		return err
	}
	l := tokenLoad(b.load("introspection", b.base+"/z/"+b.zone.ID+"/oauth/2/introspect"), b.zone.Introspections(tokens))
	return b.measure(ctx, func(context.Context) (bench.Load, error) { return l, nil })
}

func (b *benchmark) jwks(ctx context.Context) error {
	return b.document(ctx, "jwks", "/openidconnect/jwks")
}

func (b *benchmark) discovery(ctx context.Context) error {
	return b.document(ctx, "discovery", "/.well-known/openid-configuration")
}

// document measures something that anybody may read, beside a floor that says
// hello.
func (b *benchmark) document(ctx context.Context, scenario, path string) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	l := b.load(scenario, b.base+"/z/"+b.zone.ID+path)
	return b.measureBeside(ctx, b.helloLoad, func(context.Context) (bench.Load, error) { return l, nil })
}

// exchangeBesideSignIns measures exchanges alone and while people sign in as
// fast as their passwords can be hashed.
func (b *benchmark) exchangeBesideSignIns(ctx context.Context) error {
	if err := b.signUp(ctx); err != nil {
		return err
	}
	l, err := b.exchangeOf(ctx, "exchange-remembered", b.zone.Target, 1000)
	if err != nil {
		return err
	}
	l.Scenario = "exchange-beside-sign-ins"
	var rates []float64
	for turn := range b.turns {
		l.Label = "alone"
		alone, err := b.result(ctx, l, turn+1)
		if err != nil {
			return err
		}
		l.Label = ""
		signIns, stop := b.keepSigningIn(ctx)
		beside, err := b.result(ctx, l, turn+1)
		stop()
		if err != nil {
			return err
		}
		rates = append(rates, beside.PerSec/alone.PerSec)
		if b.asJSON {
			err = printJSON(alone, beside)
		} else if err = bench.WriteText(os.Stdout, alone, beside); err == nil {
			_, err = fmt.Printf("%d sign-ins meanwhile\n", signIns.Load())
		}
		if err != nil {
			return err
		}
	}
	if b.asJSON {
		return nil
	}
	slices.Sort(rates)
	_, err = fmt.Printf("median of %d turns: %.2f of the rate alone\n", len(rates), rates[len(rates)/2])
	return err
}

// keepSigningIn has people sign in again and again until they are stopped, and
// counts how often.
func (b *benchmark) keepSigningIn(ctx context.Context) (n *atomic.Int64, stop func()) {
	n = new(atomic.Int64)
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range signingIn {
		all.Go(func() {
			for ctx.Err() == nil {
				p, err := b.person(i % peopleInBench)
				if err == nil {
					_, _, err = p.Visit(ctx, b.people.AuthorizeURL(b.base, "prompt", "login"), b.people.Callback)
				}
				if err == nil {
					n.Add(1)
				}
			}
		})
	}
	return n, func() { cancel(); all.Wait() }
}
