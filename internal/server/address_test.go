package server_test

import (
	"net/http/httptest"
	"testing"

	"deputy/internal/server"
)

func TestClientAddress(t *testing.T) {
	const proxies = "10.0.0.0/8, 192.0.2.1, 2001:db8::/32"
	for name, c := range map[string]struct {
		trusted, peer string
		forwarded     []string
		want          string
	}{
		"no proxies trusted":                   {"", "198.51.100.7:4000", nil, "198.51.100.7"},
		"a spoofed header, nobody trusted":     {"", "198.51.100.7:4000", []string{"203.0.113.9"}, "198.51.100.7"},
		"a spoofed header from an outsider":    {proxies, "198.51.100.7:4000", []string{"203.0.113.9"}, "198.51.100.7"},
		"through a proxy":                      {proxies, "10.1.2.3:4000", []string{"203.0.113.9"}, "203.0.113.9"},
		"through a proxy named alone":          {proxies, "192.0.2.1:4000", []string{"203.0.113.9"}, "203.0.113.9"},
		"beside a proxy named alone":           {proxies, "192.0.2.2:4000", []string{"203.0.113.9"}, "192.0.2.2"},
		"through two proxies":                  {proxies, "10.1.2.3:4000", []string{"203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		"in two headers":                       {proxies, "10.1.2.3:4000", []string{"203.0.113.9", "10.9.9.9"}, "203.0.113.9"},
		"a forged beginning":                   {proxies, "10.1.2.3:4000", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		"a forged beginning in its own header": {proxies, "10.1.2.3:4000", []string{"10.0.0.1", "1.1.1.1", "203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		"proxies all the way":                  {proxies, "10.1.2.3:4000", []string{"10.4.4.4, 10.9.9.9"}, "10.4.4.4"},
		"a proxy without the header":           {proxies, "10.1.2.3:4000", nil, "10.1.2.3"},
		"an empty header":                      {proxies, "10.1.2.3:4000", []string{""}, "10.1.2.3"},
		"garbage":                              {proxies, "10.1.2.3:4000", []string{"unknown"}, "10.1.2.3"},
		"garbage before a proxy":               {proxies, "10.1.2.3:4000", []string{"1.1.1.1, <script>, 10.9.9.9"}, "10.9.9.9"},
		"an address with a port":               {proxies, "10.1.2.3:4000", []string{"203.0.113.9:80"}, "10.1.2.3"},
		"spaces":                               {proxies, "10.1.2.3:4000", []string{"  203.0.113.9  "}, "203.0.113.9"},
		"IPv6":                                 {proxies, "[2001:db8::1]:4000", []string{"2001:4860::8"}, "2001:4860::8"},
		"an IPv6 outsider":                     {proxies, "[2001:4860::8]:4000", []string{"203.0.113.9"}, "2001:4860::8"},
		"IPv4 in IPv6":                         {proxies, "[::ffff:10.1.2.3]:4000", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"IPv6 with a zone":                     {proxies, "[fe80::1%eth0]:4000", []string{"203.0.113.9"}, "fe80::1%eth0"},
		"no address at all":                    {proxies, "@", []string{"203.0.113.9"}, "@"},
	} {
		t.Run(name, func(t *testing.T) {
			address, err := server.ClientAddress(c.trusted)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			for _, line := range c.forwarded {
				r.Header.Add("X-Forwarded-For", line)
			}
			r.Header.Set("Forwarded", "for=1.2.3.4")
			r.Header.Set("X-Real-Ip", "1.2.3.4")
			if got := address(r); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestTrustedProxiesThatAreNoAddresses(t *testing.T) {
	for _, list := range []string{"proxy", "10.0.0.0/33", "10.0.0.0/8,example.com", "10.0.0.1:80", "::1/129"} {
		if _, err := server.ClientAddress(list); err == nil {
			t.Errorf("%q is accepted", list)
		}
	}
	for _, list := range []string{"", ",", " 10.0.0.0/8 , ::1 ,", "10.1.2.3/8"} {
		if _, err := server.ClientAddress(list); err != nil {
			t.Errorf("%q: %v", list, err)
		}
	}
}
