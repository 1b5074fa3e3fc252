package deputytest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// KMS is a key management service that speaks AWS KMS's wire protocol: JSON 1.1,
// with requests signed by Signature Version 4, which it checks.
type KMS struct {
	URL string
	// AccessKey and SecretKey are those of the only caller there is.
	AccessKey, SecretKey string
	// Now is the service's clock.
	Now func() time.Time

	aead cipher.AEAD

	mu   sync.Mutex
	keys map[string]string // the organization that each may be used for
	off  map[string]string // why a key cannot be used
	down bool
	uses []KMSUse
}

// KMSUse is one call that was let through to a key.
type KMSUse struct {
	Operation, Key string
	Context        map[string]string
}

// NewKMS starts a service without keys.
func NewKMS(t testing.TB) *KMS {
	var secret [32]byte
	rand.Read(secret[:])
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	k := &KMS{Now: time.Now, AccessKey: "AKIDEXAMPLE", SecretKey: rand.Text(), aead: aead, keys: map[string]string{}, off: map[string]string{}}
	s := httptest.NewServer(k)
	t.Cleanup(s.Close)
	k.URL = s.URL
	return k
}

// Environment is what makes a program use the service.
func (k *KMS) Environment() map[string]string {
	return map[string]string{"AWS_ENDPOINT_URL_KMS": k.URL, "AWS_ACCESS_KEY_ID": k.AccessKey, "AWS_SECRET_ACCESS_KEY": k.SecretKey}
}

// Allow makes a key, if there is none, and lets it be used for an organization
// alone, as the policy of a key does.
func (k *KMS) Allow(arn, organization string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[arn] = organization
	delete(k.off, arn)
}

// Refuse has a key refused with an exception.
func (k *KMS) Refuse(arn, exception string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.off[arn] = exception
}

// Down makes the service answer nothing but faults of its own, or ends that.
func (k *KMS) Down(down bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = down
}

// Uses returns the calls that were let through.
func (k *KMS) Uses() []KMSUse {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.uses)
}

// ServeHTTP answers a call.
func (k *KMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	refuse := func(status int, exception string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": exception, "message": "no"})
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var in struct {
		KeyID             string `json:"KeyId"`
		Plaintext         []byte
		CiphertextBlob    []byte
		EncryptionContext map[string]string
	}
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	switch {
	case k.down:
		refuse(http.StatusInternalServerError, "KMSInternalException")
		return
	case r.Method != http.MethodPost || !ok || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" || json.Unmarshal(body, &in) != nil:
		refuse(http.StatusBadRequest, "SerializationException")
		return
	case !k.signed(r, body):
		refuse(http.StatusBadRequest, "UnrecognizedClientException")
		return
	}
	organization, known := k.keys[in.KeyID]
	switch off := k.off[in.KeyID]; {
	case !known:
		refuse(http.StatusBadRequest, "NotFoundException")
		return
	case off != "":
		refuse(http.StatusBadRequest, off)
		return
	case in.EncryptionContext["organization_id"] != organization:
		refuse(http.StatusBadRequest, "AccessDeniedException")
		return
	}
	bound := []byte(in.KeyID)
	for _, name := range slices.Sorted(maps.Keys(in.EncryptionContext)) {
		bound = append(append(append(append(bound, 0), name...), 0), in.EncryptionContext[name]...)
	}
	k.uses = append(k.uses, KMSUse{operation, in.KeyID, in.EncryptionContext})
	switch operation {
	case "Encrypt":
		_ = json.NewEncoder(w).Encode(map[string]any{"CiphertextBlob": k.aead.Seal(nil, nil, in.Plaintext, bound), "KeyId": in.KeyID})
	case "Decrypt":
		plain, err := k.aead.Open(nil, nil, in.CiphertextBlob, bound)
		if err != nil {
			refuse(http.StatusBadRequest, "InvalidCiphertextException")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Plaintext": plain, "KeyId": in.KeyID})
	default:
		refuse(http.StatusBadRequest, "UnknownOperationException")
	}
}

// signed checks the signature of a request: AWS4-HMAC-SHA256 over the headers it
// names and the body, for the service kms.
func (k *KMS) signed(r *http.Request, body []byte) bool {
	fields := map[string]string{}
	algorithm, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	for f := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/") // key, day, region, service, aws4_request
	at := r.Header.Get("X-Amz-Date")
	made, err := time.Parse("20060102T150405Z", at)
	if algorithm != "AWS4-HMAC-SHA256" || err != nil || k.Now().Sub(made).Abs() > 15*time.Minute || len(scope) != 5 || scope[0] != k.AccessKey ||
		!strings.HasPrefix(at, scope[1]) || scope[3] != "kms" || scope[4] != "aws4_request" {
		return false
	}
	names := strings.Split(fields["SignedHeaders"], ";")
	if !slices.Contains(names, "host") || !slices.Contains(names, "x-amz-date") || !slices.Contains(names, "x-amz-target") {
		return false
	}
	var canonical bytes.Buffer
	canonical.WriteString(r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n")
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		canonical.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	canonical.WriteString("\n" + fields["SignedHeaders"] + "\n" + digest(body))
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	signing := []byte("AWS4" + k.SecretKey)
	for _, part := range scope[1:] {
		signing = mac(signing, part)
	}
	want := mac(signing, "AWS4-HMAC-SHA256\n"+at+"\n"+strings.Join(scope[1:], "/")+"\n"+digest(canonical.Bytes()))
	return hmac.Equal([]byte(hex.EncodeToString(want)), []byte(fields["Signature"]))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
