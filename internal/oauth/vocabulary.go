package oauth

// Grant types (RFC 6749 §4.1, §4.4, §6, RFC 8693 §2.1).
const (
	authorizationCode = "authorization_code"
	refreshToken      = "refresh_token"
	clientCredentials = "client_credentials"
	tokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// Token type identifiers (RFC 8693 §3).
const (
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	// typeSubstitute is not of the RFC: see impersonation.go.
	typeSubstitute = "urn:keycard:params:oauth:token-type:substitute-user"
)

// idTokenTyp is the typ of an ID token's header.
const idTokenTyp = "JWT"

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

// Client authentication methods (RFC 7591 §2, OpenID Connect Core 1.0 §9).
const (
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
	methodKeys  = "private_key_jwt"
	methodNone  = "none"
)

// formType is the one content type of requests (RFC 6749 appendix B).
const formType = "application/x-www-form-urlencoded"

// Event types.
const (
	eventIssue            = "credentials:issue"
	eventAuthenticate     = "clients:authenticate"
	eventEvaluate         = "policies:evaluate" // by a shadow, or of a further resource
	eventLogin            = "users:login"
	eventAuthorize        = "users:authorize"
	eventConsent          = "consents:create"
	eventLogout           = "users:logout"
	eventRegister         = "clients:register"
	eventClientChange     = "clients:change"
	eventSessionEnd       = "sessions:revoke"
	eventRevoke           = "credentials:revoke"
	eventWithdraw         = "consents:delete"
	eventCode             = "users:challenge" // a code was mailed, or tried
	eventVerify           = "users:verify"    // an address was shown to be a person's
	eventPassword         = "users:reset_password"
	eventPasskey          = "users:change_passkeys"
	eventUserCreate       = "users:create"
	eventUserDelete       = "users:delete" // who never showed that the address is theirs
	eventRevokeGrant      = "delegated_grants:revoke"
	eventGrantCreate      = "delegated_grants:create"
	eventGrantRefresh     = "delegated_grants:refresh"
	eventGrantExpire      = "delegated_grants:expire"
	eventGrantWithdraw    = "delegated_grants:withdraw" // revoked at the provider, or not
	eventStreamCreate     = "streams:create"
	eventStreamUpdate     = "streams:update"
	eventStreamDelete     = "streams:delete"
	eventStreamVerify     = "streams:verify"
	eventProviderRegister = "providers:register" // Deputy as its client
)

// Scopes of OpenID Connect (Core 1.0 §5.4, §11).
const (
	scopeOpenID  = "openid"
	scopeProfile = "profile"
	scopeEmail   = "email"
	scopeOffline = "offline_access"
)

var openIDScopes = []string{scopeOpenID, scopeProfile, scopeEmail, scopeOffline}

// Error codes of authorization responses (RFC 6749 §4.1.2.1, OpenID Connect
// Core 1.0 §3.1.2.6, RFC 9101 §6).
const (
	codeUnsupportedResponseType = "unsupported_response_type"
	codeLoginRequired           = "login_required"
	codeConsentRequired         = "consent_required"
	codeInteractionRequired     = "interaction_required"
	codeRequestNotSupported     = "request_not_supported"
	codeInvalidRequestURI       = "invalid_request_uri"
)

// Error codes of registrations (RFC 7591 §3.2.2) and of bearers (RFC 6750 §3.1).
const (
	codeInvalidRedirect   = "invalid_redirect_uri"
	codeInvalidMetadata   = "invalid_client_metadata"
	codeInvalidToken      = "invalid_token"
	codeInsufficientScope = "insufficient_scope"
)
