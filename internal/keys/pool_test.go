package keys_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

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

// TestAPoolFoundEmptyHoldsMore: it is filled to its size and no further, and to
// more once it was too small.
func TestAPoolFoundEmptyHoldsMore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	pool := keys.NewPool(1)
	for range 3 { // nothing is ready before it runs
		if _, err := pool.Take(ctx); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	go func() { done <- pool.Run(ctx) }()
	for pool.Ready() < 8 {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil || pool.Ready() != 8 {
		t.Errorf("%d keys are ready: %v", pool.Ready(), err)
	}
}

func TestManyTakeKeysAtOnce(t *testing.T) {
	pool := keys.NewPool(1)
	var wait sync.WaitGroup
	var made sync.Map
	for range 3 * runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			key, err := pool.Take(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if _, twice := made.LoadOrStore(key.N.String(), true); twice {
				t.Error("a key was given twice")
			}
		})
	}
	wait.Wait()
}
