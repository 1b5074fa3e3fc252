package oauth

// Grant types (RFC 6749 §4.4, RFC 8693 §2.1).
const (
	clientCredentials = "client_credentials"
	tokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// Token type identifiers (RFC 8693 §3).
const (
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// accessTokenTyp is the typ of an access token's header (RFC 9068 §2.1). An ID
// token, signed with the same keys, has another.
const accessTokenTyp = "at+jwt"

// Values of the claim sub_profile: whom the subject of a token is.
const (
	profileApplication = "app"
	profileUser        = "user"
)

// Error codes (RFC 6749 §5.2, RFC 8707 §2), and two of our own for refusals
// that no new grant and no retry can cure.
const (
	codeInvalidRequest       = "invalid_request"
	codeInvalidClient        = "invalid_client"
	codeInvalidGrant         = "invalid_grant"
	codeUnauthorizedClient   = "unauthorized_client"
	codeUnsupportedGrantType = "unsupported_grant_type"
	codeInvalidScope         = "invalid_scope"
	codeInvalidTarget        = "invalid_target"
	codeAccessDenied         = "access_denied"
	codeInsufficient         = "insufficient_authorization"
	codeUnavailable          = "temporarily_unavailable"
	codeServerError          = "server_error"
	codeNotFound             = "not_found"          // no such zone or endpoint
	codeMethodNotAllowed     = "method_not_allowed" // HTTP, before OAuth begins
)

// formType is the one content type of requests (RFC 6749 appendix B).
const formType = "application/x-www-form-urlencoded"

// Event types.
const (
	eventIssue        = "credentials:issue"
	eventAuthenticate = "clients:authenticate"
	eventEvaluate     = "policies:evaluate" // by a shadow
)
