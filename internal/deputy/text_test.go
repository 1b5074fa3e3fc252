package deputy_test

import (
	"errors"
	"strings"
	"testing"

	"deputy/internal/deputy"

	"pgregory.net/rapid"
)

func TestSafeText(t *testing.T) {
	for text, safe := range map[string]bool{
		"Billing agent":           true,
		"a < b and b > c":         true,
		"größer 日本":               true,
		strings.Repeat("é", 255):  true,
		"":                        false,
		strings.Repeat("é", 256):  false,
		"<b>bold</b>":             false,
		"<script src=x>":          false,
		"<!-- note -->":           false,
		"bell\a":                  false,
		"line\nbreak":             false,
		"next line \u0085 inside": false,
		"\xff":                    false,
	} {
		if err := deputy.SafeText("name", text, 1, 255); (err == nil) != safe {
			t.Errorf("%q: %v", text, err)
		} else if err != nil && !errors.Is(err, deputy.Invalid) {
			t.Errorf("%q: kind of %v", text, err)
		}
	}
}

func TestURI(t *testing.T) {
	for uri, ok := range map[string]bool{
		"https://example.com/callback":    true,
		"http://localhost/callback":       true,
		"com.example.mobile://oauth/back": true,
		"urn:example:thing":               true,
		"https://":                        false,
		"example.com":                     false,
		"/path":                           false,
		"":                                false,
		"https://exa mple.com":            false,
		"https://example.com/" + "\x00":   false,
		"x:" + strings.Repeat("y", 2<<10): false,
	} {
		if err := deputy.URI("uri", uri); (err == nil) != ok {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

func TestSlugsAreURLSafeAndShort(t *testing.T) {
	for name, want := range map[string]string{
		"Google Calendar API": "google-calendar-api",
		"  --Hello,  World! ": "hello-world",
		"日本":                  "resource",
		"":                    "resource",
		"Ünïcode 7":           "n-code-7",
	} {
		if got := deputy.Slug(name, "resource"); got != want {
			t.Errorf("Slug(%q) = %q, want %q", name, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		slug := deputy.NextSlug(deputy.Slug(rapid.String().Draw(t, "name"), "x"))
		if len(slug) > deputy.MaxSlug || strings.Trim(slug, "-") != slug || strings.Contains(slug, "--") {
			t.Fatalf("slug %q", slug)
		}
		for _, r := range slug {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
				t.Fatalf("slug %q", slug)
			}
		}
	})
}

func TestPrefixCoversOnlyAtBoundaries(t *testing.T) {
	for _, c := range []struct {
		identifier, requested string
		covers                bool
	}{
		{"https://h.test/v1", "https://h.test/v1", true},
		{"https://h.test/v1", "https://h.test/v1/a", true},
		{"https://h.test/v1", "https://h.test/v1?x=1", true},
		{"https://h.test/v1", "https://h.test/v1#f", true},
		{"https://h.test/v1", "https://h.test/v10", false},
		{"https://h.test/v1/", "https://h.test/v1/a", true},
		{"https://h.test/v1/", "https://h.test/v1", false},
		{"https://h.test", "https://h.test/anything", true},
		{"https://a.co", "https://a.com", false},
		{"https://a.co", "https://a.co.evil.test", false},
		{"https://a.co", "https://a.co:8443/x", false},
		{"https://a.co", "https://a.co@evil.test/", false},
		{"https://a.co/", "https://a.co/../x", false},
		{"https://a.co/v1", "https://a.co/v1/../admin", false},
		{"https://a.co/v1", "https://a.co/v1/./x", false},
		{"https://a.co/v1", "https://a.co/v1/%2e%2e/admin", false},
		{"https://a.co/v1", "https://a.co/v1/a%2Fb", false},
		{"https://a.co/v1", "https://a.co/v1/a%5cb", false},
		{"https://a.co/v1", `https://a.co/v1/a\b`, false},
		{"https://a.co/v1", "https://a.co/v1?next=../x", true},
		{"HTTPS://a.co/v1", "https://a.co/v1/a", false},
		{"https://", "https://a.co/", false},
		{"urn:x", "urn:x/y", false},
		{"urn:x", "urn:x", true},
		{"", "https://a.co/", false},
	} {
		if got := deputy.Covers(c.identifier, c.requested); got != c.covers {
			t.Errorf("Covers(%q, %q) = %v", c.identifier, c.requested, got)
		}
	}
}

func FuzzCoversStaysOnItsHost(f *testing.F) {
	f.Add("https://a.co/v1", "https://a.co/v1/a")
	f.Add("https://a.co", "https://a.com/../x")
	f.Fuzz(func(t *testing.T, identifier, requested string) {
		if deputy.Covers(identifier, requested) && !strings.HasPrefix(requested, identifier) {
			t.Fatalf("%q covers %q", identifier, requested)
		}
	})
}

func TestClientIDPatterns(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"*":                              true,
		"https://app.example.com/client": true,
		"https://*.example.com":          true,
		"https://*.*.example.com":        false,
		"https://a*.example.com":         false,
		"https://*.example.com/path":     false,
		"https://*.com/":                 false,
		"*.example.com":                  false,
		"https://u@example.com/c":        false,
		"":                               false,
	} {
		z := deputy.Zone{Name: "z", LoginFlow: "default", SigningAlg: "RS256", CIMDClientIDs: []string{pattern}}
		if err := z.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	path := &deputy.Zone{ID: "01kg0000000000000000000000", IssuerForm: deputy.PathIssuer}
	host := &deputy.Zone{ID: "01kg0000000000000000000000", IssuerForm: deputy.HostIssuer}
	a, err := deputy.NewAddresses("https://id.example.com:8443", "zones.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Issuer(path); got != "https://id.example.com:8443/z/01kg0000000000000000000000" {
		t.Error(got)
	}
	if got := a.Issuer(host); got != "https://01kg0000000000000000000000.zones.example.com:8443" {
		t.Error(got)
	}
	if id, ok := a.ZoneOfHost("01KG0000000000000000000000.Zones.example.com:8443"); !ok || id != path.ID {
		t.Error(id, ok)
	}
	for _, other := range []string{"zones.example.com", "a.b.zones.example.com", "01kg0000000000000000000000.example.com", ""} {
		if _, ok := a.ZoneOfHost(other); ok {
			t.Errorf("%q names a zone", other)
		}
	}
	for _, stored := range []string{deputy.STSIdentifier, deputy.VaultIdentifier, deputy.EventsIdentifier, "https://else.example.com"} {
		if got := a.Stored(path, a.Shown(path, stored)); got != stored {
			t.Errorf("%q comes back as %q", stored, got)
		}
	}
	for _, bad := range []string{"", "id.example.com", "https://id.example.com/", "https://ID.example.com", "https://id.example.com:443", "ftp://id.example.com", "https://u@id.example.com", "https://id.example.com?x", "https://id.example.com#"} {
		if _, err := deputy.NewAddresses(bad, ""); err == nil {
			t.Errorf("public URL %q is accepted", bad)
		}
	}
	for _, bad := range []string{"Zones.example.com", "zones.example.com:80", ".example.com", "a/b"} {
		if _, err := deputy.NewAddresses("https://id.example.com", bad); err == nil {
			t.Errorf("zone domain %q is accepted", bad)
		}
	}
}
