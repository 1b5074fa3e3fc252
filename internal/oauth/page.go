package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"deputy/internal/deputy"
	"deputy/internal/pages"
)

// Paths of pages, below the issuer, beside those that proceed knows.
const (
	pagePassword       = "/login/password"
	pageSignUp         = "/login/signup"
	pageForgotPassword = "/login/forgot-password"
	pageResetPassword  = "/login/reset-password"
	pagePasskey        = "/login/passkey"
	pageCancel         = "/login/cancel"
	pageAuthorize      = "/login/authorize"
	pageAuthorized     = "/login/authorized"
	pageAccount        = "/account"
	pathRedirect       = "/oauth/2/redirect"
)

// visitor is who looks at a page, and what they sent: one request for one page.
type visitor struct {
	w    http.ResponseWriter
	r    *http.Request
	from *origin
	zone *zone
	snap *snapshot
	form url.Values // of a form that was sent, else of the address
	// login is the transaction that the browser is in; nil on pages that need
	// none.
	login *login
}

// page is what answers at one path: when it is looked at, and when its form is
// sent. A page in a transaction has it found, and its forms checked, before.
type page struct {
	get, post func(*Server, *visitor)
	// free pages need no transaction: they check what they are sent themselves.
	free bool
}

// sitePages has the pages of every issuer.
var sitePages = map[string]page{
	pageLogin:          {get: (*Server).identifierPage, post: (*Server).identify},
	pagePassword:       {get: (*Server).passwordPage, post: (*Server).checkPassword},
	pageSignUp:         {get: (*Server).signUpPage, post: (*Server).signUp},
	pageVerifyEmail:    {get: (*Server).verifyPage, post: (*Server).verifyEmail, free: true},
	pageForgotPassword: {get: (*Server).forgotPage, post: (*Server).forgot},
	pageResetPassword:  {get: (*Server).resetPage, post: (*Server).reset, free: true},
	pagePasskey:        {post: (*Server).checkPasskey},
	pageConsent:        {get: (*Server).consentPage, post: (*Server).answerConsent},
	pageConnect:        {get: (*Server).connectPage, post: (*Server).answerConnection},
	pageCancel:         {post: (*Server).cancel},
	pageAuthorize:      {get: (*Server).beginAuthorize, free: true},
	pageAuthorized:     {get: (*Server).authorizedPage, free: true},
	pathRedirect:       {get: (*Server).returned, post: (*Server).returned, free: true},

	pageAccount:               {get: (*Server).accountPage, free: true},
	pageAccount + "/sessions": {post: (*Server).endOneSession, free: true},
	pageAccount + "/consents": {post: (*Server).withdrawConsent, free: true},
	pageAccount + "/grants":   {post: (*Server).revokeGrant, free: true},
	pageAccount + "/password": {get: (*Server).changePasswordPage, post: (*Server).changePassword, free: true},
	pageAccount + "/passkeys": {get: (*Server).addPasskeyPage, post: (*Server).changePasskeys, free: true},
	pageAccount + "/sign-out": {post: (*Server).signOutHere, free: true},
}

// isPage reports whether a path below an issuer is one of a page, or of what
// pages load.
func isPage(path string) bool {
	_, ok := sitePages[path]
	return ok || strings.HasPrefix(path, pages.AssetPath)
}

// page answers at a page of an issuer.
func (s *Server) page(w http.ResponseWriter, r *http.Request, id deputy.ZoneID) {
	path := s.below(r)
	if name, ok := strings.CutPrefix(path, pages.AssetPath); ok {
		if r.Method != http.MethodGet || !pages.ServeAsset(w, name) {
			s.refuse(w, s.origin(r), id, errNoEndpoint, "")
		}
		return
	}
	from := s.origin(r)
	from.decides(s.now())
	z, snap, err := s.current(r.Context(), id)
	if err != nil {
		s.showRefusal(w, r, from, id, err)
		return
	}
	v := &visitor{w: w, r: r, from: from, zone: z, snap: snap}
	p, _ := pageAt(id, path)
	if err := s.admit(v, p); err != nil {
		s.showRefusal(w, r, from, id, err)
		return
	}
	answer := p.get
	if r.Method == http.MethodPost {
		answer = p.post
	}
	if answer == nil {
		s.showRefusal(w, r, from, id, refuse(codeMethodNotAllowed, "The method is not allowed here."))
		return
	}
	answer(s, v)
}

// admit reads what the visitor sent and finds their transaction. It refuses
// forms that are not from one of our pages.
func (s *Server) admit(v *visitor, p page) error {
	v.form = v.r.URL.Query()
	if v.r.Method == http.MethodPost {
		body, err := readForm(v.r)
		if err != nil {
			return err
		}
		if v.form, err = url.ParseQuery(body); err != nil {
			return errEncoding
		}
	}
	if p.free {
		return nil
	}
	l, err := s.login(v.r, v.zone, v.snap, v.from)
	if err != nil {
		return err
	}
	v.login = l
	if v.r.Method == http.MethodPost {
		return l.checkForm(v.text(csrfField))
	}
	return nil
}

