package bench

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"deputy/internal/deputy"

	"github.com/go-json-experiment/json"
)

// FloorSecret is the client secret a Floor accepts, from any client_id.
const FloorSecret = "floor-secret-of-43-characters-aaaaaaaaaaaaaa"

// A Floor is the least server that could honestly answer a token request: at
// POST /token it parses the form, compares the hash of the client secret, fills
// in and signs a JWT access token, waits until a 400-byte record has reached
// the disk (one sync for all callers that wait together) and answers. It keeps
// no state, looks nothing up and decides nothing, so its rate is the ceiling a
// real token endpoint is compared with. GET /hello answers a constant: the
// ceiling of net/http itself. It belongs in a process of its own, so that it
// can have a core of its own.
type Floor struct {
	Algorithm string // ES256, RS256, or none for a signature of zeros
	AuditFile string // where records go, truncated at the start; empty: no records
	Now       func() time.Time
}

// Serve answers on the listener until ctx ends. A Floor that cannot be run as
// described is a deputy.Invalid error.
func (f Floor) Serve(ctx context.Context, ln net.Listener) error {
	defer ln.Close()
	sign, err := f.signer()
	if err != nil {
		return err
	}
	h := &floorHandler{
		now:    f.Now,
		sign:   sign,
		secret: sha256.Sum256([]byte(FloorSecret)),
		header: base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + f.Algorithm + `","kid":"floor-signing-key","typ":"at+jwt"}`)),
	}
	if f.AuditFile != "" {
		file, err := os.OpenFile(f.AuditFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return deputy.Bad("AuditFile", "cannot write %s", f.AuditFile).Because(err)
		}
		defer file.Close()
		// With one processor a goroutine that waits for the disk would hold it.
		if runtime.GOMAXPROCS(0) < 2 {
			runtime.GOMAXPROCS(2)
		}
		h.journal = newJournal(file)
		defer h.journal.close()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "hello, world\n")
	})
	mux.Handle("POST /token", h)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}

// signer returns the function that signs the two first parts of a JWT
// (RFC 7515 §5.1) with a fresh key.
func (f Floor) signer() (func([]byte) ([]byte, error), error) {
	switch f.Algorithm {
	case "ES256":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return func(input []byte) ([]byte, error) {
			digest := sha256.Sum256(input)
			r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
			if err != nil {
				return nil, err
			}
			signature := make([]byte, 64) // RFC 7518 §3.4: r and s, 32 bytes each
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
			return signature, nil
		}, err
	case "RS256":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		return func(input []byte) ([]byte, error) {
			digest := sha256.Sum256(input)
			return rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		}, err
	case "none":
		return func([]byte) ([]byte, error) { return make([]byte, 64), nil }, nil
	}
	return nil, deputy.Bad("Algorithm", "want ES256, RS256 or none, not %q", f.Algorithm)
}

type floorHandler struct {
	now     func() time.Time
	sign    func([]byte) ([]byte, error)
	secret  [sha256.Size]byte
	header  string   // of every token, encoded
	journal *journal // nil: no records
}

// floorClaims has as many and as long members as a delegated token of ours.
type floorClaims struct {
	Issuer   string     `json:"iss"`
	Subject  string     `json:"sub"`
	Audience string     `json:"aud"`
	Expiry   int64      `json:"exp"`
	IssuedAt int64      `json:"iat"`
	ID       string     `json:"jti"`
	ClientID string     `json:"client_id"`
	Scope    string     `json:"scope,omitempty"`
	Actor    floorActor `json:"act"`
}

type floorActor struct {
	Subject string `json:"sub"`
}

type floorAnswer struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type"`
	TokenType       string `json:"token_type"`
	ExpiresIn       int    `json:"expires_in"`
	Scope           string `json:"scope,omitempty"`
}

func (h *floorHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 256<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
		return
	}
	id, secret, ok := r.BasicAuth()
	if !ok {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	sum := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(sum[:], h.secret[:]) != 1 {
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return
	}
	answer, err := h.answer(id, r.PostForm.Get("resource"), r.PostForm.Get("scope"))
	if err != nil {
		http.Error(w, `{"error":"server_error"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.Write(answer)
}

// answer signs a token, has its record on disk and returns the response body.
func (h *floorHandler) answer(client, resource, scope string) ([]byte, error) {
	var id [16]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	now := h.now().Unix()
	claims, err := json.Marshal(&floorClaims{
		Issuer:   "https://floor.example.test/z/01jd0000000000000000000000",
		Subject:  client,
		Audience: resource,
		Expiry:   now + 3600,
		IssuedAt: now,
		ID:       hex.EncodeToString(id[:]),
		ClientID: client,
		Scope:    scope,
		Actor:    floorActor{Subject: client},
	})
	if err != nil {
		return nil, err
	}
	token := make([]byte, 0, 1024)
	token = append(token, h.header...)
	token = append(token, '.')
	token = base64.RawURLEncoding.AppendEncode(token, claims)
	signature, err := h.sign(token)
	if err != nil {
		return nil, err
	}
	token = append(token, '.')
	token = base64.RawURLEncoding.AppendEncode(token, signature)
	if h.journal != nil {
		if err := h.journal.record(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(&floorAnswer{
		AccessToken:     string(token),
		IssuedTokenType: "urn:ietf:params:oauth:token-type:access_token",
		TokenType:       "Bearer",
		ExpiresIn:       3600,
		Scope:           scope,
	})
}

// recordSize is the size of one audit record in bytes.
const recordSize = 400

// A journal makes records durable. Callers that arrive while a sync is under
// way join one group, which is written and synced as a whole next.
type journal struct {
	file *os.File
	wake chan struct{} // holds one signal
	quit chan struct{} // closed to end the writer
	over chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	waiting *group
}

type group struct {
	records int
	done    chan struct{}
	err     error // set before done is closed
}

func newJournal(file *os.File) *journal {
	j := &journal{
		file: file, wake: make(chan struct{}, 1), quit: make(chan struct{}), over: make(chan struct{}),
		waiting: &group{done: make(chan struct{})},
	}
	go j.write()
	return j
}

// record returns when one more record is on disk.
func (j *journal) record() error {
	j.mu.Lock()
	g := j.waiting
	g.records++
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default: // the writer is going to look anyway
	}
	select {
	case <-g.done:
		return g.err
	case <-j.over:
		return os.ErrClosed
	}
}

func (j *journal) write() {
	defer close(j.over)
	var buf []byte
	for {
		select {
		case <-j.wake:
		case <-j.quit:
			return
		}
		// Whoever is ready to run may still join this group; on one core most
		// groups would be of one without this.
		runtime.Gosched()
		j.mu.Lock()
		g := j.waiting
		j.waiting = &group{done: make(chan struct{})}
		j.mu.Unlock()
		if g.records == 0 {
			continue
		}
		if need := g.records * recordSize; len(buf) < need {
			buf = make([]byte, need)
		}
		if _, g.err = j.file.Write(buf[:g.records*recordSize]); g.err == nil {
			g.err = syncData(j.file)
		}
		close(g.done)
	}
}

// close ends the writer; a caller still waiting gets an error.
func (j *journal) close() {
	close(j.quit)
	<-j.over
}
