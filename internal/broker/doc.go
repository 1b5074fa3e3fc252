// Package broker is Deputy as a client of the authorization servers of others:
// where their endpoints are, what they are asked, and what their answers mean.
// It owns the ways in which they differ from the standards and from one
// another, so that nobody else knows of them: a provider's settings, and a few
// tables here, say all that is special about one.
//
//	server.go    a provider's settings, completed by what it says of itself
//	ask.go       where a person is sent, and what the token endpoint is asked
//	answer.go    the tokens in an answer, or what is wrong with it
//	register.go  Deputy as a client, made where there is none yet
//
// It keeps nothing: what to do with tokens, who may have them and when to ask
// again is for the caller, as is writing down a registration.
//
// Standards: RFC 6749 §4.1, §4.4, §5, §6, RFC 7009, RFC 7591, RFC 7636, RFC
// 8414, RFC 8707, RFC 9207, OpenID Connect Discovery 1.0.
package broker