// csrfField is what forms bring a token in.
const csrfField = "csrf_token"

// maxField bounds one field of a form.
const maxField = 64 << 10

// text returns a field of the form; one that is too long, or there twice, is
// none.
func (v *visitor) text(name string) string {
	if all := v.form[name]; len(all) == 1 && len(all[0]) <= maxField {
		return all[0]
	}
	return ""
}

// frame returns what is around a page, whose forms bring back the token.
func (s *Server) frame(r *http.Request, snap *snapshot, token string) pages.Frame {
	f := pages.Frame{Name: "Deputy", Issuer: s.addresses.PublicURL(), Token: token, Languages: pages.Languages("", r.Header.Get("Accept-Language"))}
	if snap != nil {
		f.Name, f.Seed, f.Issuer = snap.zone.Name, string(snap.zone.ID), snap.issuer
	}
	if u, err := url.Parse(f.Issuer); err == nil {
		f.Base = u.Path
	}
	return f
}

// show answers with a page of the visitor's transaction, from which the browser
// may be sent on to the client.
func (s *Server) show(v *visitor, status int, p pages.Page) {
	f := s.frame(v.r, v.snap, "")
	if l := v.login; l != nil {
		f.Token = l.csrf()
		f.Languages = pages.Languages(l.Request.UILocales, v.r.Header.Get("Accept-Language"))
		if l.Request.RedirectURI != "" {
			f.Targets = append(f.Targets, l.Request.RedirectURI)
		}
	}
	pages.Write(v.w, status, f, p)
}

// problem shows a page once more, with what was wrong.
func (s *Server) problem(v *visitor, m pages.Message, p pages.Page) {
	status := http.StatusBadRequest
	switch m {
	case pages.Throttled:
		status = http.StatusTooManyRequests
		v.w.Header().Set("Retry-After", "60")
	case pages.Busy:
		status = http.StatusServiceUnavailable
		v.w.Header().Set("Retry-After", "2")
	}
	s.show(v, status, p)
}

// fail ends a request that went wrong in a way that its page has no word for.
// The transaction goes on, if there is one.
func (s *Server) fail(v *visitor, err error) {
	s.showRefusal(v.w, v.r, v.from, v.zone.id, err)
}

// turn sends the browser to another page of the zone, with the progress kept.
func (s *Server) turn(v *visitor, page string) {
	if v.login != nil {
		if err := s.save(v.r.Context(), v.w, v.login); err != nil {
			s.fail(v, err)
			return
		}
	}
	redirect(v.w, v.r, v.snap.issuer+page)
}

// disabled tells a person that they may not sign in, before the client hears of
// it.
func (s *Server) disabled(v *visitor) {
	s.show(v, http.StatusForbidden, pages.Error{Problem: pages.ErrorDisabled, Back: pageCancel})
}

// cancel ends the transaction of a person who may not go on.
func (s *Server) cancel(v *visitor) {
	s.abandon(v.w, v.r, v.login, refuse(codeAccessDenied, "The sign-in was not completed."))
}

// showRefusal answers a browser with a page about what is wrong.
func (s *Server) showRefusal(w http.ResponseWriter, r *http.Request, from *origin, zone deputy.ZoneID, err error) {
	refused := asRefusal(err)
	refused.log(s.log, from, zone)
	status := refused.httpStatus()
	if status == http.StatusUnauthorized {
		status = http.StatusBadRequest // there is nobody to challenge
	}
	if refused.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(refused.retryAfter.Seconds())))
	}
	var snap *snapshot
	if zone != "" && refused.code != codeNotFound {
		if _, known, err := s.zone(r.Context(), zone); err == nil {
			snap = known
		}
	}
	p := pages.Error{Problem: pages.ErrorRequest, Code: refused.code, Description: refused.description, RequestID: from.requestID}
	switch {
	case errors.Is(err, errNoLogin):
		p = pages.Error{Problem: pages.ErrorExpired, Code: refused.code, Description: refused.description, RequestID: from.requestID}
	case errors.Is(err, errForged):
		p = pages.Error{Problem: pages.ErrorForged, Code: refused.code, RequestID: from.requestID}
	case errors.Is(err, errProvider):
		p.Problem = pages.ErrorProvider
	case status == http.StatusTooManyRequests:
		p = pages.Error{Problem: pages.ErrorThrottled}
	case status >= http.StatusInternalServerError:
		p.Problem = pages.ErrorInternal
	}
	pages.Write(w, status, s.frame(r, snap, ""), p)
}
