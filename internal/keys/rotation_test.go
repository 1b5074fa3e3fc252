package keys_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"deputy/internal/deputy"
	"deputy/internal/keys"
)

const day = 24 * time.Hour

func ptr(t time.Time) *time.Time { return &t }

func active(id string, alg deputy.SigningAlgorithm, since time.Time) deputy.SigningKey {
	return deputy.SigningKey{ID: id, Algorithm: alg, State: deputy.KeyActive, CreatedAt: since, ActivatedAt: &since}
}

func next(id string, alg deputy.SigningAlgorithm, created time.Time) deputy.SigningKey {
	return deputy.SigningKey{ID: id, Algorithm: alg, State: deputy.KeyNext, CreatedAt: created}
}

func retired(k deputy.SigningKey, at time.Time) deputy.SigningKey {
	k.State, k.RetiredAt = deputy.KeyRetired, &at
	return k
}

func TestRotation(t *testing.T) {
	es := active("es", deputy.ES256, start)
	rs := active("rs", deputy.RS256, start)
	later := start.Add(90 * day)
	known := start.Add(10*time.Minute + 1)
	moment := func(k deputy.SigningKey, at time.Time) deputy.SigningKey {
		k.State, k.ActivatedAt = deputy.KeyActive, &at
		return k
	}
	for name, c := range map[string]struct {
		rows []deputy.SigningKey
		now  time.Time
		want keys.Turn
	}{
		"no keys at all":            {nil, start, keys.Turn{Make: []deputy.SigningAlgorithm{"RS256", "ES256"}}},
		"young":                     {[]deputy.SigningKey{rs, es}, later.Add(-1), keys.Turn{}},
		"of age":                    {[]deputy.SigningKey{rs, es}, later, keys.Turn{Make: []deputy.SigningAlgorithm{"RS256", "ES256"}}},
		"one of age":                {[]deputy.SigningKey{rs, active("es", deputy.ES256, start.Add(1))}, later, keys.Turn{Make: []deputy.SigningAlgorithm{"RS256"}}},
		"of age, its next is there": {[]deputy.SigningKey{rs, next("es2", deputy.ES256, later), es, next("rs2", deputy.RS256, later)}, later, keys.Turn{}},
		"next not known yet":        {[]deputy.SigningKey{rs, es, next("es2", deputy.ES256, start.Add(1))}, start.Add(10 * time.Minute), keys.Turn{}},
		"next known long enough": {[]deputy.SigningKey{rs, es, next("es2", deputy.ES256, start.Add(1))}, known, keys.Turn{Update: []deputy.SigningKey{
			moment(next("es2", deputy.ES256, start.Add(1)), known), retired(es, known),
		}}},
		"two next keys": {[]deputy.SigningKey{rs, es, next("es3", deputy.ES256, start.Add(2)), next("es2", deputy.ES256, start.Add(1))}, known, keys.Turn{Update: []deputy.SigningKey{
			moment(next("es2", deputy.ES256, start.Add(1)), known), retired(es, known),
		}}},
		"a spare next key": {[]deputy.SigningKey{rs, active("es2", deputy.ES256, start), next("es3", deputy.ES256, start.Add(-1))}, start.Add(day), keys.Turn{}},
		"a spare next key, of age": {[]deputy.SigningKey{active("rs", deputy.RS256, later), es, next("es3", deputy.ES256, start.Add(-1))}, later, keys.Turn{Update: []deputy.SigningKey{
			moment(next("es3", deputy.ES256, start.Add(-1)), later), retired(es, later),
		}}},
		"none active": {[]deputy.SigningKey{rs, next("es2", deputy.ES256, start)}, start, keys.Turn{Update: []deputy.SigningKey{
			moment(next("es2", deputy.ES256, start), start),
		}}},
		"two active":        {[]deputy.SigningKey{rs, active("es2", deputy.ES256, start.Add(1)), es}, start.Add(2), keys.Turn{Update: []deputy.SigningKey{retired(es, start.Add(2))}}},
		"retired":           {[]deputy.SigningKey{rs, es, retired(active("old", deputy.ES256, start), start)}, start.Add(25*time.Hour - 1), keys.Turn{}},
		"retired long ago":  {[]deputy.SigningKey{rs, es, retired(active("old", deputy.ES256, start), start)}, start.Add(25 * time.Hour), keys.Turn{Remove: []string{"old"}}},
		"a clock gone back": {[]deputy.SigningKey{rs, es, next("es2", deputy.ES256, start.Add(1))}, start.Add(-day), keys.Turn{}},
	} {
		before := slices.Clone(c.rows)
		if diff := cmp.Diff(c.want, keys.Next(c.rows, c.now, keys.DefaultMaxAge)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(before, c.rows); diff != "" {
			t.Errorf("%s: the rows given were changed:\n%s", name, diff)
		}
	}
}

func TestTheActiveKeyIsTheOneActivatedLast(t *testing.T) {
	rows := []deputy.SigningKey{
		active("a", deputy.ES256, start), active("b", deputy.ES256, start.Add(1)), active("c", deputy.RS256, start.Add(2)),
		next("d", deputy.ES256, start.Add(3)), retired(active("e", deputy.ES256, start.Add(4)), start.Add(5)),
	}
	if k, ok := keys.Active(rows, deputy.ES256); !ok || k.ID != "b" {
		t.Errorf("active is %q", k.ID)
	}
	if _, ok := keys.Active(rows[3:], deputy.ES256); ok {
		t.Error("a key that is not active is")
	}
}

// TestRotationOverTheYears lets time pass in random steps, with rotations by
// command between, and watches what verifiers rely on.
func TestRotationOverTheYears(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now, made := start, 0
		rows := map[string]deputy.SigningKey{}
		create := func(alg deputy.SigningAlgorithm, state deputy.KeyState) {
			made++
			k := next(fmt.Sprint("k", made), alg, now)
			if state == deputy.KeyActive {
				k.State, k.ActivatedAt = state, ptr(now)
			}
			rows[k.ID] = k
		}
		list := func() (out []deputy.SigningKey) {
			for _, r := range rows {
				out = append(out, r)
			}
			return out
		}
		create(deputy.RS256, deputy.KeyActive)
		create(deputy.ES256, deputy.KeyActive)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 9 * time.Minute, time.Hour, day, 40 * day}).Draw(t, "pause"))
			if rapid.IntRange(0, 9).Draw(t, "command") == 0 {
				create(rapid.SampledFrom([]deputy.SigningAlgorithm{deputy.RS256, deputy.ES256}).Draw(t, "alg"), deputy.KeyNext)
			}
			turn := keys.Next(list(), now, keys.DefaultMaxAge)
			for _, k := range turn.Update {
				if k.State == deputy.KeyActive && now.Sub(k.CreatedAt) < 10*time.Minute {
					t.Fatalf("%s signs %v after it was published", k.ID, now.Sub(k.CreatedAt))
				}
				rows[k.ID] = k
			}
			for _, id := range turn.Remove {
				if k := rows[id]; k.State != deputy.KeyRetired || now.Sub(*k.RetiredAt) < 25*time.Hour {
					t.Fatalf("%s removed too early", id)
				}
				delete(rows, id)
			}
			for _, alg := range turn.Make {
				create(alg, deputy.KeyNext)
			}
			count := map[deputy.SigningAlgorithm]int{}
			for _, k := range rows {
				if k.State == deputy.KeyActive {
					count[k.Algorithm]++
				}
			}
			if count[deputy.RS256] != 1 || count[deputy.ES256] != 1 {
				t.Fatalf("active keys: %v", count)
			}
			if diff := cmp.Diff(keys.Turn{}, keys.Next(list(), now, keys.DefaultMaxAge)); diff != "" {
				t.Fatalf("asks again:\n%s", diff)
			}
		}
	})
}
