package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

const (
	defaultReplay = 100_000
	// replayStep is how many stored decisions are read at once.
	replayStep = 4096
	// maxWitnesses bounds the changes that an answer names.
	maxWitnesses = 100
)

// PolicyReplay says which stored decisions to make again.
type PolicyReplay struct {
	Since Patch[Time] `json:"since,omitzero" doc:"Not before this time; as far back as decisions are kept unless said."`
	Until Patch[Time] `json:"until,omitzero" doc:"Before this time."`
	Limit Patch[int]  `json:"limit,omitzero" minimum:"1" maximum:"250000" doc:"How many, the newest first; 100000 unless said."`
}

// PolicyReplayResult says how decisions would change.
type PolicyReplayResult struct {
	Evaluated    int  `json:"evaluated" doc:"Decisions that were made again: the sum of the five below."`
	Unchanged    int  `json:"unchanged"`
	NewlyAllowed int  `json:"newly_allowed"`
	NewlyDenied  int  `json:"newly_denied"`
	Narrowed     int  `json:"narrowed" doc:"Allowed, with fewer scopes."`
	Widened      int  `json:"widened" doc:"Allowed, with a scope that was not granted before."`
	Gone         int  `json:"gone" doc:"Decisions that cannot be made again, because what they were made of is not kept any more."`
	Complete     bool `json:"complete" doc:"The limit left none of the time out."`
	// Changes are counted in full, and named as far as there is room.
	Changes   int       `json:"changes" doc:"How many different changes there are: of who, for what, and how."`
	Witnesses []Witness `json:"witnesses" doc:"The newest request of each change, of 100 changes at most."`
}

// Witness is a request that stands for a change.
type Witness struct {
	Change       string             `json:"change" enum:"newly_allowed,newly_denied,narrowed,widened"`
	Count        int                `json:"count" doc:"Decisions that changed like this; 0 for a request that was made up."`
	EvaluationID string             `json:"evaluation_id,omitzero"`
	Principals   []WitnessPrincipal `json:"principals"`
	ResourceID   string             `json:"resource_id"`
	Impersonate  bool               `json:"impersonate"`
	Scopes       []string           `json:"scopes,omitempty" doc:"As requested."`
	Before       WitnessAnswer      `json:"before"`
	After        WitnessAnswer      `json:"after"`
}

// WitnessPrincipal is one of those who asked.
type WitnessPrincipal struct {
	Type     string `json:"type" enum:"user,application"`
	ID       string `json:"id"`
	OnBehalf bool   `json:"on_behalf"`
}

// WitnessAnswer is one of the two answers.
type WitnessAnswer struct {
	Decision    string   `json:"decision" enum:"allow,deny"`
	Refusal     string   `json:"refusal,omitzero" enum:"no_active_set,forbidden,not_permitted,not_narrowable,evaluation_failed"`
	ScopesKept  []string `json:"scopes_kept,omitempty"`
	Determining []string `json:"determining,omitempty" doc:"Labels; of the answer afterwards only."`
}

func (a *API) mountReplays() {
	version := operation{
		ID: "replay-policy-set-version", Method: http.MethodPost, Path: policySetVersions.Path + "/{version_id}/replay", Action: "policy_set_versions:replay",
		Tag: policySetVersions.Tag, Summary: "Make stored decisions again, by a policy set version", Status: http.StatusOK, Headers: policyHeaders,
		Doc: "Who would gain and who would lose access, had the version decided. Nothing is issued or stored; only that somebody asked is an event.",
	}
	mount(a, version, a.replayVersion)
	draft := version
	draft.ID, draft.Path, draft.Action = "replay-policy-set-draft", policySets.Path+"/{policy_set_id}/draft/replay", "policy_set_drafts:replay"
	draft.Tag, draft.Summary = policySetDrafts.Tag, "Make stored decisions again, by the draft of a policy set"
	mount(a, draft, a.replayDraft)
}

