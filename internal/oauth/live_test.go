package oauth_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/oauth"
)

// off is a way in which one part can be turned off, and the refusal that the
// very next request gets.
type off struct {
	turn   func(*stage)
	status int
	code   string
}

// stage is everything that every use rests on, in force.
type stage struct {
	*relay
	person  *person
	account *account
	browser *browser
	vaulted *vaulted

	provider *deputy.Provider // outside, which guards files
	files    *deputy.Resource
	grant    *deputy.Grant // the person's, for files

	clientID, refresh string // of a client that the person has signed in to
	codes             []string
	agentID           deputy.ID

	key      *outsideKey // of the server, where it has one
	roots    *x509.CertPool
	fetching map[*oauth.Server]bool // that trust these
	outside  *platform

	personToken, bearer string
	stream              string
	permitted           bool // a policy permits impersonation

	user       *deputy.OrganizationUser // of the account's organization
	userBearer string
	invitation *deputy.Invitation
	invited    deputy.Secret // its token
}

func newStage(t testing.TB) *stage { return newStageIn(newWorld(t)) }

func newStageIn(w *world) *stage {
	s := &stage{relay: newRelayIn(w)}
	s.depend(s.server, s.api)
	s.person = s.newPerson("zoe@example.test")
	s.change(s.server, func(a *deputy.Application) { a.RedirectURIs = []string{callback} })
	s.vaulted = s.newVaulted("urn:vaulted", map[string]string{"type": "token", "token": "kept"})
	s.depend(s.server, s.vaulted.Resource)
	s.account = s.newAccount()
	s.user = s.newOrganizationUser(s.account.organization, "ann@example.test")
	s.invited = deputy.NewSecret()
	s.invitation = &deputy.Invitation{
		ID: s.id(), OrganizationID: s.account.organization.ID, Email: "bob@example.test", Role: deputy.OrganizationMember,
		Status: deputy.InvitationPending, TokenHash: deputy.HashSecret(s.invited),
		ExpiresAt: noon.Add(deputy.InvitationLifetime), CreatedAt: noon, UpdatedAt: noon,
	}
	s.write("", func(ctx context.Context, tx deputy.Tx) error { return tx.Invitations().Insert(ctx, s.invitation) })
	return s
}

// kind returns an answer of a call that is not HTTP.
func kind(status map[deputy.Kind]int, err error) *answer {
	if err == nil {
		return &answer{status: http.StatusOK}
	}
	k := deputy.KindOf(err)
	return &answer{status: status[k], json: map[string]any{"error": string(k)}}
}

// authenticate shows a bearer.
func (s *stage) authenticate(bearer string) *answer {
	_, err := s.world.server.Authenticate(context.Background(), bearer, "192.0.2.9")
	return kind(map[deputy.Kind]int{deputy.Unauthenticated: 401}, err)
}

// accept accepts the invitation, and takes it back.
func (s *stage) accept() error {
	back, now := errors.New("taken back"), s.clock.Now()
	bob := &deputy.OrganizationUser{ID: s.id(), Email: s.invitation.Email, Subject: "bob", CreatedAt: now, UpdatedAt: now}
	err := s.store.Write(context.Background(), &deputy.Event{
		ID: deputy.EventID(s.id()), Time: now, Type: "invitations:accept", OrganizationID: s.account.organization.ID,
	}, func(tx deputy.Tx) error {
		if _, err := deputy.Accept(context.Background(), tx, s.invited, bob); err != nil {
			return err
		}
		return back
	})
	if err == back {
		return nil
	}
	return err
}

