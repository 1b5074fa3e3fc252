package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/upstream"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// resolved are addresses that names resolve to; each is refused at the socket.
var resolved = []string{
	"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.0.0.1", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255",
	"192.168.0.1", "100.64.0.1", "100.127.255.255", "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16",
	"100.100.100.200", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.175.48.1", "198.18.0.1", "198.19.255.255",
	"198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1",
	"100::1", "2001::1", "2001:0:7f00:1::1", "2001:2::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::1", "3fff::1", "5f00::1", "4000::1",
	"fc00::1", "fd00::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::1", "fec0::1", "ff02::1", "ff0e::1",
	"127.0.0.1 ::1 10.0.0.1 fd00::1", // one that resolves to many
}

func TestNoPrivateConnection(t *testing.T) {
	w := newWorld(t, "", nil)
	port, accepted := canary(t)
	w.names.set("loopback.example", "127.0.0.1 ::1")
	forms := 0

	for _, raw := range deputytest.PrivateURLs {
		url := strings.ReplaceAll(raw, "PORT", port)
		forms++
		t.Run(fmt.Sprintf("spelled/%.60q", raw), func(t *testing.T) {
			_, err := w.get(url)
			wantKind(t, err, deputy.Invalid)
			_, err = w.Do(context.Background(), upstream.Request{Method: http.MethodPost, URL: url})
			wantKind(t, err, deputy.Invalid)
		})
	}
	for i, addrs := range resolved {
		name := fmt.Sprintf("n%d.inside.example", i)
		w.names.set(name, addrs)
		forms++
		t.Run("resolved/"+addrs, func(t *testing.T) {
			_, err := w.get("https://" + name + ":" + port + "/jwks.json")
			wantKind(t, err, deputy.Unavailable, strings.Fields(addrs)...)
			_, err = w.Do(context.Background(), upstream.Request{Method: http.MethodPost, URL: "https://" + name + ":" + port + "/token"})
			wantKind(t, err, deputy.Unavailable, strings.Fields(addrs)...)
			if got, _, want := strings.Cut(message(t, err), " "); !want || got != name+":"+port {
				t.Errorf("message %q does not begin with the host", message(t, err))
			}
		})
	}
	// Names that the machine itself knows, absolute ones, and odd letter case.
	for _, host := range []string{"localhost", "LOCALHOST", "localhost.", "LoopBack.Example", "loopback.example.", "loopback.example.:" + port, "xn--nothing.example"} {
		forms++
		t.Run("named/"+host, func(t *testing.T) {
			_, err := w.get("https://" + host + "/")
			wantKind(t, err, deputy.Unavailable, "127.0.0.1", "::1")
		})
	}

	if seen := w.dials.take(); len(seen) != 0 || accepted.Load() != 0 {
		t.Errorf("connections were made: %v, accepted %d", seen, accepted.Load())
	}
	if forms < 60 {
		t.Errorf("the corpus has %d forms, want 60 and more", forms)
	}
}

// canary listens on loopback, IPv4 and where there is any IPv6, at one port,
// and counts connections.
func canary(t *testing.T) (port string, accepted *atomic.Int32) {
	t.Helper()
	accepted = new(atomic.Int32)
	four, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(four.Addr().String())
	listeners := []net.Listener{four}
	if six, err := net.Listen("tcp", "[::1]:"+port); err == nil {
		listeners = append(listeners, six)
	}
	for _, l := range listeners {
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				accepted.Add(1)
				conn.Close()
			}
		}()
		t.Cleanup(func() { l.Close() })
	}
	return port, accepted
}

func message(t *testing.T, err error) string {
	t.Helper()
	var e *deputy.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no deputy.Error", err)
	}
	return e.Message
}

// A tenant must not learn from our words whether a name leads inside.
func TestInsideReadsLikeNowhere(t *testing.T) {
	w := newWorld(t, "", nil)
	w.names.set("host.example", "10.0.0.1")
	_, inside := w.get("https://host.example/a")
	w.names.set("host.example", "8.8.8.8") // which the recorder lets nobody reach
	_, unreachable := w.get("https://host.example/b")
	w.names.set("host.example", "")
	_, nowhere := w.get("https://host.example/c")
	if a, b, c := message(t, inside), message(t, unreachable), message(t, nowhere); a != b || a != c {
		t.Errorf("inside reads %q, unreachable %q, unresolved %q", a, b, c)
	}
}

