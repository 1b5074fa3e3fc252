package client

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/api"
	"deputy/internal/bundle"
	"deputy/internal/evidence"
)

// ExportPolicySetVersion returns a policy set version as a file that proves
// itself, for [VerifyPolicySetVersion]: without a version the set's active or
// else newest one, without a set the version that decides in the zone.
func (c *Client) ExportPolicySetVersion(ctx context.Context, zone, set, version string) ([]byte, error) {
	sets := "/zones/" + url.PathEscape(zone) + "/policy-sets"
	var of api.PolicySet
	switch {
	case set == "":
		found := false
		for s, err := range All[api.PolicySet](ctx, c, sets, url.Values{"filter[active]": {"true"}}) {
			if err != nil {
				return nil, err
			}
			of, found = s, true
		}
		if !found {
			return nil, fmt.Errorf("no policy set decides in the zone")
		}
	case version == "":
		if err := c.Do(ctx, http.MethodGet, sets+"/"+url.PathEscape(set), nil, &of); err != nil {
			return nil, err
		}
	default:
		of.ID = set
	}
	if version == "" {
		id := cmp.Or(of.ActiveVersionID, of.LatestVersionID)
		if id == nil {
			return nil, fmt.Errorf("the policy set has no version")
		}
		version = *id
	}
	x := evidence.PolicySetVersion{ZoneID: zone}
	path := sets + "/" + url.PathEscape(of.ID) + "/versions/" + url.PathEscape(version)
	if err := c.Do(ctx, http.MethodGet, path, nil, &x.Version); err != nil {
		return nil, err
	}
	if err := c.Do(ctx, http.MethodGet, path+"/attestation", nil, &x.Attestation); err != nil {
		return nil, err
	}
	for p, err := range All[jsontext.Value](ctx, c, path+"/policies", url.Values{"limit": {"100"}}) {
		if err != nil {
			return nil, err
		}
		x.Policies = append(x.Policies, p)
	}
	raw, err := json.Marshal(x, jsontext.WithIndent("  "))
	return append(raw, '\n'), err
}

// VerifyPolicySetVersion checks a file that [Client.ExportPolicySetVersion] made
// against the zone's JWKS document in another, and where dir is not empty that
// this directory has exactly its policies. It calls nobody.
func VerifyPolicySetVersion(file, jwks, dir string) (*evidence.Attested, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	trusted, err := os.ReadFile(jwks)
	if err != nil {
		return nil, err
	}
	var directory *bundle.Bundle
	if dir != "" {
		if directory, _, err = bundle.ReadFolder(dir); err != nil {
			return nil, err
		}
	}
	return evidence.VerifyPolicySetVersion(raw, trusted, directory)
}
