package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/policy"
)

const (
	taskLease  = time.Minute
	purgeStep  = 1000 // rows of one transaction
	purgeRuns  = 50   // transactions within one lease
	expireStep = 1000 // sessions or grants of one transaction
)

// work does a claimed task and returns when it is due again; the zero time
// means that it is done.
type work func(*Server, context.Context, deputy.Task) (again time.Time, err error)

// works has what does the tasks of each kind, in groups that do not wait for
// each other.
var works = []map[string]work{
	{
		deputy.TaskPurgeZone:  (*Server).purgeZone,
		deputy.TaskRotateKeys: (*Server).rotateKeys,
		deputy.TaskAttest:     (*Server).attest,
	}, {
		deputy.TaskSendMail: (*Server).sendMail, // waits for a relay
	}, {
		deputy.TaskRevokeGrant: (*Server).withdrawGrant, // waits for a provider
	}, {
		deputy.TaskPushSignals: (*Server).pushSignals, // waits for receivers
	},
}

// runTasks claims one due task of a group and does it; more reports that there
// may be another. A task that fails is due again soon, and then later and later.
func (s *Server) runTasks(ctx context.Context, group map[string]work) (more bool, err error) {
	tasks, err := s.store.ClaimTasks(ctx, slices.Collect(maps.Keys(group)), 1, taskLease)
	if err != nil || len(tasks) == 0 {
		return false, err
	}
	t := tasks[0]
	inside, span := s.traces.task(ctx, t.Kind)
	again, err := group[t.Kind](s, inside, t)
	span.End(err)
	s.meters.tried(t.Kind, err)
	if err != nil {
		err = fmt.Errorf("%s: %w", t.Kind, err)
		again = s.cfg.now().Add(time.Duration(min(t.Attempt, 60)) * time.Second)
	}
	return true, errors.Join(err, s.store.FinishTask(ctx, t, again))
}

// purgeZone removes rows of a deleted zone, as many as fit into a lease.
func (s *Server) purgeZone(ctx context.Context, t deputy.Task) (again time.Time, err error) {
	for range purgeRuns {
		left, err := s.store.PurgeZone(ctx, t.ZoneID, purgeStep)
		if err != nil || !left {
			return time.Time{}, err
		}
	}
	return s.cfg.now(), nil
}

// withdrawTries is how often a provider is asked to revoke the tokens of a
// grant: over about an hour.
const withdrawTries = 80

// withdrawGrant revokes the tokens of a grant that is over at their provider.
func (s *Server) withdrawGrant(ctx context.Context, t deputy.Task) (again time.Time, err error) {
	if err := s.oauth.Withdraw(ctx, t); err != nil && t.Attempt < withdrawTries {
		return again, err
	}
	return again, nil
}

// pushSignals sends a stream what it has not got.
func (s *Server) pushSignals(ctx context.Context, t deputy.Task) (again time.Time, err error) {
	more, err := s.oauth.PushSignals(ctx, t)
	if more {
		again = s.cfg.now()
	}
	return again, err
}

// rotateKeys gives the signing keys of a zone or of the platform their turn: a
// successor is made and published when one is of age, signs once verifiers
// have had the time to learn of it, and what retired long ago goes. Should two
// nodes do it at once, because one slept through its lease, there is a key too
// many, which waits for the next turn.
func (s *Server) rotateKeys(ctx context.Context, t deputy.Task) (again time.Time, err error) {
	var to deputy.KeyRotation
	if err := json.Unmarshal(t.Data, &to); err != nil {
		return again, err
	}
	owner, now := deputy.PlatformID, s.now()
	var zone *deputy.Zone
	if t.ZoneID != "" {
		zone, err = s.store.Zones().Get(ctx, deputy.Scope{Organization: to.OrganizationID}, deputy.ID(t.ZoneID))
		if deputy.KindOf(err) == deputy.NotFound {
			return again, nil // deleted: its keys go with it
		}
		if err != nil {
			return again, err
		}
		owner, to.KeyID = deputy.ID(zone.ID), zone.KeyID
	}
	rows, err := s.store.SigningKeys(ctx, owner)
	if err != nil {
		return again, err
	}
	made, err := s.turnKeys(ctx, s.pool, keys.Next(rows, now, keys.DefaultMaxAge), owner, to, now)
	if err != nil {
		return again, err
	}
	if !to.Once {
		again = now.Add(deputy.KeyCheck)
	}
	for _, row := range append(rows, made...) {
		known := row.CreatedAt.Add(keys.PublishedAhead)
		if row.State == deputy.KeyNext && known.After(now) && (again.IsZero() || known.Before(again)) {
			again = known
		}
	}
	if zone == nil {
		return again, nil
	}
	return again, s.managePolicies(ctx, zone)
}

