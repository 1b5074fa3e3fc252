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
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/vault"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// The members of the encryption context. The first is what a key's policy
// names, so that the key serves one organization; the second binds the
// ciphertext to its row.
const (
	contextOrganization = "organization_id"
	contextRow          = "deputy_row"
)

// timeout bounds a call with its repetitions.
const timeout = 5 * time.Second

// Service is AWS KMS.
type Service struct {
	http        *http.Client
	credentials aws.CredentialsProvider
	endpoint    string // in place of a region's own

	mu      sync.Mutex
	regions map[string]*kms.Client
}

// New returns the service as the environment describes it, by the variables that
// AWS's own programs read.
func New(client *http.Client, lookup func(string) (string, bool)) *Service {
	return &Service{
		http: client, credentials: aws.NewCredentialsCache(chain(client, lookup)),
		endpoint: text(lookup, "AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL"), regions: map[string]*kms.Client{},
	}
}

// KEK returns the key-encryption key that has the name (deputy.Zone.KEK).
func (s *Service) KEK(_ context.Context, name string) (vault.KEK, error) {
	organization, arn, region, ok := deputy.CustomerKEK(name)
	if !ok {
		return nil, fmt.Errorf("kms: %q names no key: %w", name, vault.ErrRefused)
	}
	return &key{s.region(region), organization, arn}, nil
}

// region returns the client of a region.
func (s *Service) region(name string) *kms.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.regions[name]
	if c == nil {
		o := kms.Options{Region: name, Credentials: s.credentials, HTTPClient: s.http, RetryMaxAttempts: 2}
		if s.endpoint != "" {
			o.BaseEndpoint = &s.endpoint
		}
		c = kms.New(o)
		s.regions[name] = c
	}
	return c
}

// key is a customer's key, used for one organization.
type key struct {
	client       *kms.Client
	organization deputy.OrganizationID
	arn          string
}

func (k *key) Wrap(ctx context.Context, plain, associated []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, err := k.client.Encrypt(ctx, &kms.EncryptInput{KeyId: &k.arn, Plaintext: plain, EncryptionContext: k.bound(associated)})
	if err != nil {
		return nil, k.fault(err)
	}
	return out.CiphertextBlob, nil
}

func (k *key) Unwrap(ctx context.Context, wrapped, associated []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{KeyId: &k.arn, CiphertextBlob: wrapped, EncryptionContext: k.bound(associated)})
	if err != nil {
		return nil, k.fault(err)
	}
	return out.Plaintext, nil
}

// bound returns the encryption context. It is written to logs elsewhere, so it
// has a hash of what it binds to.
func (k *key) bound(associated []byte) map[string]string {
	sum := sha256.Sum256(associated)
	return map[string]string{contextOrganization: string(k.organization), contextRow: hex.EncodeToString(sum[:])}
}

// ours are the answers to a call that was well made with credentials that are
// not good, or are not any more: the operator's to mend.
var ours = []string{
	"UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken",
	"ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "OptInRequired",
	"ThrottlingException", "LimitExceededException", "DependencyTimeoutException", "KeyUnavailableException", "RequestTimeTooSkewed",
}

// fault tells a key that may not be used, which is vault.ErrRefused, from a
// service that cannot be asked now.
func (k *key) fault(err error) error {
	var known smithy.APIError
	var answer *smithyhttp.ResponseError
	if errors.As(err, &known) && errors.As(err, &answer) && answer.HTTPStatusCode() < http.StatusInternalServerError && !slices.Contains(ours, known.ErrorCode()) {
		return fmt.Errorf("kms: %s: %s: %s: %w", k.arn, known.ErrorCode(), known.ErrorMessage(), vault.ErrRefused)
	}
	return deputy.Error{Kind: deputy.Unavailable, Message: "the key management service cannot be asked, try again"}.Because(fmt.Errorf("kms: %s: %w", k.arn, err))
}
