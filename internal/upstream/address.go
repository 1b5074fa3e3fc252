package upstream

import (
	"errors"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// metadataService has the addresses where clouds hand a machine its own
// credentials. Most lie in ranges that are refused anyway; they are named so
// that neither Dev nor a wide Allow opens them.
var metadataService = map[netip.Addr]bool{
	netip.MustParseAddr("169.254.169.254"): true, // AWS, Azure, GCP, Oracle and others
	netip.MustParseAddr("169.254.170.2"):   true, // AWS ECS tasks
	netip.MustParseAddr("169.254.170.23"):  true, // AWS EKS pods
	netip.MustParseAddr("fd00:ec2::254"):   true, // AWS
	netip.MustParseAddr("fd00:ec2::23"):    true, // AWS EKS pods
	netip.MustParseAddr("fd20:ce::254"):    true, // GCP
	netip.MustParseAddr("100.100.100.200"): true, // Alibaba
	netip.MustParseAddr("192.0.0.192"):     true, // Oracle
	azureWireServer:                        true,
}

// azureWireServer is the one metadata service at a public address.
var azureWireServer = netip.MustParseAddr("168.63.129.16")

// wellKnownNAT64 carries an IPv4 address in its last 32 bits (RFC 6052 §2.1).
var wellKnownNAT64 = netip.MustParsePrefix("64:ff9b::/96")

var (
	errAddressForm = errors.New("an address with a zone id or mapped into IPv6")
	errPlainHTTP   = errors.New("plain http to an address that is not allowed beside the public internet")
)

// rules say which addresses tenants' URLs reach.
type rules struct {
	allow  Allow
	dev    bool
	public *ssrf.Guardian // the IANA special-purpose registries
}

func newRules(allow Allow, dev bool) rules {
	return rules{allow: allow, dev: dev, public: ssrf.New(
		ssrf.WithAnyPort(),
		ssrf.WithDeniedV4Prefixes(netip.PrefixFrom(azureWireServer, 32)),
	)}
}

// check returns nil when a connection to to may be made, secure meaning that
// TLS will run over it. The error names addresses: it is for the log.
func (r rules) check(to netip.AddrPort, secure bool) error {
	addr := to.Addr()
	switch {
	case !addr.IsValid() || addr.Zone() != "" || addr.Is4In6():
		return errAddressForm
	case r.allow.Contains(to):
		if wellKnownNAT64.Contains(addr) {
			// Allowing the translator allows what lies behind it only as far
			// as it could be reached directly.
			wide := addr.As16()
			return r.check(netip.AddrPortFrom(netip.AddrFrom4([4]byte(wide[12:])), to.Port()), secure)
		}
		return nil
	case !secure && !r.dev:
		return errPlainHTTP
	case r.dev && (addr.IsLoopback() || addr.IsPrivate()) && !metadataService[addr]:
		return nil
	}
	return r.public.SafeAddr(addr)
}

// dialControl is the type of net.Dialer.Control.
type dialControl = func(network, address string, conn syscall.RawConn) error

// control returns the function that a dialer runs for each address it is about
// to connect to, after resolution (net.Dialer.Control). dialed, if any, learns
// of the addresses that passed and may still stop them.
func (r rules) control(secure bool, dialed func(netip.AddrPort) error) dialControl {
	return func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if err := r.check(to, secure); err != nil {
			return err
		}
		if dialed != nil {
			return dialed(to)
		}
		return nil
	}
}
