// Package pages draws what people see: signing in, consent, their account, and
// what went wrong. It draws and nothing else. Whoever calls it has decided.
//
//	page.go    one type for each page, with what it shows
//	frame.go   what is around every page, and the headers it travels under
//	asset.go   the stylesheet and the one script
//	message/   every sentence, one file for each language
//	template/  the pages themselves
//
// Invariants:
//
//   - A page works without its script, which only adds passkeys. It has a
//     heading, a label for each field and a name for each button, so that a
//     keyboard and a screen reader are enough.
//   - Nothing is inline: the content security policy allows style and script
//     from the page's own origin and nothing else, and no other page may frame
//     it. Forms lead home, and further only to where the frame says.
//   - A branding is a name and a colour. Zones share an origin, so that more
//     could speak for another zone.
//   - Every sentence is in the message files. Text from outside is escaped by
//     html/template, wherever it stands.
package pages
