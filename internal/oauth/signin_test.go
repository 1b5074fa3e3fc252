package oauth_test

import (
	"context"
	"fmt"
	"html"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/mail"
	"deputy/internal/oauth"
	"deputy/internal/store"
)

var (
	formTag  = regexp.MustCompile(`(?s)<form method="post"(?: action="([^"]*)")?[^>]*>(.*?)</form>`)
	inputTag = regexp.MustCompile(`<input[^>]*>`)
	codeLine = regexp.MustCompile(`(?m)^\d{8}$`)
	linkLine = regexp.MustCompile(`(?m)^https?://\S+$`)
)

func attribute(tag, name string) string {
	m := regexp.MustCompile(name + `="([^"]*)"`).FindStringSubmatch(tag)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// fill sends the form of a page that leads to an address below the issuer, with
// what it has and with more on top. Of several the first that has a field with
// the value that more gives it is meant.
func (b *browser) fill(p *page, path string, more ...string) *page {
	b.Helper()
	for _, m := range formTag.FindAllStringSubmatch(p.body, -1) {
		if m[1] != "" && m[1] != b.base()+path {
			continue
		}
		f := url.Values{}
		for _, tag := range inputTag.FindAllString(m[2], -1) {
			f.Set(attribute(tag, "name"), attribute(tag, "value"))
		}
		meant := true
		for i := 0; i < len(more); i += 2 {
			if more[i] == "action" && f.Get("action") != more[i+1] {
				meant = false
			}
			f.Set(more[i], more[i+1])
		}
		if meant {
			return b.send(path, f)
		}
	}
	b.Fatalf("there is no form to %s on %d %s", path, p.status, p.body)
	return nil
}

// follow looks at the page that the browser is sent to, which is the zone's.
func (b *browser) follow(p *page) *page {
	b.Helper()
	if p.location == nil {
		b.Fatalf("the browser is sent nowhere: %d %s", p.status, p.body)
	}
	path, ok := strings.CutPrefix(p.location.String(), b.issuer())
	if !ok {
		b.Fatalf("the browser is sent away: %s", p.location)
	}
	return b.get(path)
}

// says fails unless a page has the status and says so.
func (b *browser) says(p *page, status int, text string) *page {
	b.Helper()
	if p.status != status || !strings.Contains(html.UnescapeString(p.body), text) {
		b.Fatalf("the page is %d %s, want %d with %q", p.status, p.body, status, text)
	}
	return p
}

// mails returns the mails that wait to be sent, oldest first, as they read.
func (w *world) mails() (all []mail.Message) {
	w.Helper()
	return w.mailsOf(w.organization)
}

// mailsOf returns those of one organization.
func (w *world) mailsOf(o *deputy.Organization) (all []mail.Message) {
	w.Helper()
	page, err := w.store.Mails().List(context.Background(), deputy.Scope{Organization: o.ID}, deputy.Query{All: true})
	if err != nil {
		w.Fatal(err)
	}
	for i := len(page.Items) - 1; i >= 0; i-- {
		m, err := mail.Open(context.Background(), w.vault, page.Items[i])
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// lastMail returns the code and the link of the newest mail.
func (w *world) lastMail() (to, code, link string) {
	w.Helper()
	w.server.Settle()
	all := w.mails()
	if len(all) == 0 {
		w.Fatal("there is no mail")
	}
	m := all[len(all)-1]
	return m.To, codeLine.FindString(m.Text), linkLine.FindString(m.Text)
}

const (
	adaMail = "ada@example.test"
	adaPass = "the analytical engine weaves"
	newPass = "algebraical patterns in brass"
)

// begin opens an authorization request of a client that asks for consent.
func (b *browser) begin(more ...string) *page {
	b.Helper()
	if b.client == nil {
		b.client = b.newWebApp("client", deputy.ImplicitConsent)
	}
	return b.at(b.open(asking(b.client.credential.Identifier, more...)), "/login")
}

// signUp makes an account and confirms its address.
func (b *browser) signUp(email, password string) *page {
	b.Helper()
	p := b.follow(b.begin())
	p = b.follow(b.at(b.fill(p, "/login", "identifier", email), "/login/signup"))
	p = b.at(b.fill(p, "/login/signup", "password", password), "/login/verify-email")
	to, code, _ := b.lastMail()
	if to != email {
		b.Fatalf("the mail is for %s", to)
	}
	return b.fill(b.follow(p), "/login/verify-email", "code", code)
}

// signIn brings address and password.
func (b *browser) signIn(email, password string) *page {
	b.Helper()
	p := b.follow(b.begin())
	p = b.follow(b.at(b.fill(p, "/login", "identifier", email), "/login/password"))
	return b.fill(p, "/login/password", "password", password)
}

// signedUp returns a browser in which Ada has signed up, and has been sent back
// to its client.
func (w *world) signedUp() *browser {
	w.Helper()
	b := w.newBrowser()
	b.withCode(b.signUp(adaMail, adaPass))
	return b
}

// withCode fails unless the browser goes back to the client with a code.
func (b *browser) withCode(p *page) *page {
	b.Helper()
	if p.location == nil || !strings.HasPrefix(p.location.String(), callback) || p.query("code") == "" {
		b.Fatalf("the browser is at %d %v %s, want the client with a code", p.status, p.location, p.body)
	}
	return p
}

func TestSignUpThenSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedUp()
	user := w.onlyUser()
	if !user.EmailVerified || user.Email != adaMail || user.Identifier != string(user.ID) || user.Issuer != nil {
		t.Errorf("the person is %+v", user)
	}
	// The browser is signed in: the next client needs no page.
	b.withCode(b.open(asking(b.client.credential.Identifier)))
	// Another one is not.
	other := w.newBrowser()
	other.client = b.client
	other.withCode(other.signIn("ADA@example.TEST", adaPass))
	for kind, n := range map[string]int{"users:create": 1, "users:login": 2, "users:verify": 1} {
		if got := len(w.events(kind)); got != n {
			t.Errorf("%d events %s, want %d", got, kind, n)
		}
	}
}

// onlyUser returns the zone's one person.
func (w *world) onlyUser() *deputy.User {
	w.Helper()
	page, err := w.store.Users().List(context.Background(), w.in(), deputy.Query{All: true})
	if err != nil || len(page.Items) != 1 {
		w.Fatalf("%d people: %v", len(page.Items), err)
	}
	return page.Items[0]
}

func TestNoCodeBeforeTheAddressIsVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	p := b.follow(b.begin())
	p = b.follow(b.fill(p, "/login", "identifier", adaMail))
	p = b.follow(b.at(b.fill(p, "/login/signup", "password", adaPass), "/login/verify-email"))
	b.says(b.fill(p, "/login/verify-email", "code", "00000000"), 400, "does not work")
	for _, way := range []string{"/login", "/login/consent", "/login/password"} {
		if q := b.get(way); q.query("code") != "" || q.status == 200 && way == "/login/consent" {
			t.Errorf("%s leads to %d %v", way, q.status, q.location)
		}
	}
	// The client asks again, in vain: the browser is where it was.
	again := b.open(asking(b.client.credential.Identifier))
	b.at(again, "/login/verify-email")
	if q := b.open(asking(b.client.credential.Identifier, "prompt", "none")); q.query("error") != "interaction_required" {
		t.Errorf("prompt=none leads to %v", q.location)
	}
}

func TestACodeIsTriedFiveTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	p := b.follow(b.begin())
	p = b.follow(b.fill(p, "/login", "identifier", adaMail))
	p = b.follow(b.fill(p, "/login/signup", "password", adaPass))
	_, code, _ := w.lastMail()
	wrong := "12345678"
	if code == wrong {
		wrong = "87654321"
	}
	for range 5 {
		b.says(b.fill(p, "/login/verify-email", "code", wrong), 400, "does not work")
	}
	b.says(b.fill(p, "/login/verify-email", "code", code), 400, "does not work")
	// A new one is not to be had at once, and then it works.
	b.says(b.fill(p, "/login/verify-email", "action", "resend"), 429, "Too many tries")
	w.clock.advance(time.Minute)
	b.says(b.fill(p, "/login/verify-email", "action", "resend"), 200, "on its way")
	_, next, _ := w.lastMail()
	b.says(b.fill(p, "/login/verify-email", "code", code), 400, "does not work")
	b.withCode(b.fill(p, "/login/verify-email", "code", next))
}

func TestACodeEndsWithItsTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	p := b.follow(b.begin())
	p = b.follow(b.fill(p, "/login", "identifier", adaMail))
	p = b.follow(b.fill(p, "/login/signup", "password", adaPass))
	_, code, _ := w.lastMail()
	for range 3 { // the transaction lives on progress
		w.clock.advance(14 * time.Minute)
		b.fill(b.get("/login"), "/login", "identifier", adaMail)
	}
	b.says(b.fill(p, "/login/verify-email", "code", code), 400, "does not work")
}

func TestAMailedLinkVerifiesAndSignsNobodyIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	p := b.follow(b.begin())
	p = b.follow(b.fill(p, "/login", "identifier", adaMail))
	b.follow(b.fill(p, "/login/signup", "password", adaPass))
	_, _, link := w.lastMail()
	reader := w.newBrowser()
	path := strings.TrimPrefix(link, w.issuer())
	q := reader.says(reader.get(path), 200, "Is "+adaMail+" yours")
	if w.onlyUser().EmailVerified {
		t.Fatal("looking at the link has verified the address")
	}
	reader.says(reader.fill(q, "/login/verify-email"), 200, "Your address is confirmed")
	if !w.onlyUser().EmailVerified || len(reader.cookies) != 0 {
		t.Errorf("verified: %v, cookies: %v", w.onlyUser().EmailVerified, reader.cookies)
	}
	reader.says(reader.fill(q, "/login/verify-email"), 400, "no longer good")
	reader.says(reader.get(path), 400, "no longer good")
	// The connection is begun once more.
	b.withCode(b.open(asking(b.client.credential.Identifier)))
}

