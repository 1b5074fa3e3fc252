package storetest

import (
	"time"

	"deputy/internal/deputy"
)

var organizations = map[string]func(*world){
	"organization users":                         organizationUsers,
	"a person is found in every organization":    accountsOf,
	"lists of what a person is in":               related,
	"zone members":                               zoneMembers,
	"invitations":                                invitations,
	"accepting an invitation":                    accept,
	"identities are users and who is invited":    identities,
	"an organization has at most one connection": connections,
	"a user who is gone is forgotten":            forgottenManager,
	"a mail comes with the task that sends it":   mails,
}

func (w *world) organizationUser(email string) *deputy.OrganizationUser {
	now, id := w.tick(), w.newID()
	return &deputy.OrganizationUser{
		OrganizationID: w.org.ID, ID: id, Email: email, Role: deputy.OrganizationMember, Status: deputy.UserActive,
		Subject: string(id), KeyID: "key", CreatedAt: now, UpdatedAt: now,
	}
}

// dataKey makes the key of somebody.
func (w *world) dataKey(owner deputy.ID) deputy.ID {
	w.Helper()
	k := deputy.DataKey{ID: w.newID(), OwnerID: owner, Wrapped: []byte{1}, CreatedAt: w.tick()}
	w.insert(func(t deputy.Tx) error { return t.InsertDataKey(w.ctx, k) })
	return k.ID
}

// forgottenManager: the key goes with the user, and what they sign in with when
// they are a user nowhere else.
func forgottenManager(w *world) {
	ann := w.organizationUser("ann@example.com")
	ann.KeyID = w.dataKey(ann.ID)
	elsewhere := *ann
	elsewhere.OrganizationID, elsewhere.KeyID = deputy.OrganizationID(w.newID()), w.dataKey(ann.ID)
	bob := w.organizationUser("bob@example.com")
	bob.KeyID = w.dataKey("somebody else")
	for _, u := range []*deputy.OrganizationUser{ann, &elsewhere, bob} {
		w.must(w.insertUser(u))
	}
	p := &deputy.Password{UserID: deputy.UserID(ann.ID), Email: ann.Email, Hash: "hash", ChangedAt: w.tick(), CreatedAt: w.tick()}
	w.insert(func(t deputy.Tx) error { return t.Passwords().Insert(w.ctx, p) })
	for _, c := range []struct {
		user                 *deputy.OrganizationUser
		keyThere, passwordIn bool
	}{{ann, false, true}, {&elsewhere, false, false}, {bob, true, false}} {
		in := deputy.Scope{Organization: c.user.OrganizationID}
		w.must(w.write(func(t deputy.Tx) error { return t.OrganizationUsers().Delete(w.ctx, in, c.user.ID) }))
		if _, err := w.DataKey(w.ctx, c.user.KeyID); (err == nil) != c.keyThere {
			w.Errorf("the key of %s: %v", c.user.Email, err)
		}
		if _, err := w.Passwords().Get(w.ctx, deputy.Scope{}, ann.ID); (err == nil) != c.passwordIn {
			w.Errorf("the password after %s has gone: %v", c.user.Email, err)
		}
	}
}

