// Package sink streams the log to where an operator wants it: files, an object
// store, a syslog collector, a webhook. Where to is the operator's to say, in
// settings; no call of the API can send events anywhere.
//
//	log ── Worker ──▶ OCSF ──▶ Destination
//	 ▲       │ cursor, after the destination has it
//	 └───────┘
//
// A [Worker] reads a log of an organization in its order, from where its cursor
// is, and hands batches to a [Destination]. The cursor moves, durably, once the
// destination has said that it has the batch: so every event arrives at least
// once, and after a crash some arrive again. Each has its id in metadata.uid.
// Where a batch has a name of its own, as files and objects do, one that
// comes again takes the place of the first, so that there nothing is twice.
//
// Of several nodes one holds the lease of a destination. A node that lost it
// while it was delivering cannot move the cursor. What fails is tried again
// later and later; other destinations go on meanwhile, and nothing of this is on
// the way of a token: the log is read behind the answers.
//
// Events are in the form of the Open Cybersecurity Schema Framework ([Event]),
// with the record as the log keeps it in raw_data, so that whoever receives
// them can check its leaf hash. What the log knows of a person is sealed there,
// and left out of the rest unless the operator asks for it: copies elsewhere
// would not be forgotten when the person is.
//
// Standards: OCSF 1.3 (schema.ocsf.io), RFC 5424 and 5425 (syslog), RFC 6587
// §3.4.1 (framing), Standard Webhooks 1.0 (signatures), JSON Lines.
package sink
