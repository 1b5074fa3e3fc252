// Package vault is envelope encryption: values at rest, sealed under data keys,
// which are sealed under one another and in the end under a root key that no
// database holds.
//
//	root key file, or a customer's key
//	  └─ platform, organization, zone     deputy.DataKey, ParentID empty
//	       └─ user                        deputy.DataKey, ParentID = the zone's
//	            └─ value                  bytes in a column
//
// It owns the ciphers, the two ciphertext formats and the cache of unwrapped
// keys. The store keeps the rows, and decides with its transactions when a key
// exists and when it has been destroyed.
//
// Invariants:
//
//   - A value opens only at the place where it was sealed, a data key unwraps
//     only as the row that it was made for: the place and the row are associated
//     data of the AES-256-GCM that encrypts them (NIST SP 800-38D).
//   - Every encryption draws a random 96-bit nonce, so one key may encrypt 2^32
//     values; an owner gets a new data key before, and old values keep opening,
//     as each names its key.
//   - Deleting a data key's row makes all that hangs on it unreadable: at once
//     where Forget is called, a minute later on other nodes (Believed). To open it
//     answers deputy.NotFound.
//   - Rows name the key-encryption key that wraps them, so that they can be wrapped
//     by another one, one by one, while everything is in use (Rewrap).
//   - No key and no plain text is in an error, a log line or a printed value.
package vault