func (w *world) zoneMember(u *deputy.OrganizationUser) *deputy.ZoneMember {
	now := w.tick()
	return &deputy.ZoneMember{
		ID: w.newID(), OrganizationID: w.org.ID, ZoneID: w.zone.ID, UserID: u.ID, Role: deputy.ZoneViewer, CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) invitation(email string, token deputy.Secret) *deputy.Invitation {
	now := w.tick()
	return &deputy.Invitation{
		ID: w.newID(), OrganizationID: w.org.ID, Email: email, Role: deputy.OrganizationViewer, Status: deputy.InvitationPending,
		TokenHash: deputy.HashSecret(token), CreatedBy: "me", CreatedByName: "Me", ExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now,
	}
}

// insertUser adds an organization user.
func (w *world) insertUser(u *deputy.OrganizationUser) error {
	return w.write(func(t deputy.Tx) error { return t.OrganizationUsers().Insert(w.ctx, u) })
}

func organizationUsers(w *world) {
	u := w.organizationUser("Ann@example.com")
	u.Source, u.Subject, u.Status = "https://idp.example.com", "a subject", deputy.UserDisabled
	trip(w, asInserts(deputy.Tx.OrganizationUsers), w.OrganizationUsers(), w.owned(), u.ID, u)
	w.same(u, sure(w.OrganizationUsers().Find(w.ctx, w.owned(), "identity", u.Identity())))
	w.same(u, sure(w.OrganizationUsers().Find(w.ctx, w.owned(), "email", "ANN@example.COM")))
	twin := w.organizationUser("aNN@EXAMPLE.com")
	w.blames(w.insertUser(twin), deputy.Conflict, "email")
	twin.Email, twin.Source, twin.Subject = "bob@example.com", u.Source, u.Subject
	w.blames(w.insertUser(twin), deputy.Conflict, "identity")
	twin.Subject = "A subject" // letter case counts
	w.must(w.insertUser(twin))
	_, err := w.OrganizationUsers().Get(w.ctx, deputy.Scope{Organization: "somebody"}, u.ID)
	w.is(err, deputy.NotFound)
	p := sure(w.OrganizationUsers().List(w.ctx, w.owned(), deputy.Query{}))
	w.same([]*deputy.OrganizationUser{twin, u}, p.Items)

	m := w.zoneMember(u)
	w.insert(func(t deputy.Tx) error { return t.ZoneMembers().Insert(w.ctx, m) })
	w.must(w.write(func(t deputy.Tx) error { return t.OrganizationUsers().Delete(w.ctx, w.owned(), u.ID) }))
	_, err = w.ZoneMembers().Get(w.ctx, w.in, u.ID)
	w.is(err, deputy.NotFound)
}

func accountsOf(w *world) {
	here := w.organizationUser("ann@example.com")
	w.must(w.insertUser(here))
	other := w.organization("Other")
	w.insert(func(t deputy.Tx) error { return t.Organizations().Insert(w.ctx, other) })
	there := *here
	there.OrganizationID, there.Email, there.Revision, there.CreatedAt = other.ID, "ANN@example.com", 0, w.tick()
	w.must(w.insertUser(&there))
	w.must(w.insertUser(w.organizationUser("bob@example.com")))
	both := []*deputy.OrganizationUser{here, &there}
	for field, value := range map[string]string{"id": string(here.ID), "email": "Ann@Example.com", "identity": here.Identity()} {
		w.same(both, sure(w.AccountsOf(w.ctx, field, value)))
		none := sure(w.AccountsOf(w.ctx, field, "nobody"))
		w.same(0, len(none))
	}
	w.must(w.write(func(t deputy.Tx) error {
		w.same(both, sure(t.AccountsOf(w.ctx, "id", string(here.ID))))
		return nil
	}))
	if _, err := w.AccountsOf(w.ctx, "role", "x"); err == nil {
		w.Error("memberships by role")
	}
}

func related(w *world) {
	u := w.organizationUser("ann@example.com")
	w.must(w.insertUser(u))
	other, second := w.organization("Other"), w.newZone("Second")
	w.insert(
		func(t deputy.Tx) error { return t.Organizations().Insert(w.ctx, other) },
		func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, second) },
		func(t deputy.Tx) error { return t.ZoneMembers().Insert(w.ctx, w.zoneMember(u)) },
	)
	mine := deputy.Query{Count: true, Where: []deputy.Filter{{Fields: []string{"user"}, Values: []string{string(u.ID)}}}}
	p := sure(w.Organizations().List(w.ctx, deputy.Scope{}, mine))
	if len(p.Items) != 1 || p.Items[0].ID != w.org.ID || *p.Total != 1 {
		w.Errorf("organizations: %+v", p)
	}
	zones := deputy.Query{Where: []deputy.Filter{{Fields: []string{"member"}, Values: []string{string(u.ID)}}}}
	z := sure(w.Zones().List(w.ctx, w.owned(), zones))
	if len(z.Items) != 1 || z.Items[0].ID != w.zone.ID {
		w.Errorf("zones: %+v", z)
	}
	zones.Where[0].Values = []string{"nobody"}
	w.same(0, len(sure(w.Zones().List(w.ctx, w.owned(), zones)).Items))
	w.same(map[deputy.ZoneID]deputy.ZoneRole{w.zone.ID: deputy.ZoneViewer}, sure(w.ZoneRoles(w.ctx, w.org.ID, u.ID)))
	w.same(0, len(sure(w.ZoneRoles(w.ctx, other.ID, u.ID))))
	w.must(w.write(func(t deputy.Tx) error {
		_, err := t.OrganizationUsers().Update(w.ctx, w.owned(), u.ID, func(u *deputy.OrganizationUser) error { u.Status = deputy.UserDisabled; return nil })
		return err
	}))
	w.same(0, len(sure(w.Organizations().List(w.ctx, deputy.Scope{}, mine)).Items))
}

