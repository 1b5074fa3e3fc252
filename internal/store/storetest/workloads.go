package storetest

import (
	"slices"
	"strings"

	"deputy/internal/deputy"
)

var workloads = map[string]func(*world){
	"the credentials that fit a workload best": workloadFit,
}

func workloadFit(w *world) {
	app := w.application("agents")
	one, other := w.provider("https://one.example.com"), w.provider("https://other.example.com")
	w.insert(
		func(x deputy.Tx) error { return x.Applications().Insert(w.ctx, app) },
		func(x deputy.Tx) error { return x.Providers().Insert(w.ctx, one) },
		func(x deputy.Tx) error { return x.Providers().Insert(w.ctx, other) },
	)
	add := func(p *deputy.Provider, subject string) *deputy.Credential {
		c := w.credential(app.ID, deputy.TokenCredential, deputy.AnySubject)
		c.ProviderID = p.ID
		if subject != "" {
			c.Subject, c.Identifier = &subject, subject
		}
		w.insert(func(x deputy.Tx) error { return x.Credentials().Insert(w.ctx, c) })
		return c
	}
	// Another kind of credential with a workload's subject is not one.
	w.insert(func(x deputy.Tx) error {
		return x.Credentials().Insert(w.ctx, w.credential(app.ID, deputy.PublicCredential, "org:app:1"))
	})
	long := strings.Repeat("ä", 400) // more than an index holds
	for _, subject := range []string{
		"org:app:1", "org:app:*", "org:*:1", "org:*", "org:app:*:x", "org:app:*:y", "org:application:*", "*:end", "org:app;", "org:aq*", "zzz*",
		"é*", long + "a*", long + "ab*", long + "*", long,
	} {
		add(one, subject)
	}
	any, elsewhere, twin := add(one, ""), add(other, "org:*"), add(one, "org:app:1")
	check := func(p *deputy.Provider, subject string, want ...string) {
		w.Helper()
		var got []string
		for _, c := range sure(w.Workload(w.ctx, w.zone.ID, p.ID, subject)) {
			got = append(got, c.Identifier)
		}
		if !slices.Equal(got, want) {
			w.Errorf("%.40q fits %.80q, want %.80q", subject, got, want)
		}
	}
	check(one, "org:app:1", "org:app:1", "org:app:1")
	check(one, "org:app:2", "org:app:*")
	check(one, "org:app:2:x", "org:app:*", "org:app:*:x")
	check(one, "org:app2:1", "org:*:1", "org:*")
	check(one, "org:application:1", "org:application:*")
	check(one, "org:apple", "org:*")
	check(one, "org:app", "org:*")
	check(one, "ORG:app:2", "*") // letter case counts
	check(one, "the:end", "*:end")
	check(one, "é", "é*")
	check(one, "è", "*")
	check(one, "zz", "*")
	check(one, "", "*")
	check(one, "*", "*")
	check(one, long, long)
	check(one, long+"b", long+"*")
	check(one, long+"abc", long+"ab*")
	check(other, "org:app:1", "org:*")
	check(other, "x")
	w.insert(func(x deputy.Tx) error { return x.Credentials().Delete(w.ctx, w.in, deputy.ID(twin.ID)) })
	w.insert(func(x deputy.Tx) error { return x.Credentials().Delete(w.ctx, w.in, deputy.ID(any.ID)) })
	check(one, "org:app:1", "org:app:1")
	check(one, "zz")
	w.insert(func(x deputy.Tx) error {
		_, err := x.Credentials().Update(w.ctx, w.in, deputy.ID(elsewhere.ID), func(c *deputy.Credential) error {
			c.Subject, c.Identifier = ref("x*"), "x*"
			return nil
		})
		return err
	})
	check(other, "org:app:1")
	check(other, "xy", "x*")
	if found := sure(w.Workload(w.ctx, deputy.ZoneID(w.newID()), one.ID, "org:app:1")); len(found) != 0 {
		w.Errorf("in another zone %d fit", len(found))
	}
}
