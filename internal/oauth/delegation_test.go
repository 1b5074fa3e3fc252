package oauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
)

// chains returns how many chains of delegation are tried.
func chains(t *testing.T) int {
	text := os.Getenv("DEPUTY_TEST_CHAINS")
	switch n, err := strconv.Atoi(text); {
	case text == "":
		return deputytest.Times(100, 1000, 1000)
	case err != nil || n < 1:
		t.Fatalf("DEPUTY_TEST_CHAINS is %q", text)
		return 0
	default:
		return n
	}
}

// delegations is a zone in which everybody may hand on to others: each
// application has a resource of its own, and reaches some of the others'.
type delegations struct {
	*world
	apps      []*app
	resources []*deputy.Resource // of the application with the same number
	reach     []map[int]bool     // what each application depends on
	people    []*person
}

var allScopes = []string{"read", "write", "admin", "share"}

func newDelegations(t *testing.T, chance *mathrand.Rand) *delegations {
	d := &delegations{world: newWorld(t)}
	for n := range 6 {
		a := d.newApp(fmt.Sprintf("app%d", n))
		r := d.newResource(fmt.Sprintf("urn:of:%d", n), func(r *deputy.Resource) {
			r.ApplicationID, r.Scopes = &a.ID, some(chance, allScopes)
		})
		d.apps, d.resources, d.reach = append(d.apps, a), append(d.resources, r), append(d.reach, map[int]bool{})
	}
	for n, a := range d.apps {
		for m, r := range d.resources {
			if chance.IntN(3) > 0 {
				d.depend(a, r)
				d.reach[n][m] = true
			}
		}
	}
	for n := range 3 {
		d.people = append(d.people, d.newPerson(fmt.Sprintf("person%d@example.test", n)))
	}
	return d
}

// some returns some of the texts, in any order.
func some(chance *mathrand.Rand, all []string) []string {
	picked := slices.Clone(all)
	chance.Shuffle(len(picked), func(i, j int) { picked[i], picked[j] = picked[j], picked[i] })
	return picked[:chance.IntN(len(picked)+1)]
}

// held is a token as the model knows it.
type held struct {
	token   string
	at      int // whose resource it is for
	subject int // the application it is about, unless it is about a person
	person  *person
	scopes  []string
	act     map[string]any
	actors  []int // newest first
}

// TestDelegationsNeverWiden draws chains of exchanges at random and compares
// each answer with what a model of the rules says: nobody gets more than was
// asked for, declared and permitted, nor at the same audience than the token
// before had; and who acted is the same in the token, in its introspection, in
// the event and in what policy was asked.
func TestDelegationsNeverWiden(t *testing.T) {
	t.Parallel()
	seed := mathrand.Uint64()
	d := newDelegations(t, mathrand.New(mathrand.NewPCG(seed, 0)))
	total := chains(t)
	var wait sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for worker := range 8 {
		wait.Go(func() {
			chance := mathrand.New(mathrand.NewPCG(seed, uint64(worker)+1))
			for n := worker; n < total && !t.Failed(); n += 8 {
				what, err := d.chain(chance)
				mu.Lock()
				for _, w := range what {
					seen[w]++
				}
				mu.Unlock()
				if err != nil {
					t.Errorf("seed %d, worker %d, chain %d: %v", seed, worker, n, err)
				}
			}
		})
	}
	wait.Wait()
	for _, what := range []string{"issued", "not its own", "forged", "not permitted", "about a person", "about an application"} {
		if seen[what] == 0 {
			t.Errorf("among %d chains none was %s", total, what)
		}
	}
	t.Logf("%d chains: %v", total, seen)
}

