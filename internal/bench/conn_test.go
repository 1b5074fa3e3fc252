package bench_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"deputy/internal/bench"
)

func TestAnswersAreReadToTheirEnd(t *testing.T) {
	for _, c := range []struct {
		name, wire, body string
		status           int
		last             bool
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 200, false},
		{"any case", "HTTP/1.1 404 Not Found\r\ncOnTeNt-LeNgTh:2\r\n\r\nno", "no", 404, false},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nB;x=y\r\n, big world\r\n0\r\nX-Sum: 1\r\n\r\n", "hello, big world", 200, false},
		{"chunks win over a length", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "hi", 200, false},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", "", 204, false},
		{"not modified has no body whatever it says", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "", 304, false},
		{"interim", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 200, false},
		{"asks to close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", "x", 200, true},
		{"old", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", 200, true},
		{"old but kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", "x", 200, false},
		{"until the end", "HTTP/1.1 200 OK\r\n\r\nall of it", "all of it", 200, true},
		{"no reason phrase", "HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", "", 503, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body, last, err := bench.ReadResponse(strings.NewReader(c.wire))
			if err != nil || status != c.status || string(body) != c.body || last != c.last {
				t.Errorf("got %d %q last=%v err=%v, want %d %q last=%v", status, body, last, err, c.status, c.body, c.last)
			}
		})
	}
}

func TestBrokenAnswersAreErrors(t *testing.T) {
	for name, wire := range map[string]string{
		"nothing":           "",
		"not HTTP":          "SSH-2.0-OpenSSH_9.6\r\n\r\n",
		"odd status":        "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
		"status below 100":  "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
		"cut in the head":   "HTTP/1.1 200 OK\r\nContent-Le",
		"cut in the body":   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
		"no colon":          "HTTP/1.1 200 OK\r\nContent-Length 5\r\n\r\nhello",
		"two lengths":       "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"negative length":   "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"length of gigs":    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
		"another encoding":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"old with chunks":   "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"odd chunk size":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
		"chunk of gigs":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFF\r\n",
		"chunk overruns":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
		"cut in the chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"line too long":     "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n",
		"endless head":      "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: x\r\n", 1000) + "\r\n",
		"endless interim":   strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100),
		"endless trailers":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: x\r\n", 1000) + "\r\n",
	} {
		if status, body, _, err := bench.ReadResponse(strings.NewReader(wire)); err == nil {
			t.Errorf("%s: read as %d %q", name, status, body)
		}
	}
}

// Whatever both our reader and net/http accept they read alike.
func FuzzReadResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nT: t\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 200 OK\r\n\r\nuntil the end"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		status, body, _, err := bench.ReadResponse(bytes.NewReader(wire))
		if err != nil {
			return
		}
		if status < 200 || status > 999 {
			t.Fatalf("final status %d", status)
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(wire)), nil)
		if err != nil || theirs.StatusCode < 200 {
			return
		}
		defer theirs.Body.Close()
		want, err := io.ReadAll(theirs.Body)
		if err != nil {
			return
		}
		if status != theirs.StatusCode || !bytes.Equal(body, want) {
			t.Fatalf("read as %d %q, net/http says %d %q", status, body, theirs.StatusCode, want)
		}
	})
}
