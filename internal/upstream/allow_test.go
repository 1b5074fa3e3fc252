package upstream_test

import (
	"net/netip"
	"strings"
	"testing"

	"deputy/internal/upstream"
)

func TestParseAllow(t *testing.T) {
	for _, c := range []struct{ in, canonical, inside, outside string }{
		{"10.0.0.0/8", "10.0.0.0/8", "10.1.2.3:1", "11.0.0.0:1"},
		{"10.0.0.0/8:443", "10.0.0.0/8:443", "10.0.0.1:443", "10.0.0.1:444"},
		{"10.0.0.0/8:8000-8999", "10.0.0.0/8:8000-8999", "10.0.0.1:8999", "10.0.0.1:9000"},
		{"10.0.0.0/8:443,8443,9000-9001", "10.0.0.0/8:443,8443,9000-9001", "10.0.0.1:9000", "10.0.0.1:80"},
		{"10.0.0.0/8:443,192.168.0.0/16", "10.0.0.0/8:443,192.168.0.0/16", "192.168.1.1:80", "10.0.0.1:80"},
		{" 10.0.0.0/8:443 , 8443 ", "10.0.0.0/8:443,8443", "10.0.0.1:8443", "10.0.0.1:80"},
		{"10.0.0.7", "10.0.0.7/32", "10.0.0.7:9", "10.0.0.8:9"},
		{"10.0.0.7:9", "10.0.0.7/32:9", "10.0.0.7:9", "10.0.0.7:8"},
		{"fd00::/8", "fd00::/8", "[fd12::1]:443", "[fe00::1]:443"},
		{"fd00::/8:443", "fd00::/8:443", "[fd12::1]:443", "[fd12::1]:80"},
		{"[fd00::/8]:443", "fd00::/8:443", "[fd12::1]:443", "[fd12::1]:80"},
		{"[fd00::]/8:443", "fd00::/8:443", "[fd12::1]:443", "[fd12::1]:80"},
		{"[fd00::1]:443,444", "fd00::1/128:443,444", "[fd00::1]:444", "[fd00::1]:445"},
		{"::1", "::1/128", "[::1]:80", "[::2]:80"},
		{"", "", "", "10.0.0.1:443"},
	} {
		t.Run(c.in, func(t *testing.T) {
			a, err := upstream.ParseAllow(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.String(); got != c.canonical {
				t.Errorf("reads as %q, want %q", got, c.canonical)
			}
			if c.inside != "" && !a.Contains(netip.MustParseAddrPort(c.inside)) {
				t.Errorf("does not contain %s", c.inside)
			}
			if a.Contains(netip.MustParseAddrPort(c.outside)) {
				t.Errorf("contains %s", c.outside)
			}
			if a.Empty() != (c.in == "") {
				t.Errorf("Empty() = %v", a.Empty())
			}
		})
	}
}

func TestParseAllowRefusesWhatIsNotMeant(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/33":              "not an address range",
		"ten":                      "not an address range",
		"example.com:443":          "not an address range",
		"10.0.0.0/8,,127.0.0.1":    "not an address range",
		",":                        "not an address range",
		"[fd00::/8":                "not an address range",
		"fd00::/8]:443":            "not an address range",
		"10.0.0.1/8":               "10.0.0.0/8 or 10.0.0.1/32",
		"fd00::1/8:443":            "fd00::/8 or fd00::1/128",
		"::ffff:10.0.0.0/104":      "as IPv4",
		"::ffff:10.0.0.1":          "as IPv4",
		"fe80::1%eth0":             "zone id",
		"fe80::%eth0/10":           "not an address range",
		"10.0.0.0/8:":              "not a port",
		"10.0.0.0/8:0":             "not a port",
		"10.0.0.0/8:65536":         "not a port",
		"10.0.0.0/8:9-8":           "not a port",
		"10.0.0.0/8:https":         "not a port",
		"10.0.0.0/8:-":             "not a port",
		"10.0.0.0/8:1-":            "not a port",
		"10.0.0.0/8:443,70000":     "not a port",
		"443":                      "before it",
		"10.0.0.0/8,443":           "before it",
		"10.0.0.0/8 192.168.0.0/8": "not an address range",
	} {
		if a, err := upstream.ParseAllow(in); err == nil {
			t.Errorf("%q passes as %q", in, a)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q does not say %q", in, err, want)
		}
	}
}

func FuzzParseAllow(f *testing.F) {
	for _, seed := range []string{
		"", "10.0.0.0/8", "10.0.0.0/8:443,8443,9000-9001", "[fd00::/8]:443", "fd00::/8:1-2,10.0.0.1", "[::1]", "::ffff:1.2.3.4/128", "1:2:3", "[/]:", "443",
	} {
		f.Add(seed)
	}
	probes := []netip.AddrPort{
		netip.MustParseAddrPort("10.0.0.1:443"), netip.MustParseAddrPort("[fd00::1]:443"),
		netip.MustParseAddrPort("8.8.8.8:1"), netip.MustParseAddrPort("169.254.169.254:80"),
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := upstream.ParseAllow(in)
		if err != nil {
			return
		}
		again, err := upstream.ParseAllow(a.String())
		if err != nil || again.String() != a.String() {
			t.Fatalf("%q reads as %q, which reads as %q, %v", in, a, again, err)
		}
		for _, probe := range probes {
			if a.Contains(probe) != again.Contains(probe) {
				t.Fatalf("%q and %q differ on %s", in, a, probe)
			}
		}
	})
}
