// Package demo holds the programs around a zone that `deputy demo` runs: the
// ones a reader would write to use Deputy. They are real HTTP servers and
// clients that know a zone by its issuer only and share nothing with the server
// that issues their tokens.
//
//	         1 discover      2 client_credentials
//	┌───────┐ ·············· ┌────────────────────┐
//	│ Agent │ ─────────────▶ │ the zone's issuer  │ ◀──┐ 4 token exchange
//	└───┬───┘                └────────────────────┘    │   (RFC 8693)
//	    │ 3 tools/call          ▲ JWKS      ▲ JWKS     │
//	    ▼                       ·           ·          │
//	┌─────────────────────────────┐     ┌────────────┐ │
//	│ NewNotesMCP: an MCP server  │ ──▶ │ NewNotes:  │ │
//	│ with tools                  │  5  │ a REST API │ │
//	└──────────────┬──────────────┘     └────────────┘ │
//	               └───────────────────────────────────┘
//
// The agent calls the MCP server without a token, follows the challenge to the
// authorization server (RFC 9728, RFC 8414), asks it for a token for exactly
// that MCP server (RFC 6749 §4.4, RFC 8707), and calls a tool. The MCP server
// never passes the agent's token on: it exchanges it for one of its own for the
// API, in which the agent remains the subject and the MCP server is the actor.
// Both servers check tokens offline, with the zone's published keys; verify.go
// is the part a resource server of one's own would copy.
//
// A Story has the steps of the demonstration, from making the zone to reading
// its log, and a second half in which a person lets an assistant use an account
// at a CodeHost. A Narrator tells the steps in a terminal.
//
// Every part takes the HTTP client it speaks with from outside and a clock.
package demo

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// A Site is a place on this machine where one of the servers answers. It has
// its address before it has its handler, because a resource server is
// registered with its zone by address before it can be configured.
type Site struct {
	URL string // http://127.0.0.1:PORT

	ln     net.Listener
	server *http.Server
	over   chan struct{}
}

// Listen takes a free port on 127.0.0.1. Connections wait until Serve.
func Listen() (*Site, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &Site{URL: "http://" + ln.Addr().String(), ln: ln}, nil
}

// Serve begins to answer with h. It is called once.
func (s *Site) Serve(h http.Handler) {
	s.server = &http.Server{Handler: http.MaxBytesHandler(h, 1<<20), ReadHeaderTimeout: 10 * time.Second}
	s.over = make(chan struct{})
	go func() {
		defer close(s.over)
		s.server.Serve(s.ln) // ends with ErrServerClosed by Close
	}()
}

// Close finishes the requests under way, two seconds at most, and frees the
// port.
func (s *Site) Close() error {
	if s.server == nil {
		return s.ln.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	<-s.over
	return err
}
