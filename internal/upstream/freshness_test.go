package upstream_test

import (
	"net/http"
	"testing"
	"time"

	"deputy/internal/upstream"
)

func TestFreshness(t *testing.T) {
	now := newClock().now()
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	const year = 365 * 24 * time.Hour
	for _, c := range []struct {
		name   string
		header http.Header
		want   time.Duration
		stated bool
	}{
		{"nothing", http.Header{}, 0, false},
		{"max-age", http.Header{"Cache-Control": {"public, max-age=600"}}, 10 * time.Minute, true},
		{"letter case, quotes, spaces", http.Header{"Cache-Control": {`Public ,  MAX-AGE="600" `}}, 10 * time.Minute, true},
		{"shared first", http.Header{"Cache-Control": {"max-age=600, s-maxage=60"}}, time.Minute, true},
		{"less its age", http.Header{"Cache-Control": {"max-age=600"}, "Age": {"540"}}, time.Minute, true},
		{"age beyond", http.Header{"Cache-Control": {"max-age=600"}, "Age": {"700"}}, 0, true},
		{"no-store wins", http.Header{"Cache-Control": {"max-age=600", "no-store"}}, 0, true},
		{"no-cache wins", http.Header{"Cache-Control": {"no-cache, max-age=600"}}, 0, true},
		{"before Expires", http.Header{"Cache-Control": {"max-age=60"}, "Expires": {at(time.Hour)}}, time.Minute, true},
		{"contradiction", http.Header{"Cache-Control": {"max-age=600, max-age=60"}}, 0, true},
		{"repetition", http.Header{"Cache-Control": {"max-age=600", "max-age=600"}}, 10 * time.Minute, true},
		{"negative", http.Header{"Cache-Control": {"max-age=-1"}}, 0, true},
		{"no number", http.Header{"Cache-Control": {"max-age=soon"}}, 0, true},
		{"no argument", http.Header{"Cache-Control": {"max-age"}}, 0, true},
		{"huge", http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, year, true},
		{"large", http.Header{"Cache-Control": {"max-age=9223372036854775807"}}, year, true},
		{"Expires from Date", http.Header{"Expires": {at(2 * time.Hour)}, "Date": {at(time.Hour)}}, time.Hour, true},
		{"Expires without Date", http.Header{"Expires": {at(time.Hour)}}, time.Hour, true},
		{"Expires passed", http.Header{"Expires": {at(-time.Hour)}}, 0, true},
		{"Expires zero", http.Header{"Expires": {"0"}}, 0, true},
		{"Expires twice", http.Header{"Expires": {at(time.Hour), at(time.Hour)}}, 0, true},
		{"Expires far", http.Header{"Expires": {"Fri, 31 Dec 9999 23:59:59 GMT"}}, year, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, stated := upstream.Freshness(c.header, now); got != c.want || stated != c.stated {
				t.Errorf("fresh for %v, stated %v; want %v, %v", got, stated, c.want, c.stated)
			}
		})
	}
}

func FuzzFreshness(f *testing.F) {
	f.Add("public, max-age=600", "", "", "")
	f.Add("max-age=99999999999999999999", "1", "0", "")
	f.Add(`s-maxage="5",,=,`, "-1", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT")
	now := newClock().now()
	f.Fuzz(func(t *testing.T, cacheControl, age, expires, date string) {
		h := http.Header{"Cache-Control": {cacheControl}, "Age": {age}, "Expires": {expires}, "Date": {date}}
		if d, _ := upstream.Freshness(h, now); d < 0 || d > 365*24*time.Hour {
			t.Fatalf("fresh for %v", d)
		}
	})
}
