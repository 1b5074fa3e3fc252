package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"deputy/internal/deputy"
	"deputy/internal/pages"
)

// The management plane is one more authorization server: its issuer is the
// public URL, its people are the users of organizations (manager.go), and what
// it hands out are bearers of the management API. Wherever a zone is named, the
// empty one is meant. It has no policies, no scopes and no refresh tokens: what
// a person may do follows from their role, which every call looks up.

// manages reports whether the zone stands for the management plane.
func (z *zone) manages() bool { return z.id == "" }

// newPlane returns what stands for the management plane where a zone is looked
// for.
func newPlane(addresses deputy.Addresses) *zone {
	z := new(zone)
	z.current.Store(&snapshot{
		zone:   &deputy.Zone{Name: "Deputy", RequiresInvitation: true, PKCERequired: true},
		issuer: addresses.PublicURL(), metadata: newDocument(planeMetadata(addresses.PublicURL())),
	})
	return z
}

// planeEndpointAt returns what a path below the public URL is for. ours is false
// where the path is not the authorization server's.
func planeEndpointAt(path string) (to endpoint, ours bool) {
	switch path {
	case pathToken, pathJWKS, pathAuthorize, pathLogout, "/.well-known/" + wellKnown[0]: // not OpenID Connect's: it issues no ID tokens
		return endpoints[path], true
	}
	if _, ok := pageAt("", path); ok || strings.HasPrefix(path, pages.AssetPath) {
		return pageEndpoint, true
	}
	return notFound, strings.HasPrefix(path, "/oauth/2/") || path == pageLogin || strings.HasPrefix(path, pageLogin+"/")
}

// planePages are the pages of the management plane.
var planePages = map[string]page{
	pageLogin:          sitePages[pageLogin],
	pagePassword:       sitePages[pagePassword],
	pageForgotPassword: sitePages[pageForgotPassword],
	pageResetPassword:  sitePages[pageResetPassword],
	pageConsent:        {get: (*Server).planeConsentPage, post: (*Server).answerConsent},
	pageCancel:         sitePages[pageCancel],
	pathRedirect:       sitePages[pathRedirect],
	pageJoined:         {get: (*Server).joinedPage, free: true},
}

// pageAt returns the page at a path below an issuer.
func pageAt(zone deputy.ZoneID, path string) (page, bool) {
	if zone != "" {
		p, ok := sitePages[path]
		return p, ok
	}
	if token, ok := strings.CutPrefix(path, pageInvitations); ok && token != "" && !strings.Contains(token, "/") {
		return page{get: (*Server).invitationPage, post: (*Server).answerInvitation, free: true}, true
	}
	p, ok := planePages[path]
	return p, ok
}

// planeMetadata returns the management plane's metadata document (RFC 8414 §2).
func planeMetadata(issuer string) []byte {
	b := append(make([]byte, 0, 1024), '{')
	b = appendMember(b, "issuer", issuer)
	b = appendMember(b, "authorization_endpoint", issuer+pathAuthorize)
	b = appendMember(b, "token_endpoint", issuer+pathToken)
	b = appendMember(b, "jwks_uri", issuer+pathJWKS)
	b = appendMember(b, "end_session_endpoint", issuer+pathLogout)
	b = append(appendName(b, "response_types_supported"), `["code"]`...)
	b = append(appendName(b, "response_modes_supported"), `["query"]`...)
	b = append(appendName(b, "grant_types_supported"), `["authorization_code","client_credentials"]`...)
	b = append(appendName(b, "code_challenge_methods_supported"), `["S256"]`...)
	b = append(appendName(b, "token_endpoint_auth_methods_supported"), `["client_secret_basic","client_secret_post","none"]`...)
	b = append(appendName(b, "prompt_values_supported"), `["none","login","consent","select_account"]`...)
	b = strconv.AppendBool(appendName(b, "authorization_response_iss_parameter_supported"), true)
	return append(b, '}')
}

// planeDocument serves what is the same for everybody.
func (s *Server) planeDocument(w http.ResponseWriter, r *http.Request, to endpoint) {
	if to == metadataEndpoint {
		s.plane.current.Load().metadata.serve(w)
		return
	}
	held, err := s.platformKeys(r.Context(), platformRetry)
	if err != nil {
		s.refuse(w, s.origin(r), "", asRefusal(err), "")
		return
	}
	held.jwks.serve(w)
}

// planeClients are those that people come to the management plane with: programs
// on their own machine, which can keep no secret.
var planeClients = map[string]*relyingParty{
	"deputy-cli": {
		clientID: "deputy-cli", name: "Deputy command line", trust: trustRegistered,
		redirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback", "http://localhost/callback"},
		client:       &client{id: "deputy-cli"},
	},
}

// checkPlaneRequest checks what a client asks of the management plane, in the
// order of checkRequest.
func (s *Server) checkPlaneRequest(snap *snapshot, p *parameters, l *login) error {
	to := &l.Request
	if len(p.values["state"]) > maxKept {
		return refuse(codeInvalidRequest, "The state is too long.")
	}
	if err := to.read(p); err != nil {
		return err
	}
	if err := to.readChallenge(p, true); err != nil {
		return err
	}
	for _, resource := range p.resource {
		if resource != snap.issuer {
			return refuse(codeInvalidTarget, "Requested authorization for unknown resource %q", clip(resource))
		}
	}
	if _, err := scopes(p.values["scope"]); err != nil { // there are none to grant
		return err
	}
	l.Organization = clip(p.values["organization"])
	return to.readPrompts(p)
}