func (a *API) replayVersion(ctx context.Context, c *call, in *input[PolicyReplay]) (*output[PolicyReplayResult], error) {
	set, err := a.compiled(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := a.noteRead(ctx, c); err != nil {
		return nil, err
	}
	return a.answerReplay(ctx, c, set, &in.Body)
}

func (a *API) replayDraft(ctx context.Context, c *call, in *input[PolicyReplay]) (*output[PolicyReplayResult], error) {
	d, err := a.setDraft(ctx, c)
	if err != nil {
		return nil, err
	}
	set, err := a.compiledDraft(ctx, c, d)
	if err != nil {
		return nil, err
	}
	err = a.write(ctx, c, policySetDrafts.target(d.PolicySetID), func(deputy.Tx) error { return nil })
	if err != nil {
		return nil, err
	}
	return a.answerReplay(ctx, c, set, &in.Body)
}

func (a *API) answerReplay(ctx context.Context, c *call, set *policy.Set, in *PolicyReplay) (*output[PolicyReplayResult], error) {
	replay, complete, err := a.replay(ctx, c, set, time.Time(in.Since.V), time.Time(in.Until.V), in.Limit.Or(defaultReplay))
	if err != nil {
		return nil, err
	}
	v := viewReplay(replay.Cases())
	v.Complete = complete
	return &output[PolicyReplayResult]{v}, nil
}

// compiledDraft returns the version that a draft would become, ready to decide.
func (a *API) compiledDraft(ctx context.Context, c *call, d *deputy.PolicySetDraft) (*policy.Set, error) {
	set, err := a.store.PolicySets().Get(ctx, policySets.scope(c), d.PolicySetID)
	if err != nil {
		return nil, missing(err, policySets.Name)
	}
	pinned, err := a.store.PinnedPolicies(ctx, c.zone.ID, d.Manifest)
	if err != nil {
		return nil, err
	}
	v := policy.SetVersion{SetID: set.ID, SetName: set.Name, Number: set.LatestVersion + 1, SchemaVersion: d.SchemaVersion}
	for _, p := range pinned {
		v.Entries = append(v.Entries, policy.Entry{
			PolicyID: p.Version.PolicyID, VersionID: p.Version.ID, PolicyName: p.Name, Text: p.Version.Text, SHA: p.Version.SHA,
		})
	}
	return policy.Compile(v)
}

// replay makes the newest stored decisions of a time again, and reports whether
// that was all of them. One runs at a time: it keeps a processor busy.
func (a *API) replay(ctx context.Context, c *call, set *policy.Set, since, until time.Time, limit int) (r *policy.Replay, complete bool, err error) {
	select {
	case a.replaying <- struct{}{}:
		defer func() { <-a.replaying }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	if kept := c.at.Add(-a.retention); since.Before(kept) {
		since = kept
	}
	r = policy.NewReplay(set)
	q := deputy.EvaluationQuery{Organization: c.zone.OrganizationID, Zone: c.zone.ID, Since: since, Until: until}
	for limit > 0 {
		q.Limit = min(limit, replayStep)
		some, err := a.store.Evaluations(ctx, q)
		if err != nil {
			return nil, false, err
		}
		for i := range some {
			if err := r.Take(&some[i]); err != nil {
				return nil, false, err
			}
		}
		if err := a.loadEntities(ctx, c.zone.ID, &r.Entities, r.Missing()); err != nil {
			return nil, false, err
		}
		r.Decide()
		if len(some) < q.Limit {
			return r, true, nil
		}
		limit -= len(some)
		q.Before = some[len(some)-1].Seq
	}
	return r, false, nil
}

// viewReplay counts the changes of cases and names a witness of each.
func viewReplay(cases []*policy.Case) PolicyReplayResult {
	v := PolicyReplayResult{Witnesses: []Witness{}}
	known := map[string]int{} // the index of a change's witness; -1 where there is no room
	for _, c := range cases {
		if c.Change == policy.Gone {
			v.Gone += c.Count
			continue
		}
		v.Evaluated += c.Count
		switch c.Change {
		case policy.Unchanged:
			v.Unchanged += c.Count
			continue
		case policy.NewlyAllowed:
			v.NewlyAllowed += c.Count
		case policy.NewlyDenied:
			v.NewlyDenied += c.Count
		case policy.Narrowed:
			v.Narrowed += c.Count
		case policy.Widened:
			v.Widened += c.Count
		}
		w := viewWitness(c)
		key := fmt.Sprint(w.Change, w.Principals, w.ResourceID, w.Impersonate)
		at, seen := known[key]
		switch {
		case seen && at >= 0:
			v.Witnesses[at].Count += c.Count
		case !seen:
			v.Changes++
			known[key] = -1
			if len(v.Witnesses) < maxWitnesses {
				known[key] = len(v.Witnesses)
				v.Witnesses = append(v.Witnesses, w)
			}
		}
	}
	return v
}

func viewWitness(c *policy.Case) Witness {
	w := Witness{
		Change: string(c.Change), Count: c.Count, EvaluationID: string(c.Of), Principals: []WitnessPrincipal{},
		ResourceID: string(c.Request.Resource.ID()), Impersonate: c.Request.Impersonate, Scopes: c.Request.Scopes,
		Before: WitnessAnswer{Decision: decision(c.Before.Allowed()), Refusal: c.Before.Refusal, ScopesKept: c.Before.Kept},
		After: WitnessAnswer{
			Decision: decision(c.After.Allowed), Refusal: string(c.After.Refusal), ScopesKept: c.After.Scopes, Determining: labels(c.After.Determining()),
		},
	}
	for _, leg := range c.Request.Legs {
		w.Principals = append(w.Principals, WitnessPrincipal{leg.Principal.PrincipalType(), leg.Principal.PrincipalID(), leg.OnBehalf})
	}
	return w
}

// widening refuses to let a version decide that gives access which is not there
// today, unless somebody has acknowledged that.
type widening struct {
	error
	witnesses []Witness
}

func (w *widening) Unwrap() error { return w.error }

// checkWidening compares a draft with the set that decides as the call begins, on
// the decisions that are stored.
func (a *API) checkWidening(ctx context.Context, c *call, d *deputy.PolicySetDraft) error {
	after, err := a.compiledDraft(ctx, c, d)
	if err != nil {
		return err
	}
	bound, err := a.store.BoundPolicy(ctx, c.zone.ID, c.zone.ActivePolicySetVersionID)
	if err != nil {
		return err
	}
	before, err := policy.CompileBound(bound)
	if err != nil {
		return err
	}
	replay, _, err := a.replay(ctx, c, after, time.Time{}, time.Time{}, defaultReplay)
	if err != nil {
		return err
	}
	replay.Against(before)
	var widened []*policy.Case
	for _, made := range replay.Cases() {
		if made.Change.Widens() {
			widened = append(widened, made)
		}
	}
	if len(widened) == 0 {
		return nil
	}
	seen := viewReplay(widened)
	names := make([]string, 0, 3)
	for _, w := range seen.Witnesses[:min(3, len(seen.Witnesses))] {
		names = append(names, w.Principals[len(w.Principals)-1].ID+" to "+w.ResourceID)
	}
	return &widening{
		deputy.Errorf(deputy.Conflict, "the version would widen access (%d changes, such as %s): look at the witnesses, and publish with acknowledge_widening if that is meant",
			seen.Changes, strings.Join(names, ", ")),
		seen.Witnesses,
	}
}

// witnessesOf returns what an error has to show.
func witnessesOf(err error) []Witness {
	var w *widening
	if errors.As(err, &w) {
		return w.witnesses
	}
	return nil
}
