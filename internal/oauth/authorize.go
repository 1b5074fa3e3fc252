package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"deputy/internal/deputy"
)

// authorize answers at a zone's authorization endpoint (RFC 6749 §3.1): with a
// page where the client or where its answer may go is in doubt, else with the
// way to the sign-in pages or straight back to the client.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, from *origin) {
	ctx := r.Context()
	z, snap, err := s.current(ctx, id)
	if err != nil {
		s.refuse(w, from, id, asRefusal(err), "")
		return
	}
	from.decides(s.now())
	p, err := readParameters(r)
	if err != nil {
		s.showRefusal(w, r, from, id, err)
		return
	}
	l := &login{zone: z, snap: snap, from: from}
	l.Started = from.at
	if p.values["request_uri"] != "" && !z.manages() {
		s.authorizePushed(w, r, l, p)
		return
	}
	c, err := s.checkClient(ctx, z, snap, p, &l.Request, from)
	if err != nil {
		s.showRefusal(w, r, from, id, err)
		return
	}
	l.Request.State = p.values["state"]
	if z.manages() {
		err = s.checkPlaneRequest(snap, p, l)
	} else {
		err = s.checkRequest(snap, c, p, &l.Request)
	}
	if err != nil {
		s.abandon(w, r, l, err)
		return
	}
	s.begin(w, r, l)
}

// authorizePushed goes on with a request that was pushed.
func (s *Server) authorizePushed(w http.ResponseWriter, r *http.Request, l *login, p *parameters) {
	request, err := s.pull(r, l.zone, p)
	if err != nil {
		s.showRefusal(w, r, l.from, l.zone.id, err)
		return
	}
	l.Request = *request
	s.begin(w, r, l)
}

// begin begins the transaction of a checked request.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, l *login) {
	if err := s.recognize(r.Context(), r, l); err != nil {
		s.abandon(w, r, l, err)
		return
	}
	s.proceed(w, r, l)
}

// readParameters returns the parameters of a request, in its address or its
// form.
func readParameters(r *http.Request) (*parameters, error) {
	raw := r.URL.RawQuery
	if r.Method == http.MethodPost {
		body, err := readForm(r)
		if err != nil {
			return nil, err
		}
		raw += "&" + body
	}
	return parseParameters(raw)
}

// checkClient finds the client and where its answer may go. Whatever fails here
// is told to the person, not to the client.
func (s *Server) checkClient(ctx context.Context, z *zone, snap *snapshot, p *parameters, to *authorizationRequest, from *origin) (*relyingParty, error) {
	id, err := p.once("client_id")
	if err != nil {
		return nil, err
	}
	given, err := p.once("redirect_uri")
	if err != nil {
		return nil, err
	}
	if id == "" {
		return nil, refuse(codeInvalidRequest, "The parameter client_id is missing.")
	}
	c, err := s.relyingParty(ctx, z, snap, id, from)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, refuse(codeInvalidClient, "The application that sent you here is not known.")
	}
	registered := c.redirectURIs
	to.ClientID, to.RedirectURI, to.Redirect = id, given, given != ""
	if given == "" {
		isOpenID := slices.Contains(strings.Fields(p.values["scope"]), scopeOpenID)
		if len(registered) != 1 || isOpenID || !safeRedirect(registered[0]) {
			return nil, refuse(codeInvalidRequest, "The parameter redirect_uri is missing.")
		}
		to.RedirectURI = registered[0]
		return c, nil
	}
	if !matchRedirect(registered, given) {
		return nil, refuse(codeInvalidRequest, "The redirect_uri is not registered for the application that sent you here.")
	}
	return c, nil
}

// checkRequest checks what the client asks for, in the order that decides which
// error it gets.
func (s *Server) checkRequest(snap *snapshot, c *relyingParty, p *parameters, to *authorizationRequest) error {
	if len(p.values["state"]) > maxKept {
		return refuse(codeInvalidRequest, "The state is too long.")
	}
	if err := to.read(p); err != nil {
		return err
	}
	if err := to.readChallenge(p, snap.zone.PKCERequired || c.isPublic()); err != nil {
		return err
	}
	if err := to.readResources(snap, p.resource); err != nil {
		return err
	}
	if err := to.readScopes(p); err != nil {
		return err
	}
	if err := to.readPrompts(p); err != nil {
		return err
	}
	return s.readHint(snap, p, to)
}

