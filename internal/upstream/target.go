package upstream

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"deputy/internal/deputy"
)

// maxURL is the longest URL that is fetched, as long as an identifier may be.
const maxURL = 2048

// parseURL checks a tenant's URL as it is written and returns its one form:
// scheme and host in lower case, no default port, no empty path. Each error is
// Invalid: such a URL can never be fetched.
func (r rules) parseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, deputy.Errorf(deputy.Invalid, "the URL is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL, which may hold a password
		}
		return nil, deputy.Errorf(deputy.Invalid, "the URL is malformed").Because(err)
	}
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !r.dev && r.allow.Empty()):
		return nil, deputy.Errorf(deputy.Invalid, "the URL must use https")
	case u.User != nil:
		return nil, deputy.Errorf(deputy.Invalid, "the URL must not contain a user name or password")
	case strings.Contains(raw, "#"):
		return nil, deputy.Errorf(deputy.Invalid, "the URL must not contain a fragment")
	}
	if u.Host, err = r.parseHost(u); err != nil {
		return nil, err
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// parseHost returns host and port of u in their one form.
func (r rules) parseHost(u *url.URL) (string, error) {
	secure := u.Scheme == "https"
	port := uint64(80)
	if secure {
		port = 443
	}
	standard := port
	if text := u.Port(); text != "" {
		var err error
		if port, err = strconv.ParseUint(text, 10, 16); err != nil || port == 0 {
			return "", deputy.Errorf(deputy.Invalid, "the URL has no port from 1 to 65535")
		}
	}
	host := strings.ToLower(u.Hostname())
	addr, err := netip.ParseAddr(host)
	if err != nil && !isName(host) {
		return "", deputy.Errorf(deputy.Invalid, "the URL's host is neither a domain name in ASCII nor an address in its usual form")
	}
	if err == nil {
		// No secret is told here: the tenant wrote the address.
		err := r.check(netip.AddrPortFrom(addr, uint16(port)), secure)
		if errors.Is(err, errPlainHTTP) {
			return "", deputy.Errorf(deputy.Invalid, "the URL must use https")
		}
		if err != nil {
			return "", deputy.Errorf(deputy.Invalid, "the URL names an address that must not be reached").Because(err)
		}
		if host = addr.String(); addr.Is6() {
			host = "[" + host + "]"
		}
	}
	if port != standard {
		host += ":" + strconv.FormatUint(port, 10)
	}
	return host, nil
}

// isName reports whether host, in lower case, is a domain name: labels of
// letters, digits, hyphens and underscores, of which the last is no number.
// Some resolvers read a host that ends in a number as an IPv4 address
// (decimal, octal, hexadecimal, shortened), others as a name; none is a real
// name. Names beyond ASCII come as A-labels (xn--…), since mapping them turns
// look-alike digits and dots into real ones.
func isName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 {
		return false
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}
