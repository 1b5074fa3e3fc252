package server

import "net/http"

// ClientAddress is clientAddress behind the text of its setting.
func ClientAddress(trusted string) (func(*http.Request) string, error) {
	prefixes, err := parsePrefixes(trusted)
	return clientAddress(prefixes), err
}

// Check refuses settings that contradict each other.
func (c *Config) Check() error { return c.check() }

// HandlerAround returns the server's handler with another management API.
func (s *Server) HandlerAround(api http.Handler) http.Handler {
	other := *s
	other.api = api
	return other.handler()
}

// ListensOn returns the address that the server listens on, as a URL.
func (s *Server) ListensOn() string { return "http://" + s.listener.Addr().String() }

// Config returns the settings.
func (s *Server) Config() *Config { return &s.cfg }
