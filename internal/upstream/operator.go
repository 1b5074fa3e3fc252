package upstream

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// Operator returns the client for endpoints that the operator configures and
// no tenant can name: key services, telemetry, object stores. It has no address
// rules, cache or circuit, nor a limit on the whole call, since the SDKs that
// it is injected into bring their own; like the rest it uses no proxy and
// follows no redirect.
func (f *Fetcher) Operator() *http.Client { return f.operator }

// OperatorClient returns such a client for those who have no fetcher: a command
// that does not serve.
func OperatorClient() *http.Client {
	dialer := &net.Dialer{Timeout: connectTimeout}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                 nil,
			DialContext:           dialer.DialContext,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   connectTimeout,
			ResponseHeaderTimeout: 30 * time.Second,
			ForceAttemptHTTP2:     true,
			MaxIdleConns:          32,
			MaxIdleConnsPerHost:   16,
			IdleConnTimeout:       90 * time.Second,
		},
	}
}
