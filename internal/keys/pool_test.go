package keys_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"deputy/internal/keys"
)

func TestPoolGivesEachKeyOnceAndStops(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pool := keys.NewPool(2)
	done := make(chan error)
	go func() { done <- pool.Run(ctx) }()
	seen := map[string]bool{}
	for range 3 {
		key, err := pool.Take(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if key.N.BitLen() != 2048 || key.Validate() != nil || seen[key.N.String()] {
			t.Error("an odd key, or one given twice")
		}
		seen[key.N.String()] = true
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

func TestAnEmptyPoolMakesNothingForCallersThatLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keys.NewPool(0).Take(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