// uses sends a request of each use; true means that it was allowed. A use
// without one here is not served by this package.
var uses = map[deputy.Use]func(*stage) *answer{
	deputy.UseClientCredentials:   func(s *stage) *answer { return s.credentialsFor(s.server, s.api.Identifier) },
	deputy.UseExchangeApplication: func(s *stage) *answer { return s.exchange(s.server, s.token, s.api.Identifier) },
	deputy.UseExchangeUser:        func(s *stage) *answer { return s.exchange(s.server, s.tokenOfPerson(), s.api.Identifier) },
	deputy.UseServiceToken:        func(s *stage) *answer { return s.serviceToken(s.account) },
	deputy.UseManagement: func(s *stage) *answer {
		if s.bearer == "" {
			s.bearer = s.serviceToken(s.account).text("access_token")
		}
		return s.authenticate(s.bearer)
	},
	deputy.UseUserManagement: func(s *stage) *answer {
		if s.userBearer == "" {
			s.userBearer = s.bearerOf(s.user)
		}
		return s.authenticate(s.userBearer)
	},
	deputy.UseUserToken: func(s *stage) *answer {
		_, err := s.issueBearer(s.user)
		return kind(map[deputy.Kind]int{deputy.NotFound: 404, deputy.Denied: 403, deputy.Unavailable: 503}, err)
	},
	deputy.UseInvitation: func(s *stage) *answer {
		return kind(map[deputy.Kind]int{deputy.NotFound: 404, deputy.Conflict: 409}, s.accept())
	},
	deputy.UseAuthorizeAgent: func(s *stage) *answer {
		s.meet(true, 0)
		return s.ask("prompt", "none").answer()
	},
	deputy.UseToken:            func(s *stage) *answer { return s.introspect(s.server, s.tokenOfPerson()) },
	deputy.UseApplicationToken: func(s *stage) *answer { return s.introspect(s.server, s.token) },
	deputy.UseImpersonation: func(s *stage) *answer {
		s.permitImpersonation()
		return s.impersonate(s.server, s.person.Identifier, s.api.Identifier)
	},
	deputy.UseImpersonatedToken: func(s *stage) *answer {
		return s.introspect(s.server, s.impersonated())
	},
	deputy.UseExchangeImpersonated: func(s *stage) *answer { return s.exchange(s.server, s.impersonated(), s.api.Identifier) },
	deputy.UseCode:                 func(s *stage) *answer { s.meet(false, 4); return s.redeem() },
	deputy.UseCodeAgent:            func(s *stage) *answer { s.meet(true, 4); return s.redeem() },
	deputy.UseRefresh:              func(s *stage) *answer { s.meet(false, 1); return s.refreshAgain() },
	deputy.UseRefreshAgent:         func(s *stage) *answer { s.meet(true, 1); return s.refreshAgain() },
	deputy.UseSecret:               func(s *stage) *answer { return s.credentialsFor(s.server, "urn:vaulted") },
	deputy.UseGrant: func(s *stage) *answer {
		s.broker()
		return s.exchange(s.server, s.userToken(s.person, s.agent.credential.Identifier, s.front.Identifier), s.files.Identifier)
	},
	deputy.UseWebSession: func(s *stage) *answer { return s.silently(s.front) },
	deputy.UseSignals: func(s *stage) *answer {
		s.listen(s.server)
		if s.stream == "" {
			s.stream = s.must(s.signals("POST", "/ssf/streams", `{"events_requested":[]}`), 201, "").text("stream_id")
		}
		if a := s.signals("POST", "/ssf/verify", `{"stream_id":"`+s.stream+`"}`); a.status != 204 && a.status != 429 { // a moment ago
			return a
		}
		if a := s.signals("GET", "/ssf/status?stream_id="+s.stream, ""); a.status != 200 {
			return a
		}
		return s.signals("POST", "/ssf/poll?stream_id="+s.stream, `{}`)
	},
	deputy.UseAuthorize: func(s *stage) *answer { return s.silently(s.api) },
	deputy.UseSignIn: func(s *stage) *answer {
		b := s.newBrowser()
		p := b.open(asking(s.server.credential.Identifier))
		if len(b.cookies) > 0 {
			p = b.act("sign in", s.person.User)
		}
		return p.answer()
	},
}

// broker makes a resource that an outside provider guards, and the person's
// grant for it.
func (s *stage) broker() {
	if s.files == nil {
		s.provider = s.newExternal()
		s.files = s.newGuarded("https://files.test", s.provider)
		s.depend(s.server, s.files)
		s.grant = s.newGrant(s.person.User, s.files)
	}
}

// impersonated returns a token for the front resource with which the agent acts
// for the person.
func (s *stage) impersonated() string {
	s.permitImpersonation()
	if s.bearer == "" {
		s.bearer = s.impersonate(s.agent, s.person.Identifier, s.front.Identifier).text("access_token")
	}
	return s.bearer
}

// permitImpersonation has a policy of the zone permit what the managed ones do
// not.
func (s *stage) permitImpersonation() {
	if !s.permitted {
		s.activateText("permit (principal, action, resource);")
	}
	s.permitted = true
}