// chain follows one token from hop to hop.
func (d *delegations) chain(chance *mathrand.Rand) (seen []string, err error) {
	h, err := d.begin(chance)
	if err != nil {
		return nil, err
	}
	if seen = append(seen, "about an application"); h.person != nil {
		seen[0] = "about a person"
	}
	for range 1 + chance.IntN(4) {
		caller, to, asked := h.at, chance.IntN(len(d.apps)), some(chance, append([]string{"undeclared"}, allScopes...))
		switch chance.IntN(8) {
		case 0:
			caller = chance.IntN(len(d.apps)) // perhaps not whose it is
		case 1:
			if err := d.forge(chance, h, to); err != nil {
				return seen, err
			}
			seen = append(seen, "forged")
			continue
		}
		next, what, err := d.hop(h, caller, to, asked)
		if seen = append(seen, what); err != nil || next == nil {
			return seen, err
		}
		h = next
	}
	return seen, nil
}

// begin returns a token that somebody got for a resource.
func (d *delegations) begin(chance *mathrand.Rand) (*held, error) {
	at := chance.IntN(len(d.resources))
	scopes := some(chance, d.resources[at].Scopes)
	if chance.IntN(2) == 0 {
		p := d.people[chance.IntN(len(d.people))]
		claims := d.userClaims(p, d.apps[0].credential.Identifier, d.resources[at].Identifier)
		claims["scope"] = strings.Join(scopes, " ")
		return &held{token: d.sign(deputy.ES256, "at+jwt", claims), at: at, person: p, scopes: scopes}, nil
	}
	for {
		subject := chance.IntN(len(d.apps))
		if !d.reach[subject][at] {
			at = chance.IntN(len(d.resources))
			continue
		}
		a := d.credentialsFor(d.apps[subject], d.resources[at].Identifier, "scope", strings.Join(some(chance, allScopes), " "))
		if a.status != 200 {
			return nil, fmt.Errorf("the first token: %s", a)
		}
		return &held{token: a.text("access_token"), at: at, subject: subject, scopes: strings.Fields(a.text("scope"))}, nil
	}
}

// hop exchanges a token and compares the answer with the model's.
func (d *delegations) hop(h *held, caller, to int, asked []string) (next *held, what string, err error) {
	a := d.exchange(d.apps[caller], h.token, d.resources[to].Identifier, "scope", strings.Join(asked, " "))
	want, code := "issued", ""
	switch {
	case caller != h.at:
		want, code = "not its own", "invalid_grant"
	case len(h.actors) >= 10:
		want, code = "too deep", "invalid_grant"
	case h.person == nil && !d.reach[h.subject][to]:
		want, code = "not permitted", "access_denied"
	}
	if code != "" {
		if a.status != 400 || a.text("error") != code {
			return nil, want, fmt.Errorf("%s, and the answer is %s", want, a)
		}
		return nil, want, nil
	}
	if a.status != 200 {
		return nil, want, fmt.Errorf("a hop that is permitted: %s", a)
	}
	may := slices.DeleteFunc(slices.Clone(asked), func(s string) bool {
		return !slices.Contains(d.resources[to].Scopes, s) || to == h.at && !slices.Contains(h.scopes, s)
	})
	n := &held{
		token: a.text("access_token"), at: to, subject: h.subject, person: h.person, scopes: strings.Fields(a.text("scope")),
		act:    map[string]any{"sub": d.apps[caller].Identifier, "client_id": d.apps[caller].credential.Identifier},
		actors: append([]int{caller}, h.actors...),
	}
	if h.act != nil {
		n.act["act"] = h.act
	}
	for _, s := range n.scopes {
		if !slices.Contains(may, s) {
			return nil, want, fmt.Errorf("widened: %q was asked for, %q may be given, %q is", asked, may, n.scopes)
		}
	}
	if len(n.scopes) != len(may) {
		return nil, want, fmt.Errorf("%q may be given, %q is", may, n.scopes)
	}
	return n, want, d.compare(h, n, caller)
}

