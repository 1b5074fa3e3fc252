// Package password keeps what people sign in with: it hashes passwords, checks
// them, and refuses those that an attacker tries first.
//
// A hash takes 19 MiB and some tens of milliseconds on purpose (argon2id, RFC
// 9106), so a [Hasher] makes no more at once than the machine can spare, pauses
// while other work wants the processor, lets a bounded number wait, and turns
// the rest away: whoever floods the sign-in slows the sign-in, and nothing else.
//
// Whoever does not exist takes as long as whoever does: checking against no
// hash works on a decoy.
//
// Client secrets are not passwords. They are random, and package deputy hashes
// them.
package password