// silently asks for a code without a page being shown, from a browser that is
// signed in.
func (s *stage) silently(r *deputy.Resource) *answer {
	if s.browser == nil {
		s.browser = s.newBrowser()
		s.browser.open(asking(s.server.credential.Identifier))
		s.browser.act("sign in", s.person.User)
		s.person.web = s.newestSession(s.person)
		s.person.child = s.person.web
	}
	return s.browser.open(asking(s.server.credential.Identifier, "prompt", "none", "resource", r.Identifier)).answer()
}

// meet signs the person in to the client, or to a user agent, once, and gets
// codes for the API's resource.
func (s *stage) meet(agent bool, codes int) {
	if s.browser != nil {
		return
	}
	s.browser, s.clientID = s.newBrowser(), s.server.credential.Identifier
	if agent {
		s.clientID, s.server = s.registerAgent(), nil
	}
	s.ask()
	if p := s.browser.act("sign in", s.person.User); p.query("code") == "" {
		s.browser.answered(s.browser.act("approve", nil))
	}
	for range codes {
		s.codes = append(s.codes, s.browser.answered(s.ask()))
	}
	s.person.web = s.newestSession(s.person)
	s.person.child = s.person.web
	if agent {
		page, err := s.store.UserAgents().List(context.Background(), s.in(), deputy.Query{})
		if err != nil || len(page.Items) != 1 {
			s.Fatal(page, err)
		}
		s.agentID = page.Items[0].ID
	}
}

func (s *stage) ask(more ...string) *page {
	return s.browser.open(asking(s.clientID, append(more, "resource", s.api.Identifier)...))
}

// asClient sends a token request as the client or the user agent.
func (s *stage) asClient(pairs ...string) *answer {
	if s.server == nil {
		pairs = append(pairs, "client_id", s.clientID)
	}
	return s.post(s.server, form(pairs...))
}

// redeem redeems one of the codes, which is used up only by that.
func (s *stage) redeem() *answer {
	a := s.asClient("grant_type", "authorization_code", "code", s.codes[0], "redirect_uri", callback, "code_verifier", verifier)
	if a.status == 200 {
		s.codes = s.codes[1:]
	}
	return a
}

// refreshAgain refreshes, after having redeemed a code if need be.
func (s *stage) refreshAgain(more ...string) *answer {
	if s.refresh == "" {
		s.refresh = s.must(s.redeem(), 200, "").text("refresh_token")
		s.person.child = s.newest(func(x *deputy.Session) bool { return x.ParentID != nil && *x.ParentID == s.person.web.ID })
	}
	a := s.asClient(append(more, "grant_type", "refresh_token", "refresh_token", s.refresh)...)
	if a.status == 200 {
		s.refresh = a.text("refresh_token")
	}
	return a
}

// answer returns what the client learns from where its person is sent.
func (p *page) answer() *answer {
	a := &answer{status: p.status, header: p.header, body: p.body, json: map[string]any{}}
	if p.query("code") != "" {
		a.status = 200
	} else if code := p.query("error"); code != "" {
		a.json["error"] = code
	} else if _, after, ok := strings.Cut(p.body, "<code>"); ok {
		a.json["error"], _, _ = strings.Cut(after, "</code>")
	} else if strings.HasPrefix(p.body, "{") {
		_ = json.Unmarshal([]byte(p.body), &a.json)
	}
	return a
}

// introspect asks about a token; an inactive one is told as a refusal.
func (w *world) introspect(a *app, token string) *answer {
	w.Helper()
	got := w.postTo("/oauth/2/introspect", a, form("token", token))
	if got.status == 200 && got.json["active"] != true {
		return &answer{status: 400, json: map[string]any{"error": "inactive"}}
	}
	return got
}

// newestSession returns the web session of a person that began last.
func (w *world) newestSession(p *person) *deputy.Session {
	w.Helper()
	return w.newest(func(x *deputy.Session) bool { return x.UserID != nil && *x.UserID == p.User.ID && x.ParentID == nil })
}

// newest returns the newest session that is as wanted.
func (w *world) newest(wanted func(*deputy.Session) bool) *deputy.Session {
	w.Helper()
	page, err := w.store.Sessions().List(context.Background(), w.in(), deputy.Query{})
	if err != nil {
		w.Fatal(err)
	}
	for _, x := range page.Items {
		if wanted(x) {
			return x
		}
	}
	w.Fatal("there is no session")
	return nil
}

