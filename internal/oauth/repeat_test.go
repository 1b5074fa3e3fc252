package oauth_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/oauth"
)

// newRepeating is a relay whose server hands tokens out again for ten minutes.
func newRepeating(t *testing.T) *relay {
	w := newRelay(t)
	w.config.RepeatTokens = 10 * time.Minute
	w.restart()
	return w
}

// TestTheSameTokenAgain: who asks for the same gets the same, with what is left
// of its life, and the log has both answers.
func TestTheSameTokenAgain(t *testing.T) {
	t.Parallel()
	w := newRepeating(t)
	ask := func() *answer {
		return w.must(w.credentialsFor(w.agent, w.front.Identifier, "scope", "use"), 200, "")
	}
	exchange := func() *answer {
		return w.must(w.exchange(w.server, w.token, w.api.Identifier, "scope", "read"), 200, "")
	}
	for name, request := range map[string]func() *answer{"client credentials": ask, "exchange": exchange} {
		first := request()
		issued := w.lastEvent()
		w.clock.advance(time.Minute)
		second := request()
		if first.text("access_token") != second.text("access_token") {
			t.Fatalf("%s: another token", name)
		}
		if second.json["expires_in"] != 3540.0 {
			t.Errorf("%s: after a minute the token lasts %v s", name, second.json["expires_in"])
		}
		again := w.lastEvent()
		if again.ID == issued.ID || again.JTI != issued.ID || issued.JTI != issued.ID || again.Evaluation == nil {
			t.Errorf("%s: the log has %s with token %s and %s with token %s", name, issued.ID, issued.JTI, again.ID, again.JTI)
		}
	}
}

// TestAnotherTokenInstead: whatever makes a difference to a token makes another.
func TestAnotherTokenInstead(t *testing.T) {
	t.Parallel()
	ask := func(w *relay) *answer { return w.credentialsFor(w.agent, w.front.Identifier, "scope", "use") }
	// after asks for the same before and after something.
	after := func(meanwhile func(w *relay)) func(w *relay) (first, second *answer) {
		return func(w *relay) (first, second *answer) {
			first = ask(w)
			w.token = first.text("access_token")
			meanwhile(w)
			return first, ask(w)
		}
	}
	// beside asks for the same and for something else.
	beside := func(other func(w *relay) *answer) func(w *relay) (first, second *answer) {
		return func(w *relay) (first, second *answer) { return ask(w), other(w) }
	}
	for name, c := range map[string]func(w *relay) (first, second *answer){
		"of an old one": after(func(w *relay) { w.clock.advance(11 * time.Minute) }),
		"of one beyond half of its life": func(w *relay) (first, second *answer) {
			w.setResource(w.front, func(r *deputy.Resource) { short := 16 * 60; r.Lifetime = &short })
			first = ask(w)
			w.clock.advance(9 * time.Minute)
			return first, ask(w)
		},
		"beyond a session's end": func(w *relay) (first, second *answer) {
			p := w.newPerson("zoe@example.test")
			token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
			first = w.exchange(w.server, token, w.api.Identifier)
			w.setSession(p.web, func(s *deputy.Session) { s.ExpiresAt = w.clock.Now().Add(40 * time.Minute) })
			return first, w.exchange(w.server, token, w.api.Identifier)
		},
		"of a revoked one": after(func(w *relay) {
			w.must(w.postTo("/oauth/2/revoke", w.agent, form("token", w.token)), 200, "")
		}),
		"by another key": after(func(w *relay) {
			now := w.clock.Now()
			old, err := w.store.SigningKeys(context.Background(), deputy.ID(w.zone.ID))
			if err != nil {
				w.Fatal(err)
			}
			fresh, _ := w.newKeys(deputy.ID(w.zone.ID), w.zone.KeyID)
			w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				for _, row := range old {
					row.State, row.RetiredAt = deputy.KeyRetired, &now
					if err := tx.UpdateSigningKey(ctx, row); err != nil {
						return err
					}
				}
				return tx.InsertSigningKey(ctx, fresh[0])
			})
		}),
		"where nothing is repeated": after(func(w *relay) { w.config.RepeatTokens = 0; w.restart() }),
		"for other scopes": beside(func(w *relay) *answer {
			return w.credentialsFor(w.agent, w.front.Identifier, "scope", "admin")
		}),
		"for another resource": beside(func(w *relay) *answer { return w.credentialsFor(w.agent, w.api.Identifier) }),
		"for another client": beside(func(w *relay) *answer {
			w.depend(w.server, w.front)
			return w.credentialsFor(w.server, w.front.Identifier, "scope", "use")
		}),
		"with another secret of the client's": beside(func(w *relay) *answer {
			second := *w.agent
			second.credential, second.secret = w.newCredential(w.agent.Application)
			return w.credentialsFor(&second, w.front.Identifier, "scope", "use")
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newRepeating(t)
			first, second := c(w)
			if w.must(first, 200, "").text("access_token") == w.must(second, 200, "").text("access_token") {
				t.Error("the same token")
			}
		})
	}
}

// TestARevokedTokenIsNotRepeated revokes a token, at another node, when it is
// about to be handed out again, and where too many are revoked to list.
func TestARevokedTokenIsNotRepeated(t *testing.T) {
	t.Parallel()
	w := newRepeating(t)
	ask := func() string {
		return w.must(w.credentialsFor(w.agent, w.front.Identifier), 200, "").text("access_token")
	}
	other := *w.world
	other.server = oauth.New(w.config)
	t.Cleanup(other.server.Close)
	between := &interposed{Store: w.store}
	w.config.Store = between
	w.restart()

	token := ask()
	between.beforeWrite = func() { other.must(other.postTo("/oauth/2/revoke", w.agent, form("token", token)), 200, "") }
	if ask() == token {
		t.Error("a token was handed out that was revoked before its commit")
	}

	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) (err error) {
		for n := 0; n < 1001 && err == nil; n++ {
			key := deputy.HashSecret(deputy.Conceal(fmt.Sprint(n)))
			err = tx.PutTicket(ctx, &deputy.Ticket{
				Kind: deputy.RevokedTicket, ZoneID: w.zone.ID, Key: key, CreatedAt: tx.Now(), ExpiresAt: tx.Now().Add(time.Hour),
			})
		}
		return err
	})
	token = ask()
	w.must(w.postTo("/oauth/2/revoke", w.agent, form("token", token)), 200, "")
	if ask() == token {
		t.Error("a token was handed out that is revoked beside many others")
	}
}

// TestRefreshedTokensAreNew: to refresh is to ask for a new token.
func TestRefreshedTokensAreNew(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	f.config.RepeatTokens = 10 * time.Minute
	f.restart()
	first := f.must(f.redeem(f.code("resource", f.api.Identifier)), 200, "")
	second := f.must(f.refreshed(first.text("refresh_token")), 200, "")
	if third := f.must(f.refreshed(second.text("refresh_token")), 200, ""); third.text("access_token") == second.text("access_token") {
		t.Error("the same token")
	}
}
