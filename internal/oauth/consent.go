package oauth

import (
	"net/http"
	"net/url"
	"slices"

	"deputy/internal/pages"
)

// digestField carries what the consent page showed, so that what is approved is
// that and nothing else.
const digestField = "shown"

// consentPage shows what a client asks for, all of it on one page.
func (s *Server) consentPage(v *visitor) {
	a, err := s.assess(v.r.Context(), v.login)
	if err != nil || a.user == nil || len(v.login.pending(a)) == 0 {
		s.proceed(v.w, v.r, v.login)
		return
	}
	s.show(v, http.StatusOK, s.consent(v.login, a))
}

// consent returns the page for what an assessment asks.
func (s *Server) consent(l *login, a *assessment) pages.Consent {
	p := pages.Consent{
		Client: clientShown(a.client, l.Request.RedirectURI), User: displayName(a.user),
		Personal: l.Request.OpenID, Action: pageConsent, Fields: map[string]string{digestField: a.digest()},
	}
	for _, w := range l.pending(a) {
		asked := pages.Asked{Name: w.Name, Identifier: w.identifier, New: w.isNew}
		if len(w.pacts) > 1 && a.owner != nil {
			asked.Through = a.owner.application.Name
		}
		for _, scope := range w.scopes {
			asked.Scopes = append(asked.Scopes, pages.AskedScope{Name: scope, New: !w.isNew && !slices.Contains(w.known, scope)})
		}
		p.Renewed = p.Renewed || !w.isNew
		p.Resources = append(p.Resources, asked)
	}
	return p
}

// clientShown returns a client as people see it, and where it has the answer
// sent.
func clientShown(c *relyingParty, redirectURI string) pages.Client {
	shown := pages.Client{Name: c.name, Trust: trustShown[c.trust], ID: c.clientID}
	if shown.Name == "" {
		shown.Name = c.clientID
	}
	if u, err := url.Parse(redirectURI); err == nil && redirectURI != "" {
		shown.Host = u.Host
		if u.Scheme != "https" && u.Scheme != "http" {
			shown.Host = u.Scheme + ":"
		}
		shown.Loopback = u.Scheme == "http" && isLoopback(u.Hostname())
	}
	return shown
}

var trustShown = map[trust]pages.Trust{
	trustRegistered: pages.Registered, trustDocument: pages.MetadataDocument, trustSelfRegistered: pages.SelfRegistered,
}

// answerConsent takes the person's answer.
func (s *Server) answerConsent(v *visitor) {
	switch v.text("action") {
	case "approve":
		s.approve(v.w, v.r, v.login, v.text(digestField))
	case "deny":
		s.deny(v.w, v.r, v.login)
	default:
		s.fail(v, refuse(codeInvalidRequest, "The answer is missing."))
	}
}

// beginAuthorize lets a person authorize one resource for one client without
// the client asking: whoever is told that consent is missing finds the way here
// in error_uri. Nothing is handed out in the end.
func (s *Server) beginAuthorize(v *visitor) {
	ctx := v.r.Context()
	clientID, resource := v.text("client_id"), v.text("resource")
	if clientID == "" || resource == "" {
		s.fail(v, refuse(codeInvalidRequest, "The parameters client_id and resource are needed."))
		return
	}
	c, err := s.relyingParty(ctx, v.zone, v.snap, clientID, v.from)
	if err == nil && c == nil {
		err = refuse(codeInvalidClient, "The application is not known.")
	}
	var wanted target
	if err == nil {
		wanted, err = v.snap.target([]string{resource})
	}
	if err != nil {
		s.fail(v, err)
		return
	}
	l := &login{zone: v.zone, snap: v.snap, from: v.from}
	l.Started, l.Return = v.from.at, pageAuthorized
	l.Request.ClientID, l.Request.Resources, l.Request.Scopes = clientID, []string{resource}, wanted.Scopes
	if err := s.recognize(ctx, v.r, l); err != nil {
		s.fail(v, err)
		return
	}
	s.proceed(v.w, v.r, l)
}

// authorizedPage says that a resource was authorized.
func (s *Server) authorizedPage(v *visitor) {
	s.show(v, http.StatusOK, pages.Done{What: pages.DoneApproved})
}
