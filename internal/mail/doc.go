// Package mail gets messages to people: codes, links, invitations.
//
// A message is sealed where it is written and lies in the store until somebody
// took it, so it leaves if and only if the change that it tells of happened:
//
//	Seal            the message becomes a deputy.Mail
//	tx.Mails()      Insert it in the Write whose news it is; a task comes with it
//	Open            the task's worker, in package server, reads it
//	Transport       SMTP takes it, or it becomes a file in the outbox
//
// A mail is handed over at least once: a node that dies between the relay's
// yes and the removal of the row sends it again, with the same Message-ID.
//
// Every message has the header X-Deputy-Purpose, and programs that read mail
// find a code or link alone on a line: the text is sent as it is, never folded
// or encoded (RFC 5322; RFC 6152 where a name is not ASCII).
//
// When to try again, and when to give up, is the worker's.
package mail
