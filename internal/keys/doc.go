// Package keys is the signing keys of an issuer: made, sealed, loaded, rotated,
// published, and put to work on tokens that are signed here and come back here.
//
//	Pool ─ Generate ─→ deputy.SigningKey ─ Load ─→ Signer ─→ token
//	                        │    ↑
//	                        │   Next (next → active → retired → gone)
//	                        └─ NewSet ─→ Set ─→ JWKS document, Verify
//
// Tokens are JWS in compact form (RFC 7515 §7.1), attestations in flattened form
// (§7.2.2), both RS256 or ES256 (RFC 7518 §3.3, §3.4). A key's id is its
// thumbprint (RFC 7638).
//
// Invariants:
//
//   - A key pair has one algorithm, stored with it. Signing and verifying take it
//     from there; a token's header can only agree (RFC 8725 §3.1).
//   - A private key is at rest only as the vault sealed it, bound to owner and
//     kid.
//   - What Verify returns is the payload of a token signed with a key of this
//     set, of a type that the caller named. Expiry, audience, liveness and every
//     other claim are the caller's to judge.
//   - The time comes from the caller, always.
//
// The store keeps the rows. Tokens of other issuers are verified elsewhere.
package keys
