package sink

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// Syslog sends each event as a message of RFC 5424 over TCP, each with its
// length before it (RFC 6587 §3.4.1), over TLS as RFC 5425 says.
//
// Syslog has no acknowledgement. A batch counts as delivered when it was
// written and the collector has not closed the connection a moment later; what
// lay in its buffers when it died is lost with it.
type Syslog struct {
	address string
	tls     *tls.Config // nil: plain
	host    string
	conn    net.Conn
	gone    chan struct{} // closed when the collector closes conn
}

// ParseSyslog reads tls://HOST:6514 or tcp://HOST:601.
func ParseSyslog(text string) (*Syslog, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("must be tls://HOST:PORT or tcp://HOST:PORT")
	}
	s := &Syslog{host: "-"}
	if name, err := os.Hostname(); err == nil && len(name) <= 255 && printable(name) {
		s.host = name
	}
	port := u.Port()
	switch u.Scheme {
	case "tls":
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
		if port == "" {
			port = "6514"
		}
	case "tcp":
		if port == "" {
			port = "601"
		}
	default:
		return nil, errors.New("must be tls://HOST:PORT or tcp://HOST:PORT")
	}
	s.address = net.JoinHostPort(u.Hostname(), port)
	return s, nil
}

// printable reports whether a text is PRINTUSASCII (RFC 5424 §6).
func printable(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool { return r < 33 || r > 126 }) < 0
}

const (
	// facility is "log audit", RFC 5424 §6.2.1.
	facility = 13
	// afterwards is how long a collector has to say that it is not there any more.
	afterwards = 100 * time.Millisecond
)

// message returns the event as a message with its length.
func (s *Syslog) message(e *Event) ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	severity := 6 // informational
	if e.StatusID != 1 {
		severity = 5 // notice
	}
	kind := e.Metadata.EventCode
	if len(kind) > 32 || !printable(kind) {
		kind = "-"
	}
	at := time.UnixMilli(e.Time).UTC().Format("2006-01-02T15:04:05.000Z")
	m := fmt.Appendf(nil, "<%d>1 %s %s deputy - %s - \xef\xbb\xbf%s", 8*facility+severity, at, s.host, kind, body)
	return append(fmt.Appendf(nil, "%d ", len(m)), m...), nil
}

// Deliver writes the batch.
func (s *Syslog) Deliver(ctx context.Context, b Batch) (err error) {
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.conn == nil {
		if s.conn, err = s.dial(ctx); err != nil {
			return err
		}
		s.gone = make(chan struct{})
		go func(conn net.Conn, gone chan struct{}) { // a collector says nothing
			defer close(gone)
			_, _ = io.Copy(io.Discard, conn)
		}(s.conn, s.gone)
	}
	var out []byte
	for _, e := range b.Events {
		m, err := s.message(e)
		if err != nil {
			return err
		}
		out = append(out, m...)
	}
	deadline, _ := ctx.Deadline()
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if _, err := s.conn.Write(out); err != nil {
		return err
	}
	return s.stillThere(ctx)
}

func (s *Syslog) dial(ctx context.Context) (net.Conn, error) {
	d := &net.Dialer{Timeout: 5 * time.Second}
	if s.tls == nil {
		return d.DialContext(ctx, "tcp", s.address)
	}
	return (&tls.Dialer{NetDialer: d, Config: s.tls}).DialContext(ctx, "tcp", s.address)
}

// stillThere waits a moment for the collector to close the connection.
func (s *Syslog) stillThere(ctx context.Context) error {
	select {
	case <-s.gone:
		return errors.New("the collector closed the connection")
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(afterwards):
		return nil
	}
}

// Close closes the connection, if there is one.
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	<-s.gone
	s.conn = nil
	return err
}
