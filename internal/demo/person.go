package demo

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// Person is somebody at a browser: they follow where pages lead, type what a
// form asks them for, and agree to what they are asked.
type Person struct {
	Email, Password string
	// Code returns the code that was mailed to them.
	Code func(context.Context) (string, error)

	browser *http.Client
}

// NewPerson returns a person whose browser, which keeps cookies, speaks with h.
func NewPerson(email, password string, h *http.Client) (*Person, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := *h
	browser.Jar = jar
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Person{Email: email, Password: password, browser: &browser}, nil
}

// Cookies returns the Cookie header that the person's browser sends to an
// address.
func (p *Person) Cookies(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	var all []string
	for _, c := range p.browser.Jar.Cookies(u) {
		all = append(all, c.Name+"="+c.Value)
	}
	return strings.Join(all, "; ")
}

// maxPages bounds how far a person follows.
const maxPages = 40

// Visit opens an address and goes on until the browser is sent to one that
// begins with until, which it returns, or is shown a page that asks for nothing
// more, whose text it returns.
func (p *Person) Visit(ctx context.Context, address, until string) (arrived *url.URL, page string, err error) {
	next, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	for range maxPages {
		if err != nil {
			return nil, "", err
		}
		answer, err := p.browser.Do(next)
		if err != nil {
			return nil, "", err
		}
		body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
		answer.Body.Close()
		if err != nil {
			return nil, "", err
		}
		if answer.StatusCode >= http.StatusBadRequest {
			return nil, "", fmt.Errorf("%s answered %s: %s", next.URL, answer.Status, heading(string(body)))
		}
		to, err := answer.Location()
		if errors.Is(err, http.ErrNoLocation) {
			to, err = leads(next.URL, string(body))
		}
		switch {
		case err != nil:
			return nil, "", err
		case to == nil:
			if next, err = p.fill(ctx, next.URL, string(body)); next == nil {
				return nil, string(body), err
			}
		case until != "" && strings.HasPrefix(to.String(), until):
			return to, "", nil
		default:
			next, err = http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
		}
		if err != nil {
			return nil, "", err
		}
	}
	return nil, "", errors.New("the pages lead nowhere")
}

var (
	refreshPattern = regexp.MustCompile(`<meta http-equiv="refresh" content="0;url=([^"]*)"`)
	formPattern    = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)"[^>]*>(.*?)</form>`)
	inputPattern   = regexp.MustCompile(`<input [^>]*>`)
	namePattern    = regexp.MustCompile(` name="([^"]*)"`)
	valuePattern   = regexp.MustCompile(` value="([^"]*)"`)
	headingPattern = regexp.MustCompile(`<h1>([^<]*)</h1>`)
)

// leads returns where a page leads by itself, or nil.
func leads(from *url.URL, page string) (*url.URL, error) {
	m := refreshPattern.FindStringSubmatch(page)
	if m == nil {
		return nil, nil
	}
	return from.Parse(html.UnescapeString(m[1]))
}

// heading returns what a page is about.
func heading(page string) string {
	if m := headingPattern.FindStringSubmatch(page); m != nil {
		return html.UnescapeString(m[1])
	}
	return "no page of ours"
}

// fill sends the first form of a page that the person has an answer for; there
// is no request where none asks for one.
func (p *Person) fill(ctx context.Context, from *url.URL, page string) (*http.Request, error) {
	for _, m := range formPattern.FindAllStringSubmatch(page, -1) {
		fields := inputs(m[2])
		answered, err := p.answer(ctx, fields)
		if err != nil {
			return nil, err
		}
		if answered {
			return p.form(ctx, from, m[1], fields)
		}
	}
	return nil, nil
}

// inputs returns the fields of a form.
func inputs(form string) url.Values {
	fields := url.Values{}
	for _, input := range inputPattern.FindAllString(form, -1) {
		name, value := namePattern.FindStringSubmatch(input), valuePattern.FindStringSubmatch(input)
		if name == nil {
			continue
		}
		fields.Set(html.UnescapeString(name[1]), "")
		if value != nil {
			fields.Set(html.UnescapeString(name[1]), html.UnescapeString(value[1]))
		}
	}
	return fields
}

// answer puts in what the person knows, and reports whether a form asks for it.
func (p *Person) answer(ctx context.Context, fields url.Values) (bool, error) {
	switch {
	case fields.Has("identifier"):
		fields.Set("identifier", p.Email)
	case fields.Has("password"):
		fields.Set("username", p.Email)
		fields.Set("password", p.Password)
	case fields.Has("code"):
		code, err := p.Code(ctx)
		if err != nil {
			return false, err
		}
		fields.Set("code", code)
	case fields.Get("action") == "approve":
	default:
		return false, nil
	}
	return true, nil
}

// form returns the request that sends a form.
func (p *Person) form(ctx context.Context, from *url.URL, action string, fields url.Values) (*http.Request, error) {
	to, err := from.Parse(html.UnescapeString(action))
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(fields.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r, nil
}

// Revoke takes back, on an account page, that something of a name may be reached
// for the person.
func (p *Person) Revoke(ctx context.Context, account, name string) error {
	_, page, err := p.Visit(ctx, account, "")
	if err != nil {
		return err
	}
	from, err := url.Parse(account)
	if err != nil {
		return err
	}
	for item := range strings.SplitSeq(page, "<li>") {
		m := formPattern.FindStringSubmatch(item)
		if m == nil || !strings.HasSuffix(m[1], "/account/grants") || !strings.Contains(item, html.EscapeString(name)) {
			continue
		}
		r, err := p.form(ctx, from, m[1], inputs(m[2]))
		if err != nil {
			return err
		}
		answer, err := p.browser.Do(r)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusSeeOther {
			return fmt.Errorf("the account page answered %s", answer.Status)
		}
		return nil
	}
	return fmt.Errorf("the account page does not show %s", name)
}
