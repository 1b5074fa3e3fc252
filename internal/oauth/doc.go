// Package oauth is the authorization server of every zone, and of the
// management plane: who asks, for whom, for what, and with which token they
// leave.
//
// The way of a token request:
//
//	route.go       host or path to zone and endpoint
//	zone.go        the zone's snapshot, brought forward if it has moved
//	form.go        the form, parsed once
//	clientauth.go  who it says it comes from; clients.go: who that is
//	assertion.go   proven by a key of its own; workload.go: by its platform
//	outside.go     tokens of others, believed by the keys they publish
//	token.go       the phases: grant, target, standing, policy, hand-out
//	recall.go      who is behind it, as last read
//	grant_*.go     what one grant type adds to them
//	mint.go        the credential and its event, in one commit, or neither
//	error.go       the one table from errors to answers
//	shadow.go      once it has left: what other policies would have said
//
// The way of a person, from a client and back to it:
//
//	authorize.go      the request, checked; redirect.go: where answers may go
//	relyingparty.go   the client that sends them, as it is now
//	login.go          the transaction; what the pages call
//	assess.go         who they are, what policy permits, what they must agree to
//	proceed.go        what is next: a page, or the code
//	websession.go     signing in, and the browser that stays signed in
//	grant_code.go     the client's session and tokens; grant_refresh.go: the next
//
// Invariants:
//
//   - Every credential leaves through mint, which asks Standing.Live, the one
//     rule of what may still be used, and commits on the proof that the zone is
//     still at the revision that the decision was made at. If it is not, the
//     request is decided again. What no zone revision covers (people, sessions,
//     service accounts) is read again in the committing transaction: what is
//     remembered of it can lead to a yes, and to nothing else.
//   - An answer that no commit validates, of introspection, UserInfo or a page,
//     is made of the zone as it is when the request comes: see current.
//   - A grant type fills in what is its own and cannot leave out a check that
//     all share, because the phases belong to the token endpoint.
//   - A request of a known client ends in exactly one event, whatever the
//     answer; the failures of unknown ones are counted, one event a minute and
//     source. Only an answer that was never reached leaves none.
//   - An issuer is derived from settings and the zone. Host and path find the
//     zone and decide nothing.
//   - Reading a snapshot or a cached client takes no lock.
//
// It stores nothing itself, decides nothing that policy can, and knows no key
// outside of package keys. The management API asks it who a bearer is and
// otherwise does not know it.
//
// Standards: RFC 6749, RFC 6750, RFC 7009, RFC 7519, RFC 7591, RFC 7636, RFC
// 7662, RFC 8252, RFC 8414, RFC 8693, RFC 8707, RFC 9068, RFC 9126, RFC 9207,
// RFC 9700, OpenID Connect Core 1.0 and RP-Initiated Logout 1.0. Where we depart from them: docs/spec-notes.md.
package oauth