// elsewhere lists the outcomes that are others where people sign in: a client
// that is gone cannot be told, and who is signed out is asked to sign in. Where
// a use rests on something of another kind, it says how that is turned off.
var elsewhere = map[deputy.Use]map[deputy.Part]off{
	deputy.UseSignIn: {deputy.PartUser: {status: 303, code: "access_denied"}},
	deputy.UseWebSession: {
		deputy.PartUser:    {status: 302, code: "login_required"},
		deputy.PartSession: {status: 302, code: "login_required"},
	},
	deputy.UseAuthorize: {
		deputy.PartApplication: {status: 400, code: "invalid_client"},
		deputy.PartCredential:  {status: 400, code: "invalid_client"},
		deputy.PartUser:        {status: 302, code: "login_required"},
		deputy.PartSession:     {status: 302, code: "login_required"},
		deputy.PartResource:    {status: 302, code: "invalid_target"},
		deputy.PartProvider:    {status: 302, code: "invalid_target"},
	},
	deputy.UseImpersonatedToken: {
		deputy.PartUser:        {status: 400, code: "inactive"},
		deputy.PartTokenClient: {status: 400, code: "inactive"},
	},
	deputy.UseApplicationToken: {deputy.PartSubject: {status: 400, code: "inactive"}},
	deputy.UseToken: {
		deputy.PartUser:        {status: 400, code: "inactive"},
		deputy.PartSession:     {status: 400, code: "inactive"},
		deputy.PartTokenClient: {status: 400, code: "inactive"},
	},
	deputy.UseAuthorizeAgent: {
		deputy.PartUserAgent: {status: 400, code: "invalid_client"},
		deputy.PartUser:      {status: 302, code: "login_required"},
		deputy.PartSession:   {status: 302, code: "login_required"},
		deputy.PartResource:  {status: 302, code: "invalid_target"},
		deputy.PartProvider:  {status: 302, code: "invalid_target"},
	},
	deputy.UseSecret: {
		deputy.PartResource: {turn: func(s *stage) { s.vaulted.delete(s.world) }, status: 400, code: "invalid_target"},
		deputy.PartProvider: {turn: remove(deputy.Tx.Providers, func(s *stage) deputy.ID { return deputy.ID(s.world.vaulted.ID) }), status: 400, code: "invalid_target"},
	},
	deputy.UseGrant: {
		deputy.PartResource: {turn: remove(deputy.Tx.Resources, func(s *stage) deputy.ID { return deputy.ID(s.files.ID) }), status: 400, code: "invalid_target"},
		deputy.PartProvider: {turn: remove(deputy.Tx.Providers, func(s *stage) deputy.ID { return deputy.ID(s.provider.ID) }), status: 400, code: "invalid_target"},
	},
	deputy.UseManagement: {
		deputy.PartOrganization:      {status: 401, code: "unauthenticated"},
		deputy.PartServiceAccount:    {status: 401, code: "unauthenticated"},
		deputy.PartServiceCredential: {status: 401, code: "unauthenticated"},
	},
	deputy.UseUserManagement: {
		deputy.PartOrganization:     {status: 401, code: "unauthenticated"},
		deputy.PartOrganizationUser: {status: 401, code: "unauthenticated"},
	},
	deputy.UseUserToken: {
		deputy.PartOrganization: {status: 404, code: "not found"},
		deputy.PartKey:          {status: 503, code: "unavailable"},
	},
	deputy.UseInvitation: {deputy.PartOrganization: {status: 404, code: "not found"}},
	deputy.UseSignals:    {deputy.PartApplication: {status: 401, code: "invalid_token"}},
}

// remove deletes an entity of the zone.
func remove[T any](in func(deputy.Tx) deputy.Writes[T], id func(*stage) deputy.ID) func(*stage) {
	return func(s *stage) {
		s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return in(tx).Delete(ctx, s.in(), id(s)) })
	}
}

// end changes a session.
func end(which func(*stage) *deputy.Session, change func(*deputy.Session)) func(*stage) {
	return func(s *stage) { s.setSession(which(s), change) }
}

func child(s *stage) *deputy.Session { return s.person.child }
func web(s *stage) *deputy.Session   { return s.person.web }

