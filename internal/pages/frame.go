package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Frame is what is around every page.
type Frame struct {
	// Name is the zone's or the organization's, as its people know it.
	Name string
	// Seed chooses the colour: the same one, the same colour.
	Seed string
	// Base is the path that every link begins with: the issuer's, empty at the
	// root of its origin.
	Base string
	// Issuer is shown small, so that people can see where they are.
	Issuer string
	// Token goes into each form, against forgery.
	Token string
	// Targets are the addresses, beside the page's own origin, that sending a
	// form may end at. Browsers stop any other redirect.
	Targets []string
	// Languages are those that the reader prefers, best first.
	Languages []string
}

// Mark returns the first letter of the name.
func (f Frame) Mark() string {
	r, _ := utf8.DecodeRuneInString(f.Name)
	if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
		return "·"
	}
	return strings.ToUpper(string(r))
}

// hues is how many colours the stylesheet has.
const hues = 12

// Hue returns the number of the frame's colour.
func (f Frame) Hue() int {
	sum := 0
	for _, b := range []byte(f.Seed) {
		sum = sum*31 + int(b)
		sum %= 1 << 20
	}
	return sum % hues
}

// Host returns the issuer without its scheme.
func (f Frame) Host() string {
	_, host, found := strings.Cut(f.Issuer, "://")
	if !found {
		return f.Issuer
	}
	return host
}

//go:embed template
var templateFiles embed.FS

// templates has every page in every language, from when the first is drawn.
var templates = sync.OnceValue(parseAll)

func parseAll() map[string]map[string]*template.Template {
	names, err := templateFiles.ReadDir("template")
	if err != nil {
		panic(err)
	}
	out := make(map[string]map[string]*template.Template)
	for language, m := range messages {
		funcs := template.FuncMap{"t": m.text, "has": m.has, "asset": assetName}
		layout := template.Must(template.New("layout.html").Funcs(funcs).ParseFS(templateFiles, "template/layout.html"))
		out[language] = make(map[string]*template.Template)
		for _, file := range names {
			name := strings.TrimSuffix(file.Name(), ".html")
			if name == "layout" {
				continue
			}
			page := template.Must(layout.Clone())
			out[language][name] = template.Must(page.ParseFS(templateFiles, path.Join("template", file.Name())))
		}
	}
	return out
}

// view is what a template sees.
type view struct {
	Frame    Frame
	Page     Page
	Language string
}

// Write answers with a page.
func Write(w http.ResponseWriter, status int, f Frame, p Page) {
	language := choose(f.Languages)
	var out bytes.Buffer
	if err := templates()[language][p.template()].Execute(&out, view{f, p, language}); err != nil {
		panic(fmt.Errorf("pages: drawing %s: %w", p.template(), err)) // a page that the tests have not drawn
	}
	h := w.Header()
	protect(h, f.Targets)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", language)
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // a reader who has gone needs no page
}

// protect sets the headers that a page, or a redirect away from one, travels
// under: nothing may frame it, keep it or learn from it where it came from.
func protect(h http.Header, targets []string) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action "+formAction(targets))
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// formAction returns where forms may lead: browsers check each redirect that
// answers a form, so that the client's own address must be there.
func formAction(targets []string) string {
	out := "'self'"
	for _, target := range targets {
		if s := source(target); s != "" {
			out += " " + s
		}
	}
	return out
}

// source returns the narrowest source expression that covers target (CSP Level
// 3 §2.3.1): the address itself, else its origin, else its scheme.
func source(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme == "" {
		return ""
	}
	scheme := strings.ToLower(u.Scheme)
	if u.Host == "" || strings.HasPrefix(u.Host, "[") || strings.IndexFunc(u.Host, notOfHost) >= 0 {
		return scheme + ":" // no host that the grammar has a word for
	}
	at := scheme + "://" + strings.ToLower(u.Host)
	if escaped := u.EscapedPath(); strings.IndexFunc(escaped, notOfPath) < 0 {
		return at + escaped
	}
	return at
}

func notOfHost(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("-.:_", r) }

// notOfPath keeps to what can neither end a directive nor an expression.
func notOfPath(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("-._~/%:@!$&()*+=", r) }

func alphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
