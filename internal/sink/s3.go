package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"deputy/internal/deputy"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// S3 puts each batch as an object into a bucket of S3, or of a store that
// speaks its protocol.
type S3 struct {
	Format
	Client *http.Client
	Now    func() time.Time
	// ID, Secret and Token are the credentials; Token may be empty.
	ID            string
	Secret, Token deputy.Secret

	region string
	base   url.URL // of the objects: bucket and prefix
	signer *v4.Signer
}

// ParseS3 reads s3://BUCKET/PREFIX?region=REGION&endpoint=URL. Without an
// endpoint the store is Amazon's.
func ParseS3(text string) (*S3, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("must be s3://BUCKET/PREFIX?region=REGION")
	}
	s := &S3{region: u.Query().Get("region"), signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })}
	if s.region == "" {
		return nil, errors.New("needs ?region=REGION")
	}
	prefix := strings.Trim(u.Path, "/")
	s.base = url.URL{Scheme: "https", Host: u.Host + ".s3." + s.region + ".amazonaws.com", Path: "/" + prefix}
	if endpoint := u.Query().Get("endpoint"); endpoint != "" {
		e, err := url.Parse(endpoint)
		if err != nil || e.Scheme != "https" && e.Scheme != "http" || e.Host == "" {
			return nil, errors.New("has an endpoint that is no URL")
		}
		s.base = url.URL{Scheme: e.Scheme, Host: e.Host, Path: strings.TrimSuffix(e.Path, "/") + "/" + u.Host + "/" + prefix}
	}
	s.base.Path = strings.TrimSuffix(s.base.Path, "/")
	return s, nil
}

// Deliver puts the object.
func (s *S3) Deliver(ctx context.Context, b Batch) error {
	raw, err := s.encode(b)
	if err != nil {
		return err
	}
	u := s.base
	u.Path += "/" + s.name(b)
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(raw))
	if err != nil {
		return err
	}
	digest := sha256.Sum256(raw)
	sum := hex.EncodeToString(digest[:])
	r.Header.Set("Content-Type", s.ContentType)
	r.Header.Set("X-Amz-Content-Sha256", sum)
	credentials := aws.Credentials{AccessKeyID: s.ID, SecretAccessKey: s.Secret.Reveal(), SessionToken: s.Token.Reveal()}
	if err := s.signer.SignHTTP(ctx, credentials, r, sum, "s3", s.region, s.Now()); err != nil {
		return err
	}
	return send(s.Client, r)
}

// Close has nothing to give up.
func (s *S3) Close() error { return nil }

// send sends a request that is answered with success or is to be sent again.
func send(client *http.Client, r *http.Request) error {
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 512)) // enough to see what is wrong
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("%s answered %s: %q", r.URL.Host, answer.Status, said)
	}
	return nil
}
