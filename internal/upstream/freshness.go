package upstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longest bounds what a header may claim, so that sums of durations hold.
const longest = 365 * 24 * time.Hour

// freshness returns how long an answer received at now may be used without
// asking again, by RFC 9111 §4.2; stated is false when its headers do not say.
// Deputy is a shared cache: s-maxage goes before max-age. Headers that are
// malformed or contradict each other count as stale (§4.2.1).
func freshness(h http.Header, now time.Time) (lifetime time.Duration, stated bool) {
	directives := cacheControl(h)
	if _, no := directives["no-store"]; no {
		return 0, true
	}
	if _, no := directives["no-cache"]; no {
		return 0, true
	}
	for _, name := range []string{"s-maxage", "max-age"} {
		if text, ok := directives[name]; ok {
			return max(0, seconds(text)-seconds(h.Get("Age"))), true
		}
	}
	if values := h.Values("Expires"); len(values) > 0 {
		expires, err := http.ParseTime(values[0])
		if err != nil || len(values) > 1 {
			return 0, true // "0" and the like mean already expired (§5.3)
		}
		date, err := http.ParseTime(h.Get("Date"))
		if err != nil {
			date = now
		}
		return min(max(0, expires.Sub(date)-seconds(h.Get("Age"))), longest), true
	}
	return 0, false
}

// cacheControl returns the directives of Cache-Control, names in lower case.
// One that is repeated with different arguments loses them, which makes it
// stale.
func cacheControl(h http.Header) map[string]string {
	directives := map[string]string{}
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			name, value = strings.ToLower(name), strings.Trim(value, `"`)
			if before, repeated := directives[name]; repeated && before != value {
				value = ""
			}
			directives[name] = value
		}
	}
	return directives
}

// seconds reads delta-seconds (RFC 9111 §1.2.2): too large means the longest,
// anything else but digits means none.
func seconds(text string) time.Duration {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > int64(longest/time.Second) {
		return longest
	}
	return time.Duration(n) * time.Second
}
