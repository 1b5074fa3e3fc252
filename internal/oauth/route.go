package oauth

import (
	"net/http"
	"strings"

	"deputy/internal/deputy"
)

// endpoint is what a request is for.
type endpoint int

const (
	notFound endpoint = iota
	tokenEndpoint
	jwksEndpoint
	metadataEndpoint
	serviceTokenEndpoint
	authorizeEndpoint
	pageEndpoint // see page.go
	registrationEndpoint
	pushEndpoint
	introspectEndpoint
	revokeEndpoint
	userInfoEndpoint
	logoutEndpoint
	transmitterEndpoint
	streamEndpoint
	statusEndpoint
	verifyEndpoint
	pollEndpoint
	revocationsEndpoint
)

// endpointNames are what endpoints are called where requests are counted.
var endpointNames = [...]string{
	notFound: "issuer/none", tokenEndpoint: "token", jwksEndpoint: "jwks", metadataEndpoint: "metadata",
	serviceTokenEndpoint: "service-account-token", authorizeEndpoint: "authorize", pageEndpoint: "pages",
	registrationEndpoint: "register", pushEndpoint: "par", introspectEndpoint: "introspect", revokeEndpoint: "revoke",
	userInfoEndpoint: "userinfo", logoutEndpoint: "logout",
	transmitterEndpoint: "ssf-configuration", streamEndpoint: "ssf-stream", statusEndpoint: "ssf-status",
	verifyEndpoint: "ssf-verify", pollEndpoint: "ssf-poll", revocationsEndpoint: "revocations",
}

func (e endpoint) String() string { return endpointNames[e] }

// endpoints are the paths below an issuer. Some clients that could not read
// the metadata fall back to /oauth2.
var endpoints = map[string]endpoint{
	pathToken:        tokenEndpoint,
	"/oauth2/token":  tokenEndpoint,
	pathJWKS:         jwksEndpoint,
	pathAuthorize:    authorizeEndpoint,
	pathRegistration: registrationEndpoint,
	pathPush:         pushEndpoint, "/oauth2/par": pushEndpoint,
	pathIntrospect: introspectEndpoint, "/oauth2/introspect": introspectEndpoint,
	pathRevoke: revokeEndpoint, "/oauth2/revoke": revokeEndpoint,
	pathUserInfo: userInfoEndpoint, pathLogout: logoutEndpoint,
	"/oauth2/register":                        registrationEndpoint,
	"/oauth2/authorize":                       authorizeEndpoint,
	"/.well-known/oauth-authorization-server": metadataEndpoint,
	"/.well-known/openid-configuration":       metadataEndpoint,
	"/.well-known/" + wellKnownStreams:        transmitterEndpoint,
	pathStreams:                               streamEndpoint,
	pathStatus:                                statusEndpoint,
	pathVerify:                                verifyEndpoint,
	pathPoll:                                  pollEndpoint,
	pathRevocations:                           revocationsEndpoint,
}

// endpointAt returns what a path below an issuer is for.
func endpointAt(path string) endpoint {
	if to, ok := endpoints[path]; ok {
		return to
	}
	if isPage(path) {
		return pageEndpoint
	}
	return notFound
}

// below returns the path of a request below the issuer.
func (s *Server) below(r *http.Request) string {
	path := collapse(r.URL.Path)
	if _, ok := s.addresses.ZoneOfHost(r.Host); ok {
		return path
	}
	path = strings.TrimPrefix(path, s.basePath)
	if rest, ok := strings.CutPrefix(path, "/z/"); ok {
		_, path = cutSegment(rest)
	}
	return path
}

// serviceTokenPath is the token endpoint of the management plane.
const serviceTokenPath = "/service-account-token"

// route finds what a request is for. ours is false when it is for none of the
// issuers here, so that another handler may take it. A zone named in host or
// path may not exist.
func (s *Server) route(r *http.Request) (zone deputy.ZoneID, to endpoint, ours bool) {
	path := collapse(r.URL.Path)
	if id, ok := s.addresses.ZoneOfHost(r.Host); ok {
		return id, endpointAt(path), true
	}
	if rest, ok := strings.CutPrefix(path, s.basePath); ok {
		path = rest
	}
	if path == serviceTokenPath {
		return "", serviceTokenEndpoint, true
	}
	if rest, ok := strings.CutPrefix(path, "/z/"); ok {
		id, below := cutSegment(rest)
		if id == "" {
			return "", notFound, true
		}
		return deputy.ZoneID(id), endpointAt(below), true
	}
	if to, ours := planeEndpointAt(path); ours {
		return "", to, true
	}
	rest, ok := strings.CutPrefix(path, "/.well-known/")
	if !ok {
		return "", notFound, false
	}
	for _, name := range append(wellKnown[:len(wellKnown):len(wellKnown)], wellKnownStreams) {
		// RFC 8414 §3.1: the issuer's path follows the well-known part.
		if below, ok := strings.CutPrefix(rest, name+s.basePath+"/z/"); ok {
			id, more := cutSegment(below)
			if more != "" || id == "" {
				return deputy.ZoneID(id), notFound, true
			}
			return deputy.ZoneID(id), endpoints["/.well-known/"+name], true
		}
	}
	if rest == wellKnown[0]+s.basePath {
		return "", metadataEndpoint, true
	}
	return "", notFound, false
}

// cutSegment splits a path after its first segment; rest begins with a slash
// or is empty. A slash at the end alone counts as none.
func cutSegment(path string) (segment, rest string) {
	if i := strings.IndexByte(path, '/'); i >= 0 {
		segment, rest = path[:i], path[i:]
		if rest == "/" {
			rest = ""
		}
		return segment, rest
	}
	return path, ""
}

// collapse makes one slash of several: some clients join an issuer that ends
// in a slash with a path that begins with one, and follow no redirect.
func collapse(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	b := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] != '/' || len(b) == 0 || b[len(b)-1] != '/' {
			b = append(b, path[i])
		}
	}
	return string(b)
}

// methods are what an endpoint answers to, beside OPTIONS.
var methods = map[endpoint][]string{
	tokenEndpoint:        {http.MethodPost},
	serviceTokenEndpoint: {http.MethodPost},
	pushEndpoint:         {http.MethodPost},
	introspectEndpoint:   {http.MethodPost},
	revokeEndpoint:       {http.MethodPost},
	userInfoEndpoint:     {http.MethodGet, http.MethodPost},
	logoutEndpoint:       {http.MethodGet, http.MethodPost},
	registrationEndpoint: {http.MethodPost},
	authorizeEndpoint:    {http.MethodGet, http.MethodPost},
	pageEndpoint:         {http.MethodGet, http.MethodPost},
	jwksEndpoint:         {http.MethodGet, http.MethodHead},
	metadataEndpoint:     {http.MethodGet, http.MethodHead},
	transmitterEndpoint:  {http.MethodGet, http.MethodHead},
	streamEndpoint:       {http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
	statusEndpoint:       {http.MethodGet, http.MethodPost},
	verifyEndpoint:       {http.MethodPost},
	pollEndpoint:         {http.MethodPost},
	revocationsEndpoint:  {http.MethodGet},
}

// preflight answers a browser that asks whether it may call (Fetch §4.8).
func preflight(w http.ResponseWriter, to endpoint) {
	h := w.Header()
	h["Access-Control-Allow-Origin"] = anyone
	h.Set("Access-Control-Allow-Methods", strings.Join(methods[to], ", ")+", OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, MCP-Protocol-Version, X-Client-Request-ID")
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
}
