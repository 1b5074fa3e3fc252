package oauth

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// matchRedirect returns where an answer to the given redirect_uri may go: the
// one given if it is registered. The port of a loopback address is free (RFC
// 8252 §7.3); everything else is compared as it is written.
func matchRedirect(registered []string, given string) bool {
	if !safeRedirect(given) {
		return false
	}
	if slices.Contains(registered, given) {
		return true
	}
	bare, ok := withoutLoopbackPort(given)
	return ok && slices.ContainsFunc(registered, func(r string) bool {
		other, ok := withoutLoopbackPort(r)
		return ok && other == bare
	})
}

// safeRedirect reports whether answers may go to a URI at all: by https, to
// this machine by http, or to an application that has a scheme of its own.
func safeRedirect(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || !u.IsAbs() || u.User != nil || strings.Contains(uri, "#") || strings.ContainsAny(uri, "\\\r\n\t ") {
		return false
	}
	switch u.Scheme {
	case "https":
		return u.Host != "" && u.Opaque == ""
	case "http":
		return isLoopback(u.Hostname()) && u.Opaque == ""
	}
	return !slices.Contains(browserSchemes, u.Scheme)
}

// browserSchemes are those that a browser acts on itself, so that they are no
// application's.
var browserSchemes = []string{
	"javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source", "ws", "wss", "ftp", "mailto", "tel",
}

// isLoopback reports whether a host is this machine for whoever asks.
func isLoopback(host string) bool {
	return host == "127.0.0.1" || host == "::1" || host == "localhost"
}

// withoutLoopbackPort returns a loopback URI without its port; ok is false for
// any other.
func withoutLoopbackPort(uri string) (bare string, ok bool) {
	rest, ok := strings.CutPrefix(uri, "http://")
	if !ok {
		return "", false
	}
	for _, host := range []string{"127.0.0.1", "[::1]", "localhost"} {
		after, ok := strings.CutPrefix(rest, host)
		if !ok {
			continue
		}
		if port, ok := strings.CutPrefix(after, ":"); ok {
			after = strings.TrimLeft(port, "0123456789")
		}
		if after == "" || strings.IndexByte("/?", after[0]) >= 0 {
			return "http://" + host + after, true
		}
	}
	return "", false
}

// network returns by what the address of a stranger counts as one source: that
// of IPv6 without the part that a single host can choose (RFC 4291 §2.5.4).
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Is4() || ip.Is4In6() {
		return address
	}
	prefix, _ := ip.WithZone("").Prefix(64)
	return prefix.String()
}

// answerClient sends the browser back to the client with an answer (RFC 6749
// §4.1.2), which always says whose it is (RFC 9207).
func answerClient(w http.ResponseWriter, r *http.Request, to *authorizationRequest, issuer string, answer url.Values) {
	if to.State != "" {
		answer.Set("state", to.State)
	}
	answer.Set("iss", issuer)
	separator := "?"
	if strings.Contains(to.RedirectURI, "?") {
		separator = "&"
	}
	redirect(w, r, to.RedirectURI+separator+answer.Encode())
}

// redirect sends the browser on: with a GET, whatever it came with.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	h := w.Header()
	h.Set("Location", to)
	h["Cache-Control"], h["Referrer-Policy"] = noStore, noReferrer
	status := http.StatusFound
	if r.Method == http.MethodPost {
		status = http.StatusSeeOther
	}
	w.WriteHeader(status)
}

// noReferrer keeps addresses, which hold codes and states, from other sites.
var noReferrer = []string{"no-referrer"}