func zoneMembers(w *world) {
	u := w.organizationUser("ann@example.com")
	w.must(w.insertUser(u))
	m := w.zoneMember(u)
	trip(w, asInserts(deputy.Tx.ZoneMembers), w.ZoneMembers(), w.in, u.ID, m)
	w.blames(w.write(func(t deputy.Tx) error { return t.ZoneMembers().Insert(w.ctx, w.zoneMember(u)) }), deputy.Conflict, "organization_user_id")
	got, err := (*deputy.ZoneMember)(nil), error(nil)
	w.must(w.write(func(t deputy.Tx) error {
		got, err = t.ZoneMembers().Update(w.ctx, w.in, u.ID, func(m *deputy.ZoneMember) error { m.Role = deputy.ZoneManager; return nil })
		return err
	}))
	if got.Role != deputy.ZoneManager || got.Revision != 2 {
		w.Errorf("changed: %+v", got)
	}
	for role, want := range map[deputy.ZoneRole]int{deputy.ZoneManager: 1, deputy.ZoneViewer: 0} {
		p := sure(w.ZoneMembers().List(w.ctx, w.in, deputy.Query{Where: []deputy.Filter{{Fields: []string{"role"}, Values: []string{string(role)}}}}))
		w.same(want, len(p.Items))
	}
	w.must(w.write(func(t deputy.Tx) error { return t.ZoneMembers().Delete(w.ctx, w.in, u.ID) }))
	w.is(w.write(func(t deputy.Tx) error { return t.ZoneMembers().Delete(w.ctx, w.in, u.ID) }), deputy.NotFound)
}

func invitations(w *world) {
	token := deputy.NewSecret()
	i := w.invitation("Ann@example.com", token)
	i.UserID = ref(deputy.ID("u"))
	trip(w, asInserts(deputy.Tx.Invitations), w.Invitations(), w.owned(), i.ID, i)
	got, organization, err := w.Invitation(w.ctx, deputy.HashSecret(token))
	w.must(err)
	w.same(i, got)
	w.same(w.org, organization)
	_, _, err = w.Invitation(w.ctx, deputy.HashSecret(deputy.NewSecret()))
	w.is(err, deputy.NotFound)

	invite := func(email string) error {
		again := w.invitation(email, deputy.NewSecret())
		return w.write(func(t deputy.Tx) error { return t.Invitations().Insert(w.ctx, again) })
	}
	w.blames(invite("aNN@example.com"), deputy.Conflict, "email")
	w.must(invite("bob@example.com"))
	w.clock.advance(time.Hour)
	w.must(invite("aNN@example.com")) // the first has expired
	i = sure(w.Invitations().Get(w.ctx, w.owned(), i.ID))
	w.same(deputy.InvitationExpired, i.Status)
	w.blames(invite("ann@example.com"), deputy.Conflict, "email")
}

func accept(w *world) {
	token := deputy.NewSecret()
	i := w.invitation("Ann@example.com", token)
	w.insert(func(t deputy.Tx) error { return t.Invitations().Insert(w.ctx, i) })
	join := func(token deputy.Secret, who *deputy.OrganizationUser) (o *deputy.Organization, err error) {
		err = w.write(func(t deputy.Tx) error {
			o, err = deputy.Accept(w.ctx, t, token, who)
			return err
		})
		return o, err
	}
	_, err := join(deputy.NewSecret(), w.organizationUser("ann@example.com"))
	w.is(err, deputy.NotFound)
	_, err = join(token, w.organizationUser("bob@example.com"))
	w.is(err, deputy.Denied)
	ann := w.organizationUser("ann@example.com")
	w.same(w.org, sure(join(token, ann)))
	w.same(deputy.OrganizationViewer, sure(w.OrganizationUsers().Get(w.ctx, w.owned(), ann.ID)).Role)
	used := sure(w.Invitations().Get(w.ctx, w.owned(), i.ID))
	if used.Status != deputy.InvitationAccepted || used.UserID == nil || *used.UserID != ann.ID {
		w.Errorf("the invitation is %+v", used)
	}
	_, err = join(token, w.organizationUser("ann@example.com"))
	w.is(err, deputy.Conflict)

	late := deputy.NewSecret()
	w.insert(func(t deputy.Tx) error { return t.Invitations().Insert(w.ctx, w.invitation("bob@example.com", late)) })
	w.clock.advance(time.Hour)
	_, err = join(late, w.organizationUser("bob@example.com"))
	w.is(err, deputy.Conflict)
}

