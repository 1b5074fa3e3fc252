package kms

import (
	"cmp"
	"context"
	"encoding/json"
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
)

// Where a container and an instance of AWS find their credentials.
const (
	containers = "http://169.254.170.2"
	instances  = "http://169.254.169.254"
)

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
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: get("AWS_SESSION_TOKEN")}, nil
		})
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
		return &container{client, at, get("AWS_CONTAINER_AUTHORIZATION_TOKEN"), get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")}
	}
	return &instance{client, cmp.Or(get("AWS_EC2_METADATA_SERVICE_ENDPOINT"), instances)}
}

// held is how a container's and an instance's endpoints write credentials.
type held struct {
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	Expiration      time.Time
}

// container asks the endpoint that a container has for its credentials.
type container struct {
	client             *http.Client
	at, token, inAFile string
}

func (c *container) Retrieve(ctx context.Context) (aws.Credentials, error) {
	token := c.token
	if c.inAFile != "" {
		text, err := os.ReadFile(c.inAFile)
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("the container's token: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	return fetch(ctx, c.client, c.at, "Authorization", token)
}

// instance asks the metadata service of an instance, with a token of its own
// (version 2).
type instance struct {
	client *http.Client
	at     string
}

func (i *instance) Retrieve(ctx context.Context) (aws.Credentials, error) {
	const roles = "/latest/meta-data/iam/security-credentials/"
	token, err := read(ctx, i.client, http.MethodPut, i.at+"/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
	if err != nil {
		return aws.Credentials{}, err
	}
	role, err := read(ctx, i.client, http.MethodGet, i.at+roles, "X-Aws-Ec2-Metadata-Token", string(token))
	if err != nil {
		return aws.Credentials{}, err
	}
	name, _, _ := strings.Cut(strings.TrimSpace(string(role)), "\n")
	return fetch(ctx, i.client, i.at+roles+name, "X-Aws-Ec2-Metadata-Token", string(token))
}

// fetch reads credentials.
func fetch(ctx context.Context, client *http.Client, at, header, value string) (aws.Credentials, error) {
	text, err := read(ctx, client, http.MethodGet, at, header, value)
	if err != nil {
		return aws.Credentials{}, err
	}
	var c held
	if json.Unmarshal(text, &c) != nil || c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return aws.Credentials{}, errors.New("the answer has no credentials")
	}
	return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.Token, CanExpire: true, Expires: c.Expiration}, nil
}

func read(ctx context.Context, client *http.Client, method, at, header, value string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return nil, err
	}
	if value != "" {
		r.Header.Set(header, value)
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", at, answer.Status)
	}
	return text, err
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
