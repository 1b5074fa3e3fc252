package api

import (
	"context"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// KeyPolicy is what to attach to a key of AWS KMS.
type KeyPolicy struct {
	Policy string `json:"policy" doc:"An AWS policy document. Put the number of the account that owns the key for <YOUR_AWS_ACCOUNT_ID>."`
}

// awsAccount is where the owner of a key puts the number of their account.
const awsAccount = "<YOUR_AWS_ACCOUNT_ID>"

// awsPolicy is a policy document of AWS.
type awsPolicy struct {
	Version   string         `json:"Version"`
	Statement []awsStatement `json:"Statement"`
}

type awsStatement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Principal map[string]string            `json:"Principal"`
	Action    []string                     `json:"Action"`
	Resource  string                       `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition,omitzero"`
}

// keyContext is the member of the encryption context (AWS KMS) that names the
// organization whose zone keys are wrapped: another's cannot be unwrapped with
// the same key policy.
const keyContext = "organization_id"

func (a *API) mountKeyPolicy() {
	mount(a, operation{
		ID: "get-aws-key-policy", Method: http.MethodGet, Path: organizationPath + "/aws/key-policy", Action: "key_policies:read", Tag: organizationTag,
		Summary: "Get the policy that lets the organization's zones use a key of AWS KMS",
		Doc:     "The account administers the key. The role deputy of the account, as which the server runs, may use it for this organization alone.",
		Status:  http.StatusOK,
	}, a.getKeyPolicy)
}

func (a *API) getKeyPolicy(_ context.Context, c *call, _ *empty) (*output[KeyPolicy], error) {
	account := map[string]string{"AWS": "arn:aws:iam::" + awsAccount + ":root"}
	server := map[string]string{"aws:PrincipalArn": "arn:aws:iam::" + awsAccount + ":role/deputy"}
	policy, err := json.Marshal(awsPolicy{Version: "2012-10-17", Statement: []awsStatement{
		{"AllowKeyAdministration", "Allow", account, []string{"kms:*"}, "*", nil},
		{"AllowUseForOrganization", "Allow", account, []string{"kms:Encrypt", "kms:Decrypt"}, "*", map[string]map[string]string{
			"ArnEquals": server, "StringEquals": {"kms:EncryptionContext:" + keyContext: string(c.organization.ID)},
		}},
		{"AllowDescribeKey", "Allow", account, []string{"kms:DescribeKey"}, "*", map[string]map[string]string{"ArnEquals": server}},
	}}, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, err
	}
	return &output[KeyPolicy]{KeyPolicy{string(policy)}}, nil
}
