package oauth_test

import (
	"context"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/keys"
)

// TestRotation: a key signs from the moment it is active, on a node that hears
// of it only when it commits too; what the key before it signed stays good.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	other := w.elsewhere()
	kid := func(a *answer) string {
		t.Helper()
		return w.part(w.must(a, 200, "").text("access_token"), 0)["kid"].(string)
	}
	ask := func(at *world) *answer { t.Helper(); return at.credentialsFor(w.agent, w.front.Identifier) }
	old := kid(ask(other))
	_, next, err := keys.Generate(context.Background(), w.vault, keys.NewPool(1), keys.Spec{
		Owner: deputy.ID(w.zone.ID), DataKey: w.zone.KeyID, Algorithm: deputy.ES256, State: deputy.KeyNext, Now: w.clock.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.InsertSigningKey(ctx, next) })
	if a := w.get("GET", "/z/"+string(w.zone.ID)+"/openidconnect/jwks"); len(a.json["keys"].([]any)) != 2 {
		t.Errorf("the next key is not published: %s", a)
	}
	turn := func() {
		t.Helper()
		rows, err := w.store.SigningKeys(context.Background(), deputy.ID(w.zone.ID))
		if err != nil {
			t.Fatal(err)
		}
		todo := keys.Next(rows, w.clock.Now(), keys.DefaultMaxAge)
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			for _, row := range todo.Update {
				if err := tx.UpdateSigningKey(ctx, row); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, at := range []*world{w.world, other} {
		if got := kid(ask(at)); got != old {
			t.Errorf("signed with %s before its turn", got)
		}
	}
	w.clock.advance(keys.PublishedAhead)
	turn()
	for _, at := range []*world{other, w.world} {
		if got := kid(ask(at)); got != next.ID {
			t.Errorf("signed with %s after the turn", got)
		}
		w.must(at.exchange(w.server, w.token, w.api.Identifier), 200, "")
	}
}