// managePolicies gives a zone the managed policies of this program. It goes with
// the daily look at the zone's keys: nobody waits for it, and it reaches every
// zone, whichever program made that, one at a time.
func (s *Server) managePolicies(ctx context.Context, zone *deputy.Zone) error {
	managed, err := policy.Defaults(policy.DefaultSchema)
	if err != nil {
		return err
	}
	return s.manage(ctx, zone, policy.DefaultSchema, managed)
}

// attestTask makes what the key before attests attested anew, before that key
// goes, and once no call that began with it is still running.
func attestTask(rotation *deputy.Event, now time.Time) deputy.Task {
	data, err := json.Marshal(rotation.OrganizationID)
	if err != nil {
		panic(err) // a text
	}
	return deputy.Task{ID: deputy.NewID(now), Kind: deputy.TaskAttest, ZoneID: rotation.ZoneID, Data: data, RunAt: now.Add(time.Minute)}
}

// attest signs again what an older key of the zone attests. Done twice, it
// changes nothing more.
func (s *Server) attest(ctx context.Context, t deputy.Task) (again time.Time, err error) {
	var organization deputy.OrganizationID
	if err := json.Unmarshal(t.Data, &organization); err != nil {
		return again, err
	}
	zone, err := s.store.Zones().Get(ctx, deputy.Scope{Organization: organization}, deputy.ID(t.ZoneID))
	if deputy.KindOf(err) == deputy.NotFound {
		return again, nil
	}
	if err != nil {
		return again, err
	}
	return again, s.api.Reattest(ctx, zone)
}

// turnKeys does what a turn asks for, and returns the keys it made. It enqueues
// what else is to be done.
func (d *data) turnKeys(ctx context.Context, pool *keys.Pool, turn keys.Turn, owner deputy.ID, to deputy.KeyRotation, now time.Time, also ...deputy.Task) (made []deputy.SigningKey, err error) {
	if len(turn.Make)+len(turn.Update)+len(turn.Remove) == 0 {
		return nil, nil
	}
	for _, algorithm := range turn.Make {
		_, row, err := keys.Generate(ctx, d.vault, pool, keys.Spec{
			Owner: owner, DataKey: to.KeyID, Algorithm: algorithm, State: turn.State(), Now: now,
		})
		if err != nil {
			return nil, err
		}
		made = append(made, row)
	}
	event := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(now)), Time: now, Type: "keys:rotate", Outcome: deputy.Success,
		OrganizationID: to.OrganizationID, Actor: deputy.Actor{Type: "platform"}, Target: &deputy.Target{Type: "platform", ID: string(owner)},
	}
	if owner != deputy.PlatformID {
		event.ZoneID, event.Target.Type = deputy.ZoneID(owner), "zone"
	}
	return made, d.store.Write(ctx, event, func(tx deputy.Tx) error {
		for _, row := range made {
			if err := tx.InsertSigningKey(ctx, row); err != nil {
				return err
			}
		}
		for _, row := range turn.Update {
			if err := tx.UpdateSigningKey(ctx, row); err != nil {
				return err
			}
		}
		for _, task := range also {
			if err := tx.Enqueue(ctx, task); err != nil {
				return err
			}
		}
		for _, row := range slices.Concat(made, turn.Update) {
			if event.ZoneID == "" || row.State != deputy.KeyActive || row.Algorithm != deputy.RS256 {
				continue
			}
			if err := tx.Enqueue(ctx, attestTask(event, now)); err != nil {
				return err
			}
		}
		for _, id := range turn.Remove {
			if err := tx.DeleteSigningKey(ctx, owner, id); err != nil {
				return err
			}
		}
		return nil
	})
}