func TestPublicAddressesAtAnyPort(t *testing.T) {
	w := newWorld(t, "", nil)
	w.names.set("four.example", "8.8.8.8")
	w.names.set("six.example", "2606:4700::1111")
	for url, want := range map[string]string{
		"https://four.example/":            "8.8.8.8:443",
		"https://four.example:1/":          "8.8.8.8:1",
		"https://FOUR.example.:65535/":     "8.8.8.8:65535",
		"https://six.example:8443/":        "[2606:4700::1111]:8443",
		"https://1.1.1.1:22/":              "1.1.1.1:22",
		"https://[2606:4700::1001]:6443/x": "[2606:4700::1001]:6443",
		"HTTPS://9.9.9.9":                  "9.9.9.9:443",
	} {
		_, err := w.get(url)
		wantKind(t, err, deputy.Unavailable)
		if !errors.Is(err, errOffTheWire) {
			t.Errorf("%s: %v, want a connection stopped by the recorder", url, err)
		}
		if diff := cmp.Diff([]netip.AddrPort{netip.MustParseAddrPort(want)}, w.dials.take(), compareAddrs); diff != "" {
			t.Errorf("%s dialled (-want +got):\n%s", url, diff)
		}
	}
}

var compareAddrs = cmpopts.EquateComparable(netip.AddrPort{})

func TestRebinding(t *testing.T) {
	w := newWorld(t, "", nil)
	w.names.set("later.example", "8.8.8.8", "10.0.0.1")
	w.names.set("both.example", "8.8.8.8 127.0.0.1")
	public := []netip.AddrPort{netip.MustParseAddrPort("8.8.8.8:443")}

	_, err := w.get("https://later.example/")
	if !errors.Is(err, errOffTheWire) || !cmp.Equal(public, w.dials.take(), compareAddrs) {
		t.Fatalf("the public answer was not dialled: %v", err)
	}
	w.clock.advance(time.Minute)
	_, err = w.get("https://later.example/")
	wantKind(t, err, deputy.Unavailable, "10.0.0.1")
	if seen := w.dials.take(); len(seen) != 0 {
		t.Errorf("after the name moved inside, %v was dialled", seen)
	}

	_, err = w.get("https://both.example/")
	wantKind(t, err, deputy.Unavailable, "127.0.0.1")
	if seen := w.dials.take(); !cmp.Equal(public, seen, compareAddrs) {
		t.Errorf("of a public and a private address %v were dialled", seen)
	}
}

// The name's address changes between a document and its redirect.
func TestRebindingBetweenRedirects(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		http.Redirect(w, r, "/next", http.StatusFound)
	})
	at := netip.MustParseAddrPort(h.Listener.Addr().String())
	w := newWorld(t, fmt.Sprintf("%s:%d", at.Addr(), at.Port()), nil)
	w.names.set("moves.example", "127.0.0.1", "127.0.0.9")
	_, err := w.Get(context.Background(), upstream.Source{URL: fmt.Sprintf("http://moves.example:%d/", at.Port()), Redirects: 3})
	wantKind(t, err, deputy.Unavailable, "127.0.0.")
	if seen := w.dials.take(); !cmp.Equal([]netip.AddrPort{at}, seen, compareAddrs) {
		t.Errorf("dialled %v, want the first address alone", seen)
	}
}

