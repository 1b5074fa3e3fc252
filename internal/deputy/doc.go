// Package deputy is the domain: the things an organization configures, the
// people and programs that act, what they are given, and the evidence of it.
//
// An organization owns zones. A zone is an isolated identity domain with its
// own issuer, keys, policies and log. In it, applications authenticate with
// credentials and reach resources; a provider says where a resource's
// credential comes from; an active policy set decides; users stand behind
// sessions and delegated grants. Every answer given or refused is an Event.
//
// The package holds one file per aggregate with the type, its invariants
// (Validate) and what the store must be able to do with it. It also holds the
// two rules that everything else leans on:
//
//   - Standing.Live is the only place that says whether something may still be
//     used. Deleted, disabled, expired, revoked and archived all end there.
//   - Store.Write is the only door to change: a change and the event that
//     records it commit together or not at all.
//
// It imports the standard library alone; every other package of ours imports
// it. It knows no HTTP, no SQL and no clock.
package deputy