// proceedPlane takes a transaction of the management plane to whatever is next.
func (s *Server) proceedPlane(w http.ResponseWriter, r *http.Request, l *login) {
	m, err := s.place(r.Context(), l)
	switch {
	case err != nil:
		s.stop(w, r, l, err)
	case l.User == "":
		s.turnTo(w, r, l, pageLogin, codeLoginRequired)
	case l.Request.ClientID == "": // they came to join, or to be somebody again
		s.end(w, r, l)
		redirect(w, r, l.snap.issuer+pageJoined)
	case !l.Consented:
		// Whoever can listen on this machine can be the client: without a click
		// a bearer would be theirs for the asking (RFC 8252 §8.6).
		s.turnTo(w, r, l, pageConsent, codeConsentRequired)
	default:
		answer, err := s.completePlane(r.Context(), l, m)
		if err != nil {
			s.stop(w, r, l, err)
			return
		}
		s.answer(w, r, l, answer)
	}
}

// planeConsentPage asks whether the client may have a bearer of the organization.
func (s *Server) planeConsentPage(v *visitor) {
	l := v.login
	m, err := s.place(v.r.Context(), l)
	switch {
	case err != nil:
		s.stop(v.w, v.r, l, err)
	case m == nil || l.Request.ClientID == "":
		s.proceed(v.w, v.r, l)
	default:
		s.show(v, http.StatusOK, pages.Consent{
			Client: clientShown(planeClients[l.Request.ClientID], l.Request.RedirectURI), User: m.Email,
			Resources: []pages.Asked{{Name: m.organization.Name, Identifier: l.snap.issuer, New: true}},
			Action:    pageConsent, Fields: map[string]string{digestField: m.digest()},
		})
	}
}

// digest tells a person's place in one organization from that in another.
func (m *membershipOf) digest() string {
	sum := sha256.Sum256([]byte(string(m.OrganizationID) + "\x00" + string(m.ID)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// approvePlane takes the person's yes to what the consent page showed.
func (s *Server) approvePlane(w http.ResponseWriter, r *http.Request, l *login, shown string) {
	m, err := s.place(r.Context(), l)
	if err != nil {
		s.stop(w, r, l, err)
		return
	}
	l.Consented = m != nil && shown == m.digest()
	s.proceed(w, r, l)
}

// planeCode is what a code of the management plane stands for.
type planeCode struct {
	Request      authorizationRequest  `json:"request"`
	Organization deputy.OrganizationID `json:"organization"`
	Account      deputy.ID             `json:"account"`
}

// completePlane ends the transaction with a code, if the person is still a user
// of the organization.
func (s *Server) completePlane(ctx context.Context, l *login, m *membershipOf) (url.Values, error) {
	event := s.personalEvent(l, eventAuthorize, m.person())
	code := deputy.NewSecret()
	says := &planeCode{l.Request, m.OrganizationID, m.ID}
	err := s.store.Write(ctx, event, func(tx deputy.Tx) error {
		if l.begun {
			if _, err := tx.TakeTicket(ctx, deputy.LoginTicket, "", deputy.HashSecret(l.secret)); err != nil {
				return ended(err)
			}
		}
		if err := stillMember(ctx, tx, m.OrganizationID, m.ID); err != nil {
			return err
		}
		t, err := newTicket(deputy.CodeTicket, "", code, says, tx.Now(), codeLives)
		if err != nil {
			return err
		}
		return tx.PutTicket(ctx, t)
	})
	return url.Values{"code": {code.Reveal()}}, err
}

// redeemPlane gives a client the bearer that a code stands for (RFC 6749 §4.1.3,
// RFC 7636 §4.6). The code is used up in the commit that records the bearer.
func (s *Server) redeemPlane(ctx context.Context, form *tokenRequest, claimed *claimant, from *origin) (*credential, error) {
	c := planeClients[form.clientID]
	if c == nil || claimed.proven {
		return nil, s.failures.count(errClient, failure{address: from.address, clientID: claimed.name()})
	}
	if err := s.limited(from, s.platform.owner, c.clientID+" "+from.address); err != nil {
		return nil, err
	}
	t, err := s.store.Ticket(ctx, deputy.CodeTicket, "", deputy.HashSecret(form.code))
	if err != nil {
		if unlessAbsent(err) == nil {
			err = errCode
		}
		return nil, err
	}
	var says planeCode
	if err := openTicket(t, form.code, &says); err != nil {
		return nil, err
	}
	switch q := &says.Request; {
	case q.ClientID != c.clientID:
		return nil, errCode
	case form.redirectURI != q.RedirectURI && (q.Redirect || form.redirectURI != ""):
		return nil, errRedirect
	case !verifies(q.Challenge, form.codeVerifier):
		return nil, errVerifier
	case slices.ContainsFunc(form.resource, func(r string) bool { return r != s.addresses.PublicURL() }):
		return nil, refuse(codeInvalidTarget, "The bearer is for the management API and nothing else.")
	}
	minted, err := s.issueBearer(ctx, deputy.BearerRequest{
		Organization: says.Organization, Account: says.Account, ClientID: c.clientID, GrantType: authorizationCode,
		RequestID: from.requestID, IP: from.address, UserAgent: from.userAgent,
	}, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.TakeTicket(ctx, deputy.CodeTicket, "", t.Key)
		return err
	})
	if deputy.KindOf(err) == deputy.Denied || deputy.KindOf(err) == deputy.NotFound {
		return nil, refuse(codeInvalidGrant, "The person is no longer a user of the organization.").because(err)
	}
	return minted, err
}
