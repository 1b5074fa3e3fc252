package storetest

import (
	"time"

	"deputy/internal/deputy"
)

var signIns = map[string]func(*world){
	"what people sign in with reads back the same": signInTrip,
	"addresses are one whatever their letter case": foldedAddresses,
	"a code takes the place of the one before":     replacedCode,
	"passkeys are found by what they are called":   passkeyNames,
	"deleting a user forgets how they sign in":     forgottenSignIn,
	"codes go once they are over":                  codesOver,
}

// codesOver: a code that is over goes, unless the person goes with it who has
// not shown that the address is theirs.
func codesOver(w *world) {
	var all []*deputy.MailedCode
	for name, set := range map[string]func(*deputy.User){
		"unverified": func(*deputy.User) {},
		"verified":   func(u *deputy.User) { u.EmailVerified = true },
		"disabled":   func(u *deputy.User) { u.Status = deputy.UserDisabled },
		"federated": func(u *deputy.User) {
			issuer, subject := "https://idp.test", "s"
			u.Issuer, u.Subject = &issuer, &subject
		},
	} {
		u := w.user(name)
		set(u)
		w.insert(func(t deputy.Tx) error { return t.Users().Insert(w.ctx, u) })
		for _, purpose := range []deputy.MailPurpose{deputy.MailVerifyEmail, deputy.MailResetPassword} {
			c := w.code(u, purpose, name+string(purpose))
			all = append(all, c)
			w.insert(func(t deputy.Tx) error { return t.MailedCodes().Insert(w.ctx, c) })
		}
	}
	left := func() (links []string) {
		for _, c := range all {
			if _, err := w.MailedCodes().Get(w.ctx, w.in, c.ID); err == nil {
				links = append(links, c.Link)
			}
		}
		return links
	}
	sure(w.Sweep(w.ctx, 100))
	if n := len(left()); n != len(all) {
		w.Errorf("%d of %d codes are left that are good", n, len(all))
	}
	w.clock.advance(2 * time.Hour)
	if more := sure(w.Sweep(w.ctx, 3)); !more {
		w.Error("nothing is left to do")
	}
	sure(w.Sweep(w.ctx, 100))
	if links := left(); len(links) != 1 || links[0] != "unverified"+string(deputy.MailVerifyEmail) {
		w.Errorf("left are %v", links)
	}
	now := w.clock.Now()
	if early := sure(w.Unverified(w.ctx, now.Add(-2*time.Hour), 10)); len(early) != 0 {
		w.Errorf("too early %v", early)
	}
	if over := sure(w.Unverified(w.ctx, now, 10)); len(over) != 1 || over[0].Identifier != "unverified" {
		w.Errorf("over are %v", over)
	}
}

func (w *world) password(u *deputy.User, email string) *deputy.Password {
	now := w.tick()
	return &deputy.Password{ZoneID: u.ZoneID, UserID: u.ID, Email: email, Hash: "$hash", ChangedAt: now, CreatedAt: now}
}

func (w *world) code(u *deputy.User, purpose deputy.MailPurpose, link string) *deputy.MailedCode {
	now := w.tick()
	return &deputy.MailedCode{
		ZoneID: u.ZoneID, ID: deputy.CodeID(u.ID, purpose), UserID: u.ID, Purpose: purpose, Email: u.Email,
		SealedCode: []byte{1, 0, 2}, Link: link, Attempts: 1, ExpiresAt: now.Add(time.Hour), CreatedAt: now,
	}
}

func (w *world) passkey(u *deputy.User, credential string) *deputy.Passkey {
	now := w.tick()
	return &deputy.Passkey{
		ZoneID: u.ZoneID, ID: w.newID(), UserID: u.ID, CredentialID: credential, Name: "Laptop",
		Credential: []byte(`{"id":1}`), LastUsedAt: &now, CreatedAt: now,
	}
}

func (w *world) zoneInvitation(email string) *deputy.ZoneInvitation {
	now := w.tick()
	return &deputy.ZoneInvitation{
		ZoneID: w.zone.ID, OrganizationID: w.org.ID, ID: w.newID(), Email: email, Status: deputy.InvitationPending,
		ExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now,
	}
}

func signInTrip(w *world) {
	u := w.user("ada")
	p := w.password(u, "Ada@Example.com")
	trip(w, asInserts(deputy.Tx.Passwords), w.Passwords(), w.in, deputy.ID(u.ID), p)
	c := w.code(u, deputy.MailVerifyEmail, "aa")
	trip(w, asInserts(deputy.Tx.MailedCodes), w.MailedCodes(), w.in, c.ID, c)
	k := w.passkey(u, "AQID")
	trip(w, asInserts(deputy.Tx.Passkeys), w.Passkeys(), w.in, k.ID, k)
	i := w.zoneInvitation("Ada@Example.com")
	i.UserID = &u.ID
	trip(w, asInserts(deputy.Tx.ZoneInvitations), w.ZoneInvitations(), w.in, i.ID, i)

	manager := *p
	manager.ZoneID, manager.Hash = "", "$another"
	trip(w, asInserts(deputy.Tx.Passwords), w.Passwords(), deputy.Scope{}, deputy.ID(u.ID), &manager)
	w.same(p, sure(w.Passwords().Get(w.ctx, w.in, deputy.ID(u.ID))))
}

