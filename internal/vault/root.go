package vault

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// keySize is the length in bytes of every key: AES-256.
const keySize = 32

// KEK is a key-encryption key: the root key, or one in a service that does not
// give it away. Both methods bind the ciphertext to associated, which is not
// secret: what was altered, or wrapped with another key or other associated
// data, answers ErrRefused.
type KEK interface {
	Wrap(ctx context.Context, plain, associated []byte) (wrapped []byte, err error)
	Unwrap(ctx context.Context, wrapped, associated []byte) (plain []byte, err error)
}

// Keyring has the key-encryption keys, by their names (deputy.DataKey.KEK).
type Keyring interface {
	// Current returns the name of the root key that wraps what is made now.
	Current(ctx context.Context) (name string, err error)
	// KEK returns the key that has the name. The empty name is that of what was
	// wrapped before names were kept.
	KEK(ctx context.Context, name string) (KEK, error)
}

// Root is the root key, the KEK of everything by default. It prints as
// "[redacted]".
type Root struct {
	aead        cipher.AEAD
	fingerprint string
	derivation  []byte // pseudorandom key that Derive expands
}

// NewRoot returns the root key of these bytes.
func NewRoot(key [keySize]byte) *Root {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("deputy root key fingerprint"))
	extracted := hmac.New(sha256.New, key[:])
	extracted.Write([]byte("deputy root key derivation"))
	return &Root{aead: newAEAD(key[:]), fingerprint: hex.EncodeToString(mac.Sum(nil)[:16]), derivation: extracted.Sum(nil)}
}

// Derive returns 32 bytes for one named purpose, the same on every node
// (HKDF-Expand, RFC 5869 §2.3). They tell nothing about the root key or about
// what other purposes get.
func (r *Root) Derive(purpose string) []byte {
	key, err := hkdf.Expand(sha256.New, r.derivation, purpose, keySize)
	if err != nil {
		panic(err) // only a length beyond 8,160 bytes is refused
	}
	return key
}

// Fingerprint returns 32 hexadecimal digits that tell this key from others and
// nothing about it. A database records the one it belongs to, so that a node
// with another key refuses to start.
func (r *Root) Fingerprint() string { return r.fingerprint }

// Current returns the name of the only root key, which makes Root a Keyring.
func (r *Root) Current(context.Context) (string, error) { return r.fingerprint, nil }

// KEK returns the only root key, by its name.
func (r *Root) KEK(_ context.Context, name string) (KEK, error) {
	if name != "" && name != r.fingerprint {
		return nil, fmt.Errorf("root key %s: %w", name, ErrRefused)
	}
	return r, nil
}

// Wrap encrypts plain under the root key.
func (r *Root) Wrap(_ context.Context, plain, associated []byte) ([]byte, error) {
	return r.aead.Seal(nil, nil, plain, associated), nil
}

// Unwrap decrypts what Wrap made with the same root key and associated data.
func (r *Root) Unwrap(_ context.Context, wrapped, associated []byte) ([]byte, error) {
	plain, err := r.aead.Open(nil, nil, wrapped, associated)
	if err != nil {
		return nil, ErrRefused
	}
	return plain, nil
}

// Format prints "[redacted]" whatever the verb.
func (*Root) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// ReadRootKey reads the root key file at path: 64 hexadecimal digits, readable
// and writable by its owner alone. An absent file answers fs.ErrNotExist.
func ReadRootKey(path string) (*Root, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("root key: others than its owner may use %s (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	// Room for the digits and a line end; one byte more shows a longer file.
	text, err := io.ReadAll(io.LimitReader(f, 2*keySize+3))
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	defer clear(text)
	var key [keySize]byte
	defer clear(key[:])
	digits := bytes.TrimRight(text, "\r\n")
	if n, err := hex.Decode(key[:], digits[:min(len(digits), 2*keySize)]); err != nil || n != keySize || len(digits) != 2*keySize {
		return nil, fmt.Errorf("root key: %s does not hold 64 hexadecimal digits and nothing else", path)
	}
	return NewRoot(key), nil
}

// CreateRootKey makes a root key and writes it to path with mode 0600. It never
// replaces a file: one that exists answers fs.ErrExist. The file appears whole
// or not at all, and is on the disk when CreateRootKey returns.
func CreateRootKey(path string) (*Root, error) {
	var key [keySize]byte
	defer clear(key[:])
	if _, err := rand.Read(key[:]); err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	if err := writeNew(path, []byte(hex.EncodeToString(key[:])+"\n")); err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	return NewRoot(key), nil
}

// writeNew writes a private file beside path and then links it there: a link,
// unlike a rename, never replaces what exists, and a start that was killed
// between creating and writing leaves no empty key behind.
func writeNew(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".root-key-*") // mode 0600, O_EXCL
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// newAEAD returns AES-256-GCM that draws its own nonces and carries them in
// front of the ciphertext.
func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the length is right at every call
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // the block is AES
	}
	return aead
}