func identities(w *world) {
	ann, invited, joined := w.organizationUser("ann@example.com"), w.invitation("Bob@example.com", deputy.NewSecret()), w.invitation("ANN@example.com", deputy.NewSecret())
	ann.Role = deputy.OrganizationAdmin
	w.must(w.insertUser(ann))
	w.insert(
		func(t deputy.Tx) error { return t.Invitations().Insert(w.ctx, invited) },
		func(t deputy.Tx) error { return t.Invitations().Insert(w.ctx, joined) },
	)
	p := sure(w.OrganizationIdentities().List(w.ctx, w.owned(), deputy.Query{Count: true}))
	w.same(2, *p.Total)
	w.same([]*deputy.OrganizationIdentity{
		{
			OrganizationID: w.org.ID, ID: invited.ID, Type: deputy.InvitationIdentity, Email: "Bob@example.com", Role: deputy.OrganizationViewer,
			Status: "pending", ExpiresAt: invited.ExpiresAt, CreatedAt: invited.CreatedAt, UpdatedAt: invited.UpdatedAt,
		}, {
			OrganizationID: w.org.ID, ID: ann.ID, Type: deputy.UserIdentity, Email: "ann@example.com", Role: deputy.OrganizationAdmin,
			Status: "active", ExpiresAt: ann.CreatedAt, CreatedAt: ann.CreatedAt, UpdatedAt: ann.UpdatedAt,
		},
	}, p.Items)
	first := sure(w.OrganizationIdentities().List(w.ctx, w.owned(), deputy.Query{Limit: 1}))
	second := sure(w.OrganizationIdentities().List(w.ctx, w.owned(), deputy.Query{Limit: 1, After: first.Last}))
	w.same([]*deputy.OrganizationIdentity{p.Items[0], p.Items[1]}, append(first.Items, second.Items...))
	for text, want := range map[string]int{"bOb@": 1, "EXAMPLE": 2, "carol": 0} {
		found := sure(w.OrganizationIdentities().List(w.ctx, w.owned(), deputy.Query{Where: []deputy.Filter{
			{Fields: []string{"email"}, Op: deputy.Contains, Values: []string{text}},
		}}))
		w.same(want, len(found.Items))
	}
}

func connections(w *world) {
	now := w.tick()
	c := &deputy.SSOConnection{
		ID: w.newID(), OrganizationID: w.org.ID, Identifier: "https://idp.example.com", ClientID: ref("client"), SealedSecret: []byte{1, 0},
		OAuth2: &deputy.ProviderOAuth2{TokenEndpoint: ref("https://idp.example.com/token")}, OpenID: &deputy.ProviderOpenID{},
		HasProtocols: true, CreatedAt: now, UpdatedAt: now,
	}
	id := deputy.ID(w.org.ID)
	if sure(w.Organizations().Get(w.ctx, deputy.Scope{}, id)).SSOEnabled {
		w.Error("enabled without a connection")
	}
	trip(w, asInserts(deputy.Tx.SSOConnections), w.SSOConnections(), w.owned(), id, c)
	if !sure(w.Organizations().Get(w.ctx, deputy.Scope{}, id)).SSOEnabled {
		w.Error("not enabled with a connection")
	}
	again := *c
	again.ID = w.newID()
	w.is(w.write(func(t deputy.Tx) error { return t.SSOConnections().Insert(w.ctx, &again) }), deputy.Conflict)
	w.must(w.write(func(t deputy.Tx) error { return t.SSOConnections().Delete(w.ctx, w.owned(), id) }))
	w.is(w.write(func(t deputy.Tx) error { return t.SSOConnections().Delete(w.ctx, w.owned(), id) }), deputy.NotFound)
}

func mails(w *world) {
	m := &deputy.Mail{ID: w.newID(), OrganizationID: w.org.ID, ZoneID: w.zone.ID, Purpose: deputy.MailInvitation, Sealed: []byte{2, 0}, CreatedAt: w.tick()}
	trip(w, asInserts(deputy.Tx.Mails), w.Mails(), w.owned(), m.ID, m)
	tasks := sure(w.ClaimTasks(w.ctx, []string{deputy.TaskSendMail}, 10, time.Minute))
	if len(tasks) != 1 || string(tasks[0].Data) != `{"organization_id":"`+string(w.org.ID)+`","id":"`+string(m.ID)+`"}` {
		w.Errorf("tasks: %+v", tasks)
	}
	w.must(w.write(func(t deputy.Tx) error { return t.Mails().Delete(w.ctx, w.owned(), m.ID) }))
	_, err := w.Mails().Get(w.ctx, w.owned(), m.ID)
	w.is(err, deputy.NotFound)
}