func TestAllowAndDevOpenWhatTheySay(t *testing.T) {
	const (
		passes  = "passes"
		refused = "refused"
	)
	for _, c := range []struct {
		allow string
		dev   bool
		url   string
		want  string
	}{
		{"10.0.0.0/8", false, "https://10.1.2.3:1234/", passes},
		{"10.0.0.0/8", false, "http://10.1.2.3/", passes},
		{"10.0.0.0/8", false, "https://172.16.0.1/", refused},
		{"10.0.0.0/8", false, "https://127.0.0.1/", refused},
		{"10.0.0.0/8", false, "http://8.8.8.8/", refused}, // plain only where allowed
		{"10.0.0.0/8", false, "https://8.8.8.8/", passes},
		{"10.0.0.0/8:443,8000-8100", false, "https://10.0.0.1/", passes},
		{"10.0.0.0/8:443,8000-8100", false, "https://10.0.0.1:8050/", passes},
		{"10.0.0.0/8:443,8000-8100", false, "https://10.0.0.1:8101/", refused},
		{"10.0.0.0/8:443,8000-8100", false, "http://10.0.0.1/", refused},
		{"8.8.8.8:443", false, "https://8.8.8.8:444/", passes}, // narrows nothing
		{"[fd00::/8]:443", false, "https://[fd00::1]/", passes},
		{"[fd00::/8]:443", false, "https://[fd00::1]:444/", refused},
		{"fd00::/8", false, "https://[fd00:ec2::254]/", refused}, // metadata by its own name only
		{"fd00:ec2::254", false, "https://[fd00:ec2::254]/", passes},
		{"0.0.0.0/0", false, "https://169.254.169.254/", refused},
		{"168.63.128.0/17", false, "https://168.63.129.16/", refused},
		{"64:ff9b::/96", false, "https://[64:ff9b::8.8.8.8]/", passes},
		{"64:ff9b::/96", false, "https://[64:ff9b::10.0.0.1]/", refused},
		{"64:ff9b::/96", false, "http://[64:ff9b::8.8.8.8]/", refused},
		{"64:ff9b::/96,10.0.0.0/8", false, "https://[64:ff9b::10.0.0.1]/", passes},
		{"0.0.0.0/0", false, "https://[::ffff:10.0.0.1]/", refused},

		{"", true, "https://127.0.0.1/", passes},
		{"", true, "http://[::1]:8080/", passes},
		{"", true, "http://10.0.0.1/", passes},
		{"", true, "http://[fd00::1]/", passes},
		{"", true, "http://8.8.8.8/", passes},
		{"", true, "http://169.254.169.254/", refused},
		{"", true, "http://[fd00:ec2::254]/", refused},
		{"", true, "http://[fd20:ce::254]/", refused},
		{"", true, "http://168.63.129.16/", refused},
		{"", true, "http://100.100.100.200/", refused},
		{"", true, "http://0.0.0.0/", refused},
		{"", true, "http://224.0.0.1/", refused},
		{"", true, "http://[::ffff:127.0.0.1]/", refused},
		{"", true, "http://[::1%25lo]/", refused},
		{"", true, "http://user@127.0.0.1/", refused},
		{"", true, "http://2130706433/", refused},
		{"169.254.169.254", true, "http://169.254.169.254/", passes},
	} {
		t.Run(fmt.Sprintf("%s dev=%v %s", c.allow, c.dev, c.url), func(t *testing.T) {
			stopped := errors.New("stopped")
			var dials atomic.Int32
			w := newWorld(t, c.allow, func(config *upstream.Config) {
				config.Dev = c.dev
				config.Dialed = func(netip.AddrPort) error { dials.Add(1); return stopped }
			})
			_, err := w.get(c.url)
			if (c.want == passes) != errors.Is(err, stopped) || (c.want == passes) != (dials.Load() > 0) {
				t.Errorf("%v after %d dials, want it to be %s", err, dials.Load(), c.want)
			}
			if c.want == refused {
				wantKind(t, err, deputy.Invalid)
			}
		})
	}
}

// With an Allow, http URLs pass as written; names still go nowhere else.
func TestPlainHTTPStaysWithinAllow(t *testing.T) {
	w := newWorld(t, "10.0.0.0/8", nil)
	w.names.set("public.example", "8.8.8.8")
	w.names.set("inside.example", "10.0.0.1")
	_, err := w.get("http://public.example/")
	wantKind(t, err, deputy.Unavailable, "8.8.8.8")
	if seen := w.dials.take(); len(seen) != 0 {
		t.Errorf("plain http dialled %v", seen)
	}
	_, err = w.get("http://inside.example/")
	wantKind(t, err, deputy.Unavailable, "10.0.0.1")
	if seen := w.dials.take(); len(seen) != 1 {
		t.Errorf("plain http to an allowed address dialled %v", seen)
	}
}

// A proxy would take the rules' place: its address is checked, not the host's.
// The environment is read once in a process, so this one starts another.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	if os.Getenv("HTTP_PROXY") == "" {
		proxy := newHost(t, text("{}"))
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=")
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("with a proxy in the environment: %v\n%s", err, out)
		}
		proxy.wantRequests(t, 0, "a proxy in the environment")
		return
	}
	w := newWorld(t, "127.0.0.0/8,8.8.8.8", nil)
	for _, url := range []string{"http://8.8.8.8/", "https://8.8.8.8/"} {
		if _, err := w.get(url); !errors.Is(err, errOffTheWire) {
			t.Errorf("%v, want the host itself dialled", err)
		}
	}
}