// compare looks for who acted in all the places that tell of it.
func (d *delegations) compare(before, now *held, caller int) error {
	claims, err := claimsOf(now.token)
	if err != nil {
		return err
	}
	subject, profile := d.apps[now.subject].Identifier, "app"
	var session any
	if now.person != nil {
		subject, profile, session = now.person.Identifier, "user", string(now.person.child.ID)
	}
	for name, want := range map[string]any{
		"sub": subject, "sub_profile": profile, "sid": session, "act": now.act, "aud": d.resources[now.at].Identifier,
		"client_id": d.apps[caller].credential.Identifier, "keycard_app_id": d.apps[caller].Identifier,
	} {
		if diff := cmp.Diff(want, claims[name]); diff != "" {
			return fmt.Errorf("the token's %s: %s", name, diff)
		}
	}
	told := d.postTo("/oauth/2/introspect", d.apps[now.at], form("token", now.token))
	if told.status != 200 || told.json["active"] != true || cmp.Diff(any(now.act), told.json["act"]) != "" || told.text("sub") != subject {
		return fmt.Errorf("introspection tells %s, the token %v", told, claims)
	}
	ctx := context.Background()
	jti, _ := claims["jti"].(string)
	record, err := d.store.Event(ctx, d.organization.ID, d.zone.ID, deputy.EventID(jti))
	if err != nil {
		return err
	}
	e, err := record.Event(ctx, d.sealing)
	if err != nil {
		return err
	}
	var chain []string
	for _, a := range e.Actor.IdentityChain {
		chain = append(chain, a.Type+" "+a.Identifier)
	}
	var want []string
	for _, n := range now.actors {
		want = append(want, "application "+d.apps[n].Identifier)
	}
	want = append(want, map[string]string{"app": "application ", "user": "user "}[profile]+subject)
	if diff := cmp.Diff(want, chain); diff != "" {
		return fmt.Errorf("the event's chain: %s", diff)
	}
	r, err := d.again(e)
	if err != nil {
		return err
	}
	var asked map[string]any // what policy knew of the token that was exchanged
	if err := json.Unmarshal(r.SubjectClaims.Facts(), &asked); err != nil {
		return err
	}
	if asked["claims"] != nil {
		asked, _ = asked["claims"].(map[string]any)
	}
	var former any
	if before.act != nil {
		former = before.act
	}
	if diff := cmp.Diff(former, asked["act"]); diff != "" {
		return fmt.Errorf("policy was asked about other actors: %s", diff)
	}
	if last := r.Legs[len(r.Legs)-1]; !last.OnBehalf || !strings.Contains(string(last.Principal.Facts()), strconv.Quote(d.apps[caller].Identifier)) {
		return fmt.Errorf("policy was asked about %s", last.Principal.Facts())
	}
	return nil
}

// forge changes who acted, or what may be done, in a token, and presents that:
// with the signature of the true one, or signed by nobody.
func (d *delegations) forge(chance *mathrand.Rand, h *held, to int) error {
	claims, err := claimsOf(h.token)
	if err != nil {
		return err
	}
	switch chance.IntN(4) {
	case 0:
		delete(claims, "act")
		for _, p := range d.people {
			if p != h.person {
				claims["sub"] = p.Identifier
			}
		}
	case 1:
		claims["act"] = map[string]any{"sub": d.apps[to].Identifier, "client_id": d.apps[to].credential.Identifier, "act": h.act}
	case 2:
		claims["scope"] = strings.Join(append(allScopes, "more"), " ")
	case 3:
		claims["aud"] = d.resources[to].Identifier + "#"
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	parts := strings.Split(h.token, ".")
	parts[1] = base64.RawURLEncoding.EncodeToString(payload)
	if chance.IntN(2) == 0 {
		parts[0], parts[2] = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)), ""
	}
	a := d.exchange(d.apps[h.at], strings.Join(parts, "."), d.resources[to].Identifier)
	if a.status != 400 || a.text("error") != "invalid_grant" && a.text("error") != "invalid_request" {
		return fmt.Errorf("a forged token %s is answered with %s", payload, a)
	}
	return nil
}

// claimsOf reads the payload of a token.
func claimsOf(token string) (claims map[string]any, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("no JWT: %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &claims)
	}
	return claims, err
}