func TestWhoeverComesFirstWithAnAddressDoesNotKeepIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	thief, ada := w.newBrowser(), w.newBrowser()
	p := thief.follow(thief.begin())
	ada.client = thief.client
	p = thief.follow(thief.fill(p, "/login", "identifier", adaMail))
	thiefAt := thief.follow(thief.fill(p, "/login/signup", "password", "what the thief has chosen"))
	// She signs up herself: what the thief began is over.
	w.clock.advance(time.Minute)
	q := ada.follow(ada.begin())
	q = ada.follow(ada.at(ada.fill(q, "/login", "identifier", adaMail), "/login/password"))
	ada.says(ada.fill(q, "/login/password", "password", adaPass), 400, "did not work")
	q = ada.get("/login/signup")
	q = ada.follow(ada.at(ada.fill(q, "/login/signup", "password", adaPass), "/login/verify-email"))
	_, code, _ := w.lastMail()
	if r := thief.fill(thiefAt, "/login/verify-email", "code", code); r.query("code") != "" || w.onlyUser().EmailVerified {
		t.Errorf("the thief is at %d %v", r.status, r.location)
	}
	ada.withCode(ada.fill(q, "/login/verify-email", "code", code))
	other := w.newBrowser()
	other.client = ada.client
	other.says(other.signIn(adaMail, "what the thief has chosen"), 400, "did not work")
}

