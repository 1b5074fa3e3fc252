// Package kms wraps data keys with customers' keys of AWS KMS: the key itself
// never leaves that service, and its owner sees each use and can end it.
//
// It owns the calls (Encrypt and Decrypt, on which the interface vault.KEK is
// made), the encryption context that binds what is wrapped to an organization
// and a row, and where credentials come from. Which zone has which key is for
// others. It speaks through the client that it is given, and only to the
// endpoints of the region that a key's name says, or that the operator names.
package kms

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/vault"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The members of the encryption context. The first is what a key's policy
// names, so that the key serves one organization; the second binds the
// ciphertext to its row.
const (
	contextOrganization = "organization_id"
	contextRow          = "deputy_row"
)

// timeout bounds a call with its repetition.
const timeout = 5 * time.Second

// Service is AWS KMS.
type Service struct {
	http        *http.Client
	now         func() time.Time
	credentials aws.CredentialsProvider
	endpoint    string // in place of a region's own
}

// New returns the service as the environment describes it, by the variables that
// AWS's own programs read.
func New(client *http.Client, now func() time.Time, lookup func(string) (string, bool)) *Service {
	return &Service{
		http: client, now: now, credentials: aws.NewCredentialsCache(chain(client, lookup)),
		endpoint: text(lookup, "AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL"),
	}
}

// KEK returns the key-encryption key that has the name (deputy.Zone.KEK).
func (s *Service) KEK(_ context.Context, name string) (vault.KEK, error) {
	organization, arn, region, ok := deputy.CustomerKEK(name)
	if !ok {
		return nil, fmt.Errorf("kms: %q names no key: %w", name, vault.ErrRefused)
	}
	return &key{s, region, organization, arn}, nil
}

// key is a customer's key, used for one organization.
type key struct {
	service      *Service
	region       string
	organization deputy.OrganizationID
	arn          string
}

// message is what Encrypt and Decrypt take and answer.
type message struct {
	KeyID             string            `json:"KeyId,omitempty"`
	Plaintext         []byte            `json:"Plaintext,omitempty"`
	CiphertextBlob    []byte            `json:"CiphertextBlob,omitempty"`
	EncryptionContext map[string]string `json:"EncryptionContext,omitempty"`
	Type              string            `json:"__type,omitempty"` // of a fault
}

func (k *key) Wrap(ctx context.Context, plain, associated []byte) ([]byte, error) {
	out, err := k.call(ctx, "Encrypt", message{Plaintext: plain}, associated)
	return out.CiphertextBlob, err
}

func (k *key) Unwrap(ctx context.Context, wrapped, associated []byte) ([]byte, error) {
	out, err := k.call(ctx, "Decrypt", message{CiphertextBlob: wrapped}, associated)
	return out.Plaintext, err
}

// call makes a call, and once more where that may help.
func (k *key) call(ctx context.Context, operation string, in message, associated []byte) (out message, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	sum := sha256.Sum256(associated) // what it is bound to is in others' logs
	in.KeyID, in.EncryptionContext = k.arn, map[string]string{contextOrganization: string(k.organization), contextRow: hex.EncodeToString(sum[:])}
	body, err := json.Marshal(in)
	if err != nil {
		return message{}, err
	}
	defer clear(body)
	for range 2 {
		if out, err = k.ask(ctx, operation, body); err == nil || errors.Is(err, vault.ErrRefused) {
			return out, err
		}
	}
	return message{}, deputy.Error{Kind: deputy.Unavailable, Message: "the key management service cannot be asked, try again"}.Because(fmt.Errorf("kms: %s: %w", k.arn, err))
}

// ask sends one request, signed (AWS Signature Version 4).
func (k *key) ask(ctx context.Context, operation string, body []byte) (out message, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, k.address(), bytes.NewReader(body))
	if err != nil {
		return message{}, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	who, err := k.service.credentials.Retrieve(ctx)
	if err != nil {
		return message{}, err
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, who, r, hex.EncodeToString(sum[:]), "kms", k.region, k.service.now()); err != nil {
		return message{}, err
	}
	answer, err := k.service.http.Do(r)
	if err != nil {
		return message{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	switch {
	case err != nil:
		return message{}, fmt.Errorf("%s cannot be read: %w", answer.Status, err)
	case answer.StatusCode == http.StatusOK:
		return out, nil
	}
	_, kind, named := strings.Cut(out.Type, "#")
	if !named {
		kind = out.Type
	}
	err = fmt.Errorf("kms: %s: %s %s", k.arn, answer.Status, kind)
	if answer.StatusCode < http.StatusInternalServerError && !slices.Contains(ours, kind) {
		err = fmt.Errorf("%w: %w", err, vault.ErrRefused)
	}
	return message{}, err
}

// address returns where the key's region is asked.
func (k *key) address() string {
	switch {
	case k.service.endpoint != "":
		return strings.TrimSuffix(k.service.endpoint, "/") + "/"
	case strings.HasPrefix(k.region, "cn-"):
		return "https://kms." + k.region + ".amazonaws.com.cn/"
	}
	return "https://kms." + k.region + ".amazonaws.com/"
}

// ours are the answers to a call that say nothing about the key: credentials
// that are not good, which is the operator's to mend, and too many calls.
var ours = []string{
	"UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken",
	"ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "OptInRequired",
	"ThrottlingException", "LimitExceededException", "DependencyTimeoutException", "KeyUnavailableException", "RequestTimeTooSkewed",
}