// readResources takes over the resources, each once.
func (r *authorizationRequest) readResources(snap *snapshot, identifiers []string) error {
	for _, identifier := range identifiers {
		if !slices.Contains(r.Resources, identifier) {
			r.Resources = append(r.Resources, identifier)
		}
	}
	for i, identifier := range r.Resources {
		t, err := snap.target([]string{identifier})
		if err == nil {
			err = snap.obtainable(t.resource, i == 0)
		}
		if err != nil {
			return err
		}
	}
	if len(r.Resources) > 0 {
		return nil
	}
	t, err := snap.defaultTarget()
	if err != nil {
		return err
	}
	return snap.obtainable(t.resource, true)
}

// obtainable refuses a resource for which a person can get no credential. The
// primary one, whose token the client gets, must be one that the zone signs for.
func (s *snapshot) obtainable(r *resource, primary bool) error {
	if r.CredentialProviderID == nil {
		return refuse(codeInvalidTarget, "Resource %q is missing a credential provider", r.identifier)
	}
	p := s.providers[*r.CredentialProviderID]
	switch {
	case p == nil:
		return refuse(codeInvalidTarget, "The resource is missing a credential provider.")
	case primary && p.Type != deputy.STSProvider:
		return refuse(codeInvalidTarget, "Resource %q cannot be the first one of a request: its credential is not a token of this zone.", r.identifier)
	}
	return nil
}

// readHint takes over whom the client expects, from an ID token that it was
// given before; one that has expired is as good.
func (s *Server) readHint(snap *snapshot, p *parameters, to *authorizationRequest) error {
	hint := p.values["id_token_hint"]
	if hint == "" {
		return nil
	}
	claims, err := snap.readIDToken(s.now(), hint)
	if err != nil {
		return refuse(codeInvalidRequest, "The parameter id_token_hint is not an ID token of this zone.").because(err)
	}
	to.Hinted = claims.Subject
	return nil
}

// recognize takes up the person's web session, if the browser has one that is
// good enough for the request.
func (s *Server) recognize(ctx context.Context, r *http.Request, l *login) error {
	session, user, err := s.browser(ctx, r, l.zone.id, l.snap)
	if err != nil || session == nil {
		return err
	}
	q := &l.Request
	switch {
	case q.prompts(promptLogin), q.prompts(promptSelect):
	case q.MaxAge != nil && s.now().Sub(session.AuthenticatedAt) > time.Duration(*q.MaxAge)*time.Second:
	case q.Hinted != "" && q.Hinted != user.Identifier:
	default:
		l.User, l.Session = user.ID, session.ID
	}
	return nil
}

// abandon ends the transaction with an error, which the client is told; where
// no client waits, the person is.
func (s *Server) abandon(w http.ResponseWriter, r *http.Request, l *login, err error) {
	refused := asAnswer(err)
	refused.log(s.log, l.from, l.zone.id)
	if l.User != "" {
		if err := s.recordAuthorization(r.Context(), l, refused); err != nil {
			s.log.ErrorContext(l.from.ctx, "a refused authorization was not recorded", "zone_id", string(l.zone.id), "request_id", l.from.requestID, "cause", err)
		}
	}
	s.answerRefused(w, r, l, refused)
}

// abandonRecorded is abandon with what is in the log already.
func (s *Server) abandonRecorded(w http.ResponseWriter, r *http.Request, l *login, refused *refusal) {
	refused.log(s.log, l.from, l.zone.id)
	s.answerRefused(w, r, l, refused)
}

// answerRefused forgets the transaction and tells the client, or the person
// where none waits.
func (s *Server) answerRefused(w http.ResponseWriter, r *http.Request, l *login, refused *refusal) {
	s.end(w, r, l)
	if l.Request.RedirectURI == "" {
		s.showRefusal(w, r, l.from, l.zone.id, refused)
		return
	}
	answerClient(w, r, &l.Request, l.snap.issuer, url.Values{"error": {refused.code}, "error_description": {refused.description}})
}

// asAnswer is asRefusal in the words of an authorization response (RFC 6749
// §4.1.2.1).
func asAnswer(err error) *refusal {
	var off *deputy.Off
	if errors.As(err, &off) && off.OfSubject() {
		return refuse(codeAccessDenied, "The account can no longer be used here.").because(off)
	}
	return asRefusal(err)
}

// end forgets the transaction.
func (s *Server) end(w http.ResponseWriter, r *http.Request, l *login) {
	if !l.begun {
		return
	}
	s.dropCookie(w, loginCookie, l.zone.id)
	if err := s.store.DropTicket(context.WithoutCancel(r.Context()), deputy.LoginTicket, l.zone.id, deputy.HashSecret(l.secret)); err != nil {
		s.log.Error("a login transaction was not removed", "zone_id", string(l.zone.id), "cause", err)
	}
}