// TestAnAccountThatNobodyOwnsEnds: whoever signs up and does not show within a day
// that the address is theirs, has no account any more. Nobody else is touched.
func TestAnAccountThatNobodyOwnsEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &interposed{Store: w.store}
	w.config.Store = store
	w.restart()
	client := w.newWebApp("client", deputy.ImplicitConsent)
	begin := func(email string) *browser {
		b := w.newBrowser()
		b.client = client
		b.follow(b.begin())
		b.at(b.fill(b.get("/login/signup"), "/login/signup", "username", email, "password", adaPass), "/login/verify-email")
		return b
	}
	left := func(want ...string) {
		t.Helper()
		if more, err := w.server.RemoveUnverified(context.Background(), 100); err != nil || more {
			t.Error(more, err)
		}
		if _, err := w.store.Sweep(context.Background(), 100); err != nil {
			t.Error(err)
		}
		var got []string
		for _, u := range w.users() {
			got = append(got, strings.TrimSuffix(u.Email, "@example.test"))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("there are %v, want %v", got, want)
		}
	}
	owner := w.newBrowser()
	owner.client = client
	owner.withCode(owner.signUp("owner@example.test", adaPass))
	begin("disabled@example.test")
	begin("again@example.test")
	begin("late@example.test")
	stranger := begin("stranger@example.test")
	for _, u := range w.users() {
		if u.Email == "disabled@example.test" {
			w.setStatus(u, deputy.UserDisabled)
		}
	}
	w.clock.advance(24*time.Hour + 30*time.Minute - time.Second)
	begin("again@example.test") // which is theirs from now on
	left("again", "disabled", "late", "owner", "stranger")
	w.clock.advance(time.Second)
	// Whoever shows it at the last moment is first.
	store.beforeWrite = func() {
		for _, u := range w.users() {
			w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				_, err := tx.Users().Update(ctx, w.in(), deputy.ID(u.ID), func(u *deputy.User) error {
					u.EmailVerified = u.EmailVerified || u.Email == "late@example.test"
					return nil
				})
				return err
			})
		}
	}
	left("again", "disabled", "late", "owner")
	told := w.events("users:delete")
	if len(told) != 1 || told[0].Target == nil || told[0].Target.ID != string(told[0].UserID) || told[0].Actor.Type != "platform" {
		t.Errorf("the log tells of %v", told)
	}
	stranger.at(stranger.open(asking(client.credential.Identifier)), "/login")
	begin("stranger@example.test")
	owner.withCode(owner.signInAgain("owner@example.test", adaPass))
}

func (w *world) users() []*deputy.User {
	w.Helper()
	page, err := w.store.Users().List(context.Background(), w.in(), deputy.Query{All: true})
	if err != nil {
		w.Fatal(err)
	}
	return page.Items
}

func TestSignUpRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedUp()
	other := w.newBrowser()
	other.client = b.client
	p := other.follow(other.begin())
	other.says(other.fill(p, "/login", "identifier", "no address"), 400, "not an e-mail address")
	q := other.get("/login/signup")
	for _, c := range []struct{ email, password, says string }{
		{adaMail, adaPass, "cannot be made"},
		{"nobody", adaPass, "not an e-mail address"},
		{"bob@example.test", "short", "too short"},
		{"bob@example.test", strings.Repeat("long ", 40), "too long"},
		{"bob@example.test", "password123", "one of the first"},
		{"charlotte@example.test", "charlotte1999", "one of the first"},
	} {
		other.says(other.fill(q, "/login/signup", "username", c.email, "password", c.password), 400, c.says)
	}
	if n := len(w.events("users:create")); n != 1 {
		t.Errorf("%d people were made", n)
	}
}

func TestSignUpByInvitation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Zones().Update(ctx, deputy.Scope{Organization: w.organization.ID}, deputy.ID(w.zone.ID), func(z *deputy.Zone) error {
			z.RequiresInvitation = true
			return nil
		})
		return err
	})
	invite := func(email string, lives time.Duration) {
		now := w.clock.Now()
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			return tx.ZoneInvitations().Insert(ctx, &deputy.ZoneInvitation{
				ZoneID: w.zone.ID, OrganizationID: w.organization.ID, ID: w.id(), Email: email, Status: deputy.InvitationPending,
				ExpiresAt: now.Add(lives), CreatedAt: now, UpdatedAt: now,
			})
		})
	}
	invite("Ada@Example.test", time.Hour)
	invite("late@example.test", time.Second)
	w.clock.advance(time.Minute)
	b := w.newBrowser()
	p := b.follow(b.begin())
	if strings.Contains(p.body, "/login/signup") {
		t.Error("the page offers to sign up")
	}
	for _, email := range []string{"bob@example.test", "late@example.test"} {
		// Like somebody who has an account, so that invitations stay a secret.
		b.at(b.fill(p, "/login", "identifier", email), "/login/password")
		q := b.get("/login/signup")
		b.says(b.fill(q, "/login/signup", "username", email, "password", adaPass), 400, "cannot be made")
	}
	b.withCode(b.signUp(adaMail, adaPass))
	page, err := w.store.ZoneInvitations().List(context.Background(), w.in(), deputy.Query{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range page.Items {
		accepted := i.Status == deputy.InvitationAccepted && i.UserID != nil && *i.UserID == w.onlyUser().ID
		if accepted != (i.Email == "Ada@Example.test") {
			t.Errorf("the invitation of %s is %s", i.Email, i.Status)
		}
	}
}

func TestAWrongPasswordSaysNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedUp()
	// Whoever is known or not sees the same page.
	pages := make([]string, 0, 2)
	for _, email := range []string{adaMail, "bob@example.test"} {
		other := w.newBrowser()
		other.client = b.client
		p := other.follow(other.begin())
		other.fill(p, "/login", "identifier", adaMail)
		p = other.get("/login/password")
		r := other.says(other.fill(p, "/login/password", "username", email, "password", "wrong and long enough"), 400, "Check the address and the password")
		pages = append(pages, regexp.MustCompile(`value="[^"]*"|data-options="[^"]*"`).ReplaceAllString(r.body, ""))
	}
	if pages[0] != pages[1] {
		t.Errorf("who is known sees another page:\n%s\n%s", pages[0], pages[1])
	}
}

func TestThrottleNeverLocksThePersonOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.newBrowser()
	ada.withCode(ada.signUp(adaMail, adaPass))
	ada.withCode(ada.signInAgain(adaMail, adaPass))
	// From one address: ten tries a minute, and not even the right one is looked
	// at; the person elsewhere notices nothing.
	thief := w.newBrowser()
	thief.client, thief.address = ada.client, "198.51.100.1:1"
	p := thief.follow(thief.begin())
	p = thief.follow(thief.fill(p, "/login", "identifier", adaMail))
	for range 10 {
		thief.says(thief.fill(p, "/login/password", "password", "guess number one"), 400, "did not work")
	}
	r := thief.says(thief.fill(p, "/login/password", "password", adaPass), 429, "Too many tries")
	if r.header.Get("Retry-After") == "" {
		t.Error("nobody says when to try again")
	}
	ada.withCode(ada.signInAgain(adaMail, adaPass))
	// From everywhere: strangers are told to wait, the browser that has signed in
	// before is not.
	for n := range 40 {
		thief.address = "203.0.113." + string(rune('0'+n%10)) + string(rune('0'+n/10)) + ":1"
		thief.fill(p, "/login/password", "password", "guess number two")
	}
	stranger := w.newBrowser()
	stranger.client, stranger.address = ada.client, "192.0.2.99:1"
	stranger.says(stranger.signIn(adaMail, adaPass), 429, "Too many tries")
	ada.withCode(ada.signInAgain(adaMail, adaPass))
	w.clock.advance(time.Minute)
	stranger.withCode(stranger.signInAgain(adaMail, adaPass))
}

// signInAgain signs in although the browser may be signed in.
func (b *browser) signInAgain(email, password string) *page {
	b.Helper()
	p := b.follow(b.at(b.open(asking(b.client.credential.Identifier, "prompt", "login")), "/login"))
	p = b.follow(b.at(b.fill(p, "/login", "identifier", email), "/login/password"))
	return b.fill(p, "/login/password", "password", password)
}

// TestWhatIsTypedTakesNoMemory: what is counted by outlives the request, and
// strangers say how long it is.
func TestWhatIsTypedTakesNoMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	p := b.follow(b.begin())
	p = b.follow(b.fill(p, "/login", "identifier", adaMail))
	b.fill(p, "/login/signup", "password", adaPass)
	long := strings.Repeat("a", 32<<10)
	b.says(b.fill(b.get("/login/password"), "/login/password", "username", long, "password", adaPass), 400, "did not work")
	if n := oauth.Counted(w.server); n == 0 || n > 1024 {
		t.Errorf("%d bytes are kept of it", n)
	}
}

// TestNobodyIsMailedByStrangersForLong, whoever asks, and for whatever.
func TestNobodyIsMailedByStrangersForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.newWebApp("client", deputy.ImplicitConsent)
	for n := range 4 {
		b := w.newBrowser()
		b.client, b.address = client, fmt.Sprintf("198.51.100.%d:1", n)
		b.follow(b.begin())
		p := b.fill(b.get("/login/signup"), "/login/signup", "username", adaMail, "password", adaPass)
		if n < 3 {
			b.at(p, "/login/verify-email")
		} else {
			b.says(p, 429, "Too many tries")
			b.says(b.fill(b.get("/login/forgot-password"), "/login/forgot-password", "username", adaMail), 429, "Too many tries")
		}
	}
	if n := len(w.mails()); n != 3 {
		t.Errorf("%d mails", n)
	}
}