func foldedAddresses(w *world) {
	ada, bob := w.user("ada"), w.user("bob")
	p := w.password(ada, "Ada@Example.com")
	w.insert(func(t deputy.Tx) error { return t.Passwords().Insert(w.ctx, p) })
	w.same(p, sure(w.Passwords().Find(w.ctx, w.in, "email", "aDA@eXAMPLE.com")))
	w.blames(w.write(func(t deputy.Tx) error { return t.Passwords().Insert(w.ctx, w.password(bob, "ada@example.COM")) }), deputy.Conflict, "email")

	i := w.zoneInvitation("Ada@Example.com")
	w.insert(func(t deputy.Tx) error { return t.ZoneInvitations().Insert(w.ctx, i) })
	w.same(i, sure(w.ZoneInvitations().Find(w.ctx, w.in, "email", "ada@example.com")))
	w.blames(w.write(func(t deputy.Tx) error { return t.ZoneInvitations().Insert(w.ctx, w.zoneInvitation("ada@example.com")) }), deputy.Conflict, "email")
	w.must(w.write(func(t deputy.Tx) error {
		_, err := t.ZoneInvitations().Update(w.ctx, w.in, i.ID, func(i *deputy.ZoneInvitation) error {
			i.Status = deputy.InvitationAccepted
			return nil
		})
		return err
	}))
	_, err := w.ZoneInvitations().Find(w.ctx, w.in, "email", "ada@example.com")
	w.is(err, deputy.NotFound)
	w.insert(func(t deputy.Tx) error { return t.ZoneInvitations().Insert(w.ctx, w.zoneInvitation("ada@example.com")) })
}

func replacedCode(w *world) {
	u := w.user("ada")
	first, second := w.code(u, deputy.MailVerifyEmail, "aa"), w.code(u, deputy.MailVerifyEmail, "bb")
	other := w.code(u, deputy.MailResetPassword, "cc")
	for _, c := range []*deputy.MailedCode{first, second, other} {
		w.insert(func(t deputy.Tx) error { return t.MailedCodes().Insert(w.ctx, c) })
	}
	_, err := w.MailedCodes().Find(w.ctx, w.in, "link", "aa")
	w.is(err, deputy.NotFound)
	w.same(second, sure(w.MailedCodes().Find(w.ctx, w.in, "link", "bb")))
	w.same(other, sure(w.MailedCodes().Get(w.ctx, w.in, other.ID)))
}

func passkeyNames(w *world) {
	ada, bob := w.user("ada"), w.user("bob")
	mine, another, his := w.passkey(ada, "AQID"), w.passkey(ada, "BBBB"), w.passkey(bob, "CCCC")
	for _, k := range []*deputy.Passkey{mine, another, his} {
		w.insert(func(t deputy.Tx) error { return t.Passkeys().Insert(w.ctx, k) })
	}
	w.same(mine, sure(w.Passkeys().Find(w.ctx, w.in, "credential_id", "AQID")))
	w.blames(w.write(func(t deputy.Tx) error { return t.Passkeys().Insert(w.ctx, w.passkey(bob, "AQID")) }), deputy.Conflict, "credential_id")
	if page := sure(w.Passkeys().List(w.ctx, w.below(deputy.ID(ada.ID)), deputy.Query{})); len(page.Items) != 2 {
		w.Errorf("ada has %d passkeys", len(page.Items))
	}
}

func forgottenSignIn(w *world) {
	u := w.user("ada")
	w.insert(
		func(t deputy.Tx) error { return t.Users().Insert(w.ctx, u) },
		func(t deputy.Tx) error { return t.Passwords().Insert(w.ctx, w.password(u, "ada@example.com")) },
		func(t deputy.Tx) error { return t.MailedCodes().Insert(w.ctx, w.code(u, deputy.MailVerifyEmail, "aa")) },
		func(t deputy.Tx) error { return t.Passkeys().Insert(w.ctx, w.passkey(u, "AQID")) },
	)
	w.must(w.write(func(t deputy.Tx) error { return t.Users().Delete(w.ctx, w.in, deputy.ID(u.ID)) }))
	_, err := w.Passwords().Find(w.ctx, w.in, "email", "ada@example.com")
	w.is(err, deputy.NotFound)
	_, err = w.MailedCodes().Find(w.ctx, w.in, "link", "aa")
	w.is(err, deputy.NotFound)
	_, err = w.Passkeys().Find(w.ctx, w.in, "credential_id", "AQID")
	w.is(err, deputy.NotFound)
}
