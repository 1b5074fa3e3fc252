package upstream

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Allow is the set of addresses, each with its ports, that tenants' URLs may
// reach beside the public internet. The zero Allow adds nothing. An Allow is
// immutable.
type Allow struct{ ranges []allowedRange }

// allowedRange is one prefix and its ports; no ports means all of them.
type allowedRange struct {
	prefix netip.Prefix
	ports  []portSpan
}

// portSpan is the ports from low to high, both included.
type portSpan struct{ low, high uint16 }

// ParseAllow reads the setting --outgoing-allow: entries CIDR[:ports] with
// commas between them, where ports is a port, a span such as 8000-8999, or
// several of them with commas between.
//
//	10.0.0.0/8                      every port
//	10.1.2.3/32:443,8443            two ports
//	fd00::/8:443, [fd00::/8]:443    one port; brackets are optional
//	10.0.0.7                        a single address, the same as /32
//
// The empty string is the zero Allow. Errors quote the entry at fault and say
// how to write it.
func ParseAllow(s string) (Allow, error) {
	var a Allow
	if strings.TrimSpace(s) == "" {
		return a, nil
	}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		// Commas separate ports as well as entries; what has only digits and a
		// dash cannot be a prefix.
		if item != "" && strings.Trim(item, "0123456789-") == "" {
			if err := a.addPort(item); err != nil {
				return Allow{}, err
			}
			continue
		}
		r, err := parseRange(item)
		if err != nil {
			return Allow{}, fmt.Errorf("outgoing-allow: %q: %w", item, err)
		}
		a.ranges = append(a.ranges, r)
	}
	return a, nil
}

// addPort gives a further port or span to the entry read last.
func (a *Allow) addPort(item string) error {
	if len(a.ranges) == 0 || a.ranges[len(a.ranges)-1].ports == nil {
		return fmt.Errorf("outgoing-allow: %q: a port needs an address range with a port before it, such as 10.0.0.0/8:443,%s", item, item)
	}
	span, err := parseSpan(item)
	if err != nil {
		return fmt.Errorf("outgoing-allow: %q: %w", item, err)
	}
	last := &a.ranges[len(a.ranges)-1]
	last.ports = append(last.ports, span)
	return nil
}

// parseRange reads one entry with at most one port or span.
func parseRange(item string) (allowedRange, error) {
	text, ports, hasPorts := cutPorts(item)
	prefix, err := parsePrefix(text)
	if err != nil {
		return allowedRange{}, err
	}
	r := allowedRange{prefix: prefix}
	if hasPorts {
		span, err := parseSpan(ports)
		if err != nil {
			return allowedRange{}, err
		}
		r.ports = []portSpan{span}
	}
	return r, nil
}

// cutPorts separates an entry's range from its ports. After a closing bracket
// or a slash a colon begins the ports; before, it may be part of an IPv6
// address, so that such an address takes ports only in brackets.
func cutPorts(item string) (text, ports string, found bool) {
	if strings.HasPrefix(item, "[") {
		inside, after, closed := strings.Cut(item[1:], "]")
		if !closed {
			return item, "", false // the stray bracket is no prefix
		}
		length, ports, found := strings.Cut(after, ":")
		return inside + length, ports, found
	}
	if addr, length, slashed := strings.Cut(item, "/"); slashed {
		length, ports, found = strings.Cut(length, ":")
		return addr + "/" + length, ports, found
	}
	if strings.Count(item, ":") == 1 {
		return strings.Cut(item, ":")
	}
	return item, "", false
}

// parsePrefix reads a CIDR, or an address as the prefix of itself alone. It
// refuses what would not mean what it seems to: bits after the prefix, zone
// ids, and IPv4 in IPv6 clothes, which never reaches the rules in that form.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if !strings.Contains(text, "/") {
		var addr netip.Addr
		addr, err = netip.ParseAddr(text)
		if err == nil && addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("an address range has no zone id")
		}
		if err == nil {
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
	}
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("not an address range; write 10.0.0.0/8, 10.0.0.0/8:443 or [fd00::/8]:443")
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("write the range as IPv4")
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("has bits set beyond its length; write %s or %s/%d",
			prefix.Masked(), prefix.Addr(), prefix.Addr().BitLen())
	}
	return prefix, nil
}

// parseSpan reads a port, or two with a dash between them.
func parseSpan(text string) (portSpan, error) {
	first, last, isSpan := strings.Cut(text, "-")
	if !isSpan {
		last = first
	}
	low, errLow := strconv.ParseUint(first, 10, 16)
	high, errHigh := strconv.ParseUint(last, 10, 16)
	if err := cmp.Or(errLow, errHigh); err != nil || low == 0 || high < low {
		return portSpan{}, fmt.Errorf("%q is not a port from 1 to 65535, nor a span of them such as 8000-8999", text)
	}
	return portSpan{uint16(low), uint16(high)}, nil
}

// Contains reports whether to is an allowed address at an allowed port. A
// cloud's metadata service hands out the machine's own credentials, so that a
// wide range does not include it: it must be named as a single address.
func (a Allow) Contains(to netip.AddrPort) bool {
	return slices.ContainsFunc(a.ranges, func(r allowedRange) bool {
		return r.prefix.Contains(to.Addr()) && r.contains(to.Port()) &&
			(r.prefix.IsSingleIP() || !metadataService[to.Addr()])
	})
}

// Empty reports whether a adds nothing to the public internet.
func (a Allow) Empty() bool { return len(a.ranges) == 0 }

// String returns a in the form that ParseAllow reads.
func (a Allow) String() string {
	items := make([]string, len(a.ranges))
	for i, r := range a.ranges {
		items[i] = r.String()
	}
	return strings.Join(items, ",")
}

func (r allowedRange) contains(port uint16) bool {
	return r.ports == nil || slices.ContainsFunc(r.ports, func(s portSpan) bool {
		return s.low <= port && port <= s.high
	})
}

func (r allowedRange) String() string {
	if r.ports == nil {
		return r.prefix.String()
	}
	spans := make([]string, len(r.ports))
	for i, s := range r.ports {
		spans[i] = strconv.Itoa(int(s.low))
		if s.high != s.low {
			spans[i] += "-" + strconv.Itoa(int(s.high))
		}
	}
	return r.prefix.String() + ":" + strings.Join(spans, ",")
}
