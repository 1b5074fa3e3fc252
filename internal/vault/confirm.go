package vault

import (
	"context"
	"errors"
	"time"

	"deputy/internal/deputy"
)

// Believed is how long a key in memory is believed without a look at its row:
// so long can another node still open what hangs on a key that was destroyed.
const Believed = time.Minute

// Granted is how long a data key that a customer's key wraps is used without
// that key: so long can it still be used after its owner has taken it away.
const Granted = 5 * time.Minute

// confirm looks, from time to time, whether the rows of a key and of those above
// it are still there, and whether a customer still grants the use of theirs. Of
// many who ask at once one looks, and the others go on.
func (v *Vault) confirm(ctx context.Context, k *dataKey) error {
	if v.Now == nil {
		return nil
	}
	now := v.Now()
	for ; k != nil; k = k.above {
		looked := k.looked.Load()
		if !due(now, looked, Believed) || !k.looked.CompareAndSwap(looked, now.UnixMicro()) {
			continue
		}
		if err := v.look(ctx, k, now); err != nil {
			k.looked.CompareAndSwap(now.UnixMicro(), looked)
			return err
		}
	}
	return nil
}

// due reports whether a time is over since at; it is too when the clock went
// back.
func due(now time.Time, at int64, after time.Duration) bool {
	since := now.Sub(time.UnixMicro(at))
	return since < 0 || since >= after
}

// look reads the row of a key anew and forgets the key where that is gone, or
// where a customer's key does not open it any more. One that does not answer is
// asked again the next time: its absence takes nobody's access away.
func (v *Vault) look(ctx context.Context, k *dataKey, now time.Time) error {
	row, err := v.keys.DataKey(ctx, k.id)
	if errors.Is(err, deputy.NotFound) {
		v.Forget(k.id)
		return erased(err)
	}
	if err != nil {
		return err
	}
	if row.ParentID != "" || row.Rooted() || !due(now, k.granted.Load(), Granted) {
		return nil
	}
	key, err := v.unwrapRooted(ctx, row)
	clear(key)
	if errors.Is(err, ErrRefused) {
		v.Forget(k.id)
		return err
	}
	if err == nil {
		k.granted.Store(now.UnixMicro())
	}
	return nil
}

// erased is the answer to what hung on a key that was destroyed.
func erased(cause error) error {
	return deputy.Error{Kind: deputy.NotFound, Message: "erased"}.Because(cause)
}
