package kms_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/kms"
	"deputy/internal/upstream"
	"deputy/internal/vault"
)

const (
	arn   = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	other = "arn:aws:kms:eu-west-1:111122223333:alias/other"
)

func name(organization, arn string) string {
	z := deputy.Zone{OrganizationID: deputy.OrganizationID(organization), EncryptionKey: &deputy.EncryptionKey{Type: "aws", ARN: arn}}
	return z.KEK()
}

// open returns a key of a service with an environment.
func open(t *testing.T, env map[string]string, organization, arn string) vault.KEK {
	t.Helper()
	client := upstream.OperatorClient()
	t.Cleanup(client.CloseIdleConnections)
	s := kms.New(client, time.Now, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	key, err := s.KEK(t.Context(), name(organization, arn))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestWrapAndUnwrap(t *testing.T) {
	service := deputytest.NewKMS(t)
	service.Allow(arn, "org1")
	service.Allow(other, "org1")
	key := open(t, service.Environment(), "org1", arn)
	wrapped, err := key.Wrap(t.Context(), []byte("a data key"), []byte("row"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := key.Unwrap(t.Context(), wrapped, []byte("row")); err != nil || string(plain) != "a data key" {
		t.Errorf("unwrapped %q, %v", plain, err)
	}
	uses := service.Uses()
	if len(uses) != 2 || uses[0].Operation != "Encrypt" || uses[1].Operation != "Decrypt" || uses[1].Key != arn || uses[1].Context["organization_id"] != "org1" {
		t.Errorf("the service was used for %+v", uses)
	}
	changed := append([]byte(nil), wrapped...)
	changed[len(changed)-1] ^= 1
	for what, call := range map[string]func() error{
		"another row": func() error { _, err := key.Unwrap(t.Context(), wrapped, []byte("other")); return err },
		"changed":     func() error { _, err := key.Unwrap(t.Context(), changed, []byte("row")); return err },
		"another key": func() error {
			_, err := open(t, service.Environment(), "org1", other).Unwrap(t.Context(), wrapped, []byte("row"))
			return err
		},
		"another organization": func() error {
			_, err := open(t, service.Environment(), "org2", arn).Unwrap(t.Context(), wrapped, []byte("row"))
			return err
		},
		"no such key": func() error {
			_, err := open(t, service.Environment(), "org1", arn+"0").Wrap(t.Context(), []byte("x"), nil)
			return err
		},
		"disabled": func() error {
			service.Refuse(other, "DisabledException")
			_, err := open(t, service.Environment(), "org1", other).Wrap(t.Context(), []byte("x"), nil)
			return err
		},
	} {
		if err := call(); !errors.Is(err, vault.ErrRefused) || errors.Is(err, deputy.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestNotToBeAsked: what does not say anything about the key is no refusal.
func TestNotToBeAsked(t *testing.T) {
	service := deputytest.NewKMS(t)
	service.Allow(arn, "org1")
	key := open(t, service.Environment(), "org1", arn)
	unavailable := func(what string, key vault.KEK) {
		t.Helper()
		if _, err := key.Wrap(t.Context(), []byte("x"), nil); !errors.Is(err, deputy.Unavailable) || errors.Is(err, vault.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	service.Down(true)
	unavailable("faults of its own", key)
	service.Down(false)
	if _, err := key.Wrap(t.Context(), []byte("x"), nil); err != nil {
		t.Errorf("up again: %v", err)
	}
	service.Refuse(arn, "ThrottlingException")
	unavailable("throttled", key)
	service.Allow(arn, "org1")
	wrong := service.Environment()
	wrong["AWS_SECRET_ACCESS_KEY"] = "another"
	unavailable("a wrong signature", open(t, wrong, "org1", arn))
	wrong = service.Environment()
	wrong["AWS_ACCESS_KEY_ID"] = "another"
	unavailable("an unknown caller", open(t, wrong, "org1", arn))
	gone := service.Environment()
	gone["AWS_ENDPOINT_URL_KMS"] = "http://127.0.0.1:1"
	unavailable("nobody there", open(t, gone, "org1", arn))
}

func TestNamesOfKeys(t *testing.T) {
	s := kms.New(http.DefaultClient, time.Now, func(string) (string, bool) { return "", false })
	for _, odd := range []string{"", "aws:org:", "aws:org:arn", "aws:org:arn:aws:kms:evil.example/:111122223333:key/a", "aws:org:arn:aws:s3:eu-west-1:111122223333:key/a", "gcp:org:" + arn, name("o", arn) + " "} {
		if _, err := s.KEK(t.Context(), odd); !errors.Is(err, vault.ErrRefused) {
			t.Errorf("%q: %v", odd, err)
		}
	}
}

// TestCredentials: from a workload's token and from a container's endpoint.
func TestCredentials(t *testing.T) {
	service := deputytest.NewKMS(t)
	service.Allow(arn, "org1")
	folder := t.TempDir()
	token := filepath.Join(folder, "token")
	if err := os.WriteFile(token, []byte("the token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ends := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "PUT" && r.URL.Path == "/latest/api/token":
			w.Write([]byte("session token"))
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/" && r.Header.Get("X-Aws-Ec2-Metadata-Token") == "session token":
			w.Write([]byte("deputy\n"))
		case r.Method == "GET" && (r.URL.Path == "/container" || r.URL.Path == "/latest/meta-data/iam/security-credentials/deputy") && (r.Header.Get("Authorization") == "the token" || r.Header.Get("X-Aws-Ec2-Metadata-Token") == "session token"):
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"AccessKeyId":"` + service.AccessKey + `","SecretAccessKey":"` + service.SecretKey + `","Token":"session","Expiration":"` + ends + `"}`))
		case r.PostFormValue("Action") == "AssumeRoleWithWebIdentity" && r.PostFormValue("WebIdentityToken") == "the token" && r.PostFormValue("RoleArn") == "arn:aws:iam::111122223333:role/deputy":
			w.Write([]byte(`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>` +
				service.AccessKey + `</AccessKeyId><SecretAccessKey>` + service.SecretKey + `</SecretAccessKey><SessionToken>session</SessionToken><Expiration>` + ends +
				`</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`))
		default:
			w.WriteHeader(http.StatusForbidden)
			w.Write([]byte(`<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>`))
		}
	}))
	t.Cleanup(issuer.Close)
	for what, env := range map[string]map[string]string{
		"workload":  {"AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/deputy", "AWS_ENDPOINT_URL_STS": issuer.URL},
		"container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": issuer.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token},
		"instance":  {"AWS_EC2_METADATA_SERVICE_ENDPOINT": issuer.URL},
	} {
		env["AWS_ENDPOINT_URL_KMS"] = service.URL
		if _, err := open(t, env, "org1", arn).Wrap(t.Context(), []byte("x"), nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused := map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_ARN": "another", "AWS_ENDPOINT_URL_STS": issuer.URL, "AWS_ENDPOINT_URL_KMS": service.URL}
	if _, err := open(t, refused, "org1", arn).Wrap(t.Context(), []byte("x"), nil); !errors.Is(err, deputy.Unavailable) {
		t.Errorf("a role that is refused: %v", err)
	}
}
