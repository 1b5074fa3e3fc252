// Package api is the management API: organizations, zones and everything an
// organization configures in them, plus its log of events, over JSON.
//
// One mechanism carries every call. A request passes these steps, each written
// once:
//
//	handler.go   routes by the raw path, answers 404 and 405 in JSON
//	call.go      request id, bearer token → deputy.Caller (Config.Authenticate)
//	body.go      size, content type, empty body; names members nobody knows
//	huma         the body against the schema of its Go type
//	permit.go    may this caller do this here? The zone or organization, or 404
//	noun.go      five verbs over any noun, or a handler beside its declaration
//	call.go      store.Write: the change and its event, or neither
//	problem.go   any error as the one error body
//
// A noun is declared (noun.go): where it lies, how it is shown, made and
// changed, what its list can be asked. routes.go lists every operation. The
// types with json tags are the wire format; their tags are the checks and the
// OpenAPI document (RFC 3986 paths, OpenAPI 3.1, JSON Schema 2020-12), so what
// is documented is what happens. Names of query parameters, envelopes and
// statuses are those that existing clients expect.
//
// Invariants:
//
//   - A handler runs only after permit said yes, and gets what permit found.
//   - What lies outside the caller's organization does not exist: 404. What is
//     the platform's can be read and not changed: 403, and an event.
//   - Nothing changes but through one Write, with its event. The caller's
//     credential is looked at again inside it.
//   - An error never repeats a submitted value, and says nothing of its cause.
//   - A secret is in the answer that made it and in no other.
//
// Who a bearer is (Config.Authenticate) and the token endpoint of service
// accounts belong to package oauth; storage to store; Cedar to policy.
package api