// regrant changes the grant.
func regrant(change func(*deputy.Grant)) func(*stage) {
	return func(s *stage) {
		s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Grants().Update(ctx, s.in(), s.grant.ID, func(g *deputy.Grant) error {
				change(g)
				return nil
			})
			return err
		})
	}
}

// invite changes the invitation.
func invite(change func(*deputy.Invitation)) func(*stage) {
	return func(s *stage) {
		s.write("", func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Invitations().Update(ctx, deputy.Scope{Organization: s.invitation.OrganizationID}, s.invitation.ID, func(i *deputy.Invitation) error {
				change(i)
				return nil
			})
			return err
		})
	}
}

// ways lists, for each part, every way in which it can be turned off in the
// store.
var ways = map[deputy.Part]map[string]off{
	deputy.PartOrganization: {
		"deleted": {func(s *stage) {
			s.account.erase(s, func(ctx context.Context, tx deputy.Tx) error {
				return tx.Organizations().Delete(ctx, deputy.Scope{}, deputy.ID(s.account.organization.ID))
			})
		}, 401, "invalid_client"},
	},
	deputy.PartServiceAccount: {
		"deleted": {func(s *stage) {
			s.account.erase(s, func(ctx context.Context, tx deputy.Tx) error {
				return tx.ServiceAccounts().Delete(ctx, deputy.Scope{Organization: s.account.organization.ID}, s.account.account.ID)
			})
		}, 401, "invalid_client"},
	},
	deputy.PartServiceCredential: {
		"deleted": {func(s *stage) {
			s.account.erase(s, func(ctx context.Context, tx deputy.Tx) error {
				return tx.ServiceCredentials().Delete(ctx, deputy.Scope{Organization: s.account.organization.ID}, s.account.credential.ID)
			})
		}, 401, "invalid_client"},
	},
	deputy.PartOrganizationUser: {
		"deleted": {func(s *stage) {
			s.write("", func(ctx context.Context, tx deputy.Tx) error {
				return tx.OrganizationUsers().Delete(ctx, deputy.Scope{Organization: s.user.OrganizationID}, s.user.ID)
			})
		}, 404, "not found"},
		"disabled": {func(s *stage) {
			s.write("", func(ctx context.Context, tx deputy.Tx) error {
				_, err := tx.OrganizationUsers().Update(ctx, deputy.Scope{Organization: s.user.OrganizationID}, s.user.ID, func(u *deputy.OrganizationUser) error {
					u.Status = deputy.UserDisabled
					return nil
				})
				return err
			})
		}, 403, "denied"},
	},
	deputy.PartInvitation: {
		"deleted": {func(s *stage) {
			s.write("", func(ctx context.Context, tx deputy.Tx) error {
				return tx.Invitations().Delete(ctx, deputy.Scope{Organization: s.invitation.OrganizationID}, s.invitation.ID)
			})
		}, 404, "not found"},
		"accepted":      {invite(func(i *deputy.Invitation) { i.Status = deputy.InvitationAccepted }), 409, "conflict"},
		"expired":       {invite(func(i *deputy.Invitation) { i.Status = deputy.InvitationExpired }), 409, "conflict"},
		"revoked":       {invite(func(i *deputy.Invitation) { i.Status = deputy.InvitationRevoked }), 409, "conflict"},
		"past its time": {invite(func(i *deputy.Invitation) { i.ExpiresAt = noon }), 409, "conflict"},
	},
	deputy.PartZone: {
		"deleted": {func(s *stage) {
			s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				return tx.Zones().Delete(ctx, deputy.Scope{Organization: s.organization.ID}, deputy.ID(s.zone.ID))
			})
		}, 404, "not_found"},
	},
	deputy.PartKey: {
		"retired": {func(s *stage) { s.retireKeys(deputy.KeyRetired) }, 503, "temporarily_unavailable"},
		"next":    {func(s *stage) { s.retireKeys(deputy.KeyNext) }, 503, "temporarily_unavailable"},
	},
	deputy.PartApplication: {
		"deleted": {remove(deputy.Tx.Applications, func(s *stage) deputy.ID { return deputy.ID(s.server.ID) }), 401, "invalid_client"},
	},
	deputy.PartCredential: {
		"deleted": {remove(deputy.Tx.Credentials, func(s *stage) deputy.ID { return deputy.ID(s.server.credential.ID) }), 401, "invalid_client"},
	},
	deputy.PartResource: {
		"deleted": {remove(deputy.Tx.Resources, func(s *stage) deputy.ID { return deputy.ID(s.api.ID) }), 400, "invalid_target"},
	},
	deputy.PartProvider: {
		"deleted": {remove(deputy.Tx.Providers, func(s *stage) deputy.ID { return deputy.ID(s.sts.ID) }), 400, "invalid_target"},
	},
	deputy.PartSubject: {
		"deleted":            {remove(deputy.Tx.Applications, func(s *stage) deputy.ID { return deputy.ID(s.agent.ID) }), 400, "invalid_grant"},
		"credential deleted": {remove(deputy.Tx.Credentials, func(s *stage) deputy.ID { return deputy.ID(s.agent.credential.ID) }), 400, "invalid_grant"},
	},
	deputy.PartTokenClient: {
		"deleted":            {remove(deputy.Tx.Applications, func(s *stage) deputy.ID { return deputy.ID(s.agent.ID) }), 400, "invalid_grant"},
		"credential deleted": {remove(deputy.Tx.Credentials, func(s *stage) deputy.ID { return deputy.ID(s.agent.credential.ID) }), 400, "invalid_grant"},
	},
	deputy.PartUserAgent: {
		"deleted": {remove(deputy.Tx.UserAgents, func(s *stage) deputy.ID { return s.agentID }), 401, "invalid_client"},
	},
	deputy.PartSecret: {
		"deleted": {remove(deputy.Tx.Secrets, func(s *stage) deputy.ID { return s.vaulted.secret.ID }), 400, "invalid_target"},
	},
	deputy.PartGrant: {
		"deleted":       {remove(deputy.Tx.Grants, func(s *stage) deputy.ID { return s.grant.ID }), 400, "insufficient_authorization"},
		"revoked":       {regrant(func(g *deputy.Grant) { g.Status = deputy.Revoked }), 400, "insufficient_authorization"},
		"expired":       {regrant(func(g *deputy.Grant) { g.Status = deputy.Expired }), 400, "insufficient_authorization"},
		"past its time": {regrant(func(g *deputy.Grant) { g.ExpiresAt = noon }), 400, "insufficient_authorization"},
	},
	deputy.PartUser: {
		"deleted": {remove(deputy.Tx.Users, func(s *stage) deputy.ID { return deputy.ID(s.person.User.ID) }), 400, "invalid_grant"},
		"disabled": {func(s *stage) {
			s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				_, err := tx.Users().Update(ctx, s.in(), deputy.ID(s.person.User.ID), func(u *deputy.User) error {
					u.Status = deputy.UserDisabled
					return nil
				})
				return err
			})
		}, 400, "invalid_grant"},
	},
	deputy.PartSession: {
		"deleted":              {remove(deputy.Tx.Sessions, func(s *stage) deputy.ID { return deputy.ID(s.person.child.ID) }), 400, "invalid_grant"},
		"revoked":              {end(child, func(s *deputy.Session) { s.Status = deputy.Revoked }), 400, "invalid_grant"},
		"expired":              {end(child, func(s *deputy.Session) { s.Status = deputy.Expired }), 400, "invalid_grant"},
		"past its time":        {end(child, func(s *deputy.Session) { s.ExpiresAt = noon }), 400, "invalid_grant"},
		"parent deleted":       {remove(deputy.Tx.Sessions, func(s *stage) deputy.ID { return deputy.ID(s.person.web.ID) }), 400, "invalid_grant"},
		"parent revoked":       {end(web, func(s *deputy.Session) { s.Status = deputy.Revoked }), 400, "invalid_grant"},
		"parent expired":       {end(web, func(s *deputy.Session) { s.Status = deputy.Expired }), 400, "invalid_grant"},
		"parent past its time": {end(web, func(s *deputy.Session) { s.ExpiresAt = noon }), 400, "invalid_grant"},
	},
}

// retireKeys moves every active key of zone and platform to another state.
func (s *stage) retireKeys(to deputy.KeyState) {
	ctx := context.Background()
	for _, owner := range []deputy.ID{deputy.ID(s.zone.ID), s.platform} {
		rows, err := s.store.SigningKeys(ctx, owner)
		if err != nil {
			s.Fatal(err)
		}
		now := s.clock.Now()
		s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			for _, row := range rows {
				row.State, row.RetiredAt = to, &now
				if err := tx.UpdateSigningKey(ctx, row); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
