package kms

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// containers is where a container of AWS finds its credentials below.
const containers = "http://169.254.170.2"

// text returns the first variable that is set.
func text(lookup func(string) (string, bool), names ...string) string {
	for _, name := range names {
		if v, ok := lookup(name); ok && v != "" {
			return v
		}
	}
	return ""
}

// chain returns where credentials come from, in the order of AWS's own programs:
// the environment, a workload's token, a container's endpoint, the instance.
// Files of profiles are left out: they are for people at a terminal.
func chain(client *http.Client, lookup func(string) (string, bool)) aws.CredentialsProvider {
	get := func(names ...string) string { return text(lookup, names...) }
	if id, secret := get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"); id != "" && secret != "" {
		return credentials.NewStaticCredentialsProvider(id, secret, get("AWS_SESSION_TOKEN"))
	}
	if file, role := get("AWS_WEB_IDENTITY_TOKEN_FILE"), get("AWS_ROLE_ARN"); file != "" && role != "" {
		region := get("AWS_REGION", "AWS_DEFAULT_REGION")
		endpoint := get("AWS_ENDPOINT_URL_STS")
		switch {
		case endpoint != "":
		case strings.HasPrefix(region, "cn-"):
			endpoint = "https://sts." + region + ".amazonaws.com.cn"
		case region != "":
			endpoint = "https://sts." + region + ".amazonaws.com"
		default:
			endpoint = "https://sts.amazonaws.com"
		}
		return &webIdentity{client, endpoint, file, role}
	}
	at := get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if path := get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		at = containers + path
	}
	if at != "" {
		return endpointcreds.New(at, func(o *endpointcreds.Options) {
			o.HTTPClient, o.AuthorizationToken = client, get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
			if file := get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
				o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
					token, err := os.ReadFile(file)
					return strings.TrimSpace(string(token)), err
				})
			}
		})
	}
	return ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = imds.New(imds.Options{HTTPClient: client}) })
}

// webIdentity trades a workload's token, which the platform keeps fresh in a
// file, for credentials of a role (AWS STS, AssumeRoleWithWebIdentity).
type webIdentity struct {
	client               *http.Client
	endpoint, file, role string
}

func (w *webIdentity) Retrieve(ctx context.Context) (got aws.Credentials, err error) {
	token, err := os.ReadFile(w.file)
	if err != nil {
		return got, fmt.Errorf("the token of the workload: %w", err)
	}
	form := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {w.role},
		"RoleSessionName": {"deputy"}, "WebIdentityToken": {strings.TrimSpace(string(token))},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return got, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := w.client.Do(r)
	if err != nil {
		return got, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return got, err
	}
	var out struct {
		Credentials struct {
			AccessKeyID     string `xml:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
			Expiration      time.Time
		} `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
		Code string `xml:"Error>Code"`
	}
	if err := xml.Unmarshal(body, &out); err != nil {
		return got, errors.New("the answer to AssumeRoleWithWebIdentity cannot be read")
	}
	c := out.Credentials
	if answer.StatusCode != http.StatusOK || c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return got, fmt.Errorf("the role %s is refused: %s %s", w.role, answer.Status, out.Code)
	}
	return aws.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		CanExpire: true, Expires: c.Expiration, Source: "AssumeRoleWithWebIdentity",
	}, nil
}
