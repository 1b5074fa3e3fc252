package server

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientAddress returns whose address a request is counted and recorded under:
// the peer's, unless the peer is a trusted proxy; then the rightmost address of
// X-Forwarded-For that is not one. It never decides who somebody is.
func clientAddress(trusted []netip.Prefix) func(*http.Request) string {
	isTrusted := func(a netip.Addr) bool {
		for _, p := range trusted {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	return func(r *http.Request) string {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return r.RemoteAddr
		}
		client := peer.Addr().Unmap()
		if len(trusted) == 0 || !isTrusted(client) {
			return client.String()
		}
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for i := len(hops) - 1; i >= 0; i-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
			if err != nil {
				break // whoever wrote this, what stands left of it proves nothing
			}
			client = hop.Unmap()
			if !isTrusted(client) {
				break
			}
		}
		return client.String()
	}
}
