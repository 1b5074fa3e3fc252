// Package policy is Cedar, wrapped once: it turns what a tenant writes into
// documents, documents into sets, and a question about a credential into a
// decision with its reasons.
//
// A [Document] is exactly one policy, taken as text or as Cedar policy JSON.
// Its limits (size, nesting, number of nodes) are checked before the engine
// sees a byte, because deep nesting would end the process, not the request.
// A document knows its normalised text, its canonical JSON (RFC 8785) and the
// SHA-256 of the latter; whatever form it came in, both forms mean the same.
//
// A [Schema] is one dated version of the platform's Cedar schema. Validation
// is strict: a document that passes cannot raise a type error on the entities
// this package builds.
//
// A [Set] is a compiled, immutable policy set version, safe for concurrent
// use. Its policies are indexed by what their scopes pin, so that a decision
// evaluates only those that could apply; the outcome is the same as without
// the index. [Set.Decide] answers a [Request]: one or two legs (a user, an
// application) that must all be permitted, and the scopes to narrow to.
//
// What holds always:
//
//   - Default deny: no set, no leg, no matching permit, or any error while
//     evaluating is a refusal. A forbid wins over every permit.
//   - The order and the duplicates of a set's policies never change a decision.
//   - A scope is granted only if the resource declares it, no forbid matches
//     the whole request, and it is permitted alone.
//   - Integers beyond ±(2^53−1) are refused in policies: RFC 8785 rounds them,
//     and two different policies would share a hash.
//
// The package has no clock, no storage and no HTTP. Who may write policies,
// numbering, activation and signing belong to others; this package gives the
// bytes to hash and to sign ([ManifestSHA], [Statement]).
package policy