func TestForgottenPassword(t *testing.T) {
	t.Parallel()
	for _, linked := range []bool{false, true} {
		w := newWorld(t)
		b := w.newBrowser()
		b.withCode(b.signUp(adaMail, adaPass))
		elsewhere := w.newBrowser()
		elsewhere.client = b.client
		p := elsewhere.follow(elsewhere.begin())
		elsewhere.fill(p, "/login", "identifier", adaMail)
		p = elsewhere.get("/login/forgot-password")
		w.clock.advance(time.Second)
		// Nobody learns who has an account.
		mails := len(w.mails())
		elsewhere.at(elsewhere.fill(p, "/login/forgot-password", "username", "nobody@example.test"), "/login/reset-password")
		w.server.Settle()
		if len(w.mails()) != mails {
			t.Error("somebody unknown gets a mail")
		}
		q := elsewhere.follow(elsewhere.at(elsewhere.fill(p, "/login/forgot-password", "username", adaMail), "/login/reset-password"))
		to, code, link := w.lastMail()
		if to != adaMail {
			t.Fatalf("the mail is for %s", to)
		}
		if linked {
			q = elsewhere.says(elsewhere.get(strings.TrimPrefix(link, w.issuer())), 200, "new password")
		} else {
			elsewhere.says(elsewhere.fill(q, "/login/reset-password", "code", "00000000", "password", newPass), 400, "does not work")
		}
		set := func(password string) *page {
			if linked {
				return elsewhere.fill(q, "/login/reset-password", "password", password)
			}
			return elsewhere.fill(q, "/login/reset-password", "code", code, "password", password)
		}
		elsewhere.says(set("short"), 400, "too short")
		r := set(newPass)
		if linked {
			elsewhere.says(r, 200, "Your password is changed")
			elsewhere.says(set(newPass), 400, "no longer good")
		} else {
			elsewhere.withCode(r)
		}
		// Whoever was signed in is not any more, and the old password is over.
		b.at(b.open(asking(b.client.credential.Identifier)), "/login")
		b.says(b.signInAgain(adaMail, adaPass), 400, "did not work")
		b.withCode(b.signInAgain(adaMail, newPass))
		if n := len(w.events("users:reset_password")); n != 1 {
			t.Errorf("%d events tell of it", n)
		}
	}
}

// TestACodeTakesAsLongWhoeverIsAsked: a try of a code is one commit, and so is the
// work behind asking for one, whether there is an account, a code or another try.
func TestACodeTakesAsLongWhoeverIsAsked(t *testing.T) {
	t.Parallel()
	var commits atomic.Int64
	w := newBareWorld(t)
	w.platform = deputy.NewID(w.clock.Now())
	w.open(store.Config{Path: deputytest.SQLite(t), Around: func(statement string, run func() error) error {
		if statement == "BEGIN IMMEDIATE" {
			commits.Add(1)
		}
		return run()
	}})
	w.fill()
	b := w.newBrowser()
	b.withCode(b.signUp(adaMail, adaPass))
	w.server.Settle()
	took := func(what string, want int64, do func()) {
		t.Helper()
		before := commits.Load()
		do()
		w.server.Settle()
		if n := commits.Load() - before; n != want {
			t.Errorf("%s: %d commits, want %d", what, n, want)
		}
	}
	for _, email := range []string{adaMail, "nobody@example.test"} {
		elsewhere := w.newBrowser()
		elsewhere.client = b.client
		elsewhere.fill(elsewhere.follow(elsewhere.begin()), "/login", "identifier", adaMail)
		p := elsewhere.get("/login/forgot-password")
		// The transaction is saved before the answer, the rest comes behind.
		took(email+" asks", 2, func() { p = elsewhere.fill(p, "/login/forgot-password", "username", email) })
		p = elsewhere.follow(p)
		for n := range 7 {
			took(fmt.Sprint(email, " tries ", n), 1, func() {
				elsewhere.says(elsewhere.fill(p, "/login/reset-password", "code", "none", "password", newPass), 400, "does not work")
			})
		}
	}
}

func TestDisabledPeopleCannotSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedUp()
	w.setStatus(w.onlyUser(), deputy.UserDisabled)
	p := b.says(b.signInAgain(adaMail, adaPass), 403, "You cannot sign in")
	r := b.fill(p, "/login/cancel")
	if r.query("error") != "access_denied" || r.query("iss") != w.issuer() {
		t.Errorf("the client hears %v", r.location)
	}
	all := w.events("users:login")
	if e := all[len(all)-1]; e.Outcome != deputy.Failure || e.Error != "access_denied" {
		t.Errorf("the event is %+v", e)
	}
}

func (w *world) setStatus(u *deputy.User, to deputy.UserStatus) {
	w.Helper()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Users().Update(ctx, w.in(), deputy.ID(u.ID), func(u *deputy.User) error { u.Status = to; return nil })
		return err
	})
}

// TestFormsOfOthersAreRefused sends every form of the sign-in without the token
// of the page, and with that of another browser.
func TestFormsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedUp()
	b.begin("prompt", "login")
	attacker := w.newBrowser()
	attacker.client = b.client
	theirs := attribute(inputTag.FindString(attacker.follow(attacker.begin()).body), "value")
	paths := oauth.FormPages()
	if len(paths) < 15 {
		t.Errorf("there are forms at %v only", paths)
	}
	for _, path := range paths {
		for _, token := range []string{"", theirs} {
			r := b.send(path, form("csrf_token", token, "identifier", adaMail, "username", adaMail, "password", adaPass, "action", "approve", "id", "x"))
			if r.status != 400 || r.location != nil {
				t.Errorf("%s with the token %q: %d %v", path, token, r.status, r.location)
			}
		}
	}
	if n := len(w.events("users:logout")) + len(w.events("sessions:revoke")); n != 0 {
		t.Error("a forged form ended a session")
	}
}

// TestNoPageCanBeFramed looks at the headers of every page.
func TestNoPageCanBeFramed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedUp()
	b.begin("prompt", "login")
	b.fill(b.get("/login"), "/login", "identifier", adaMail)
	for _, path := range []string{
		"/login", "/login/password", "/login/signup", "/login/forgot-password", "/login/authorize", "/login/authorized",
		"/account", "/account/password", "/login/verify-email?token=x", "/login/reset-password?token=x", "/oauth/2/redirect",
	} {
		p := b.get(path)
		csp := p.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "frame-ancestors 'none'") || p.header.Get("Referrer-Policy") != "no-referrer" ||
			p.header.Get("X-Frame-Options") != "DENY" || p.header.Get("Cache-Control") != "no-store" || p.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", path, p.status, p.header)
		}
		inFlow := path == "/login" || path == "/login/password" || path == "/login/signup" || path == "/login/forgot-password"
		if strings.Contains(csp, callback) != inFlow {
			t.Errorf("%s: forms lead to %s", path, csp)
		}
	}
	if r := b.load(httptest.NewRequest("OPTIONS", "/z/"+string(w.zone.ID)+"/login", nil), w.server.ServeHTTP); r.header.Get("Access-Control-Allow-Origin") == "*" && r.status == 204 {
		t.Error("other sites may read the pages")
	}
}

// TestASignInIsBoundToItsBrowser has somebody give another person the address
// of a sign-in that they began: it leads nowhere.
func TestASignInIsBoundToItsBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	attacker := w.newBrowser()
	at := attacker.begin()
	ada := w.newBrowser()
	ada.client = attacker.client
	ada.says(ada.follow(at), 400, "Please start again")
	// And a cookie that the attacker has planted before the sign-in is not the
	// one after it.
	for name, value := range attacker.cookies {
		ada.cookies[name] = value
	}
	p := ada.get("/login")
	p = ada.follow(ada.fill(p, "/login", "identifier", adaMail))
	ada.follow(ada.fill(p, "/login/signup", "password", adaPass))
	attacker.says(attacker.get("/login/verify-email"), 400, "Please start again")
	attacker.at(attacker.get("/account"), "/login")
}
