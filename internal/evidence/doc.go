// Package evidence proves what an organization's log says, and what a policy set
// version is, to somebody who does not trust the keeper of either.
//
// The log is a Merkle tree (RFC 6962 §2.1) whose leaves are the hashes of its
// events, in the order of their sequence numbers. A checkpoint is the size and
// root of the tree at a moment, signed by the platform: whoever holds one can
// tell later that nothing before it was changed, moved, left out or cut off. An
// inclusion proof shows that one event is in it, a consistency proof that a
// later checkpoint continues it; both are a few hashes, and
// golang.org/x/mod/sumdb/tlog makes and checks them.
//
// An export is the log as a file that proves itself: a line for each event, as
// the log keeps it, with its sequence number and leaf hash, or those two alone
// for an event that is not shown, and at the end the checkpoint of exactly
// these lines. What an event knows of a person is sealed in it, so that a
// person can be forgotten and the file still verifies.
//
// A policy set version is attested by a key of its zone. Its export is what the
// management API answers about it, the signature included; beside that it takes
// the zone's JWKS document to tell that the policies are those that were
// attested.
package evidence
