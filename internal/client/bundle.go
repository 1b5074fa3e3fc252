package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"

	"deputy/internal/api"
	"deputy/internal/bundle"
)

// bundlePath is where the bundle of a target is: the zone's own, or that of a
// person in it.
func bundlePath(zone, user string) string {
	kind, id := "zone", zone
	if user != "" {
		kind, id = "user", user
	}
	return "/zones/" + url.PathEscape(zone) + "/policy-bundles/" + kind + "/" + url.PathEscape(id)
}

// Bundle returns what decides at a target, and its digest.
func (c *Client) Bundle(ctx context.Context, zone, user string) (b *bundle.Bundle, digest string, err error) {
	r, err := c.bundleRequest(ctx, http.MethodGet, zone, user, nil)
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("Accept", bundle.MediaType)
	raw, err := c.raw(r)
	if err != nil {
		return nil, "", err
	}
	if b, err = bundle.Unpack(bytes.NewReader(raw)); err != nil {
		return nil, "", err
	}
	digest, err = b.Digest()
	return b, digest, err
}

// PutBundle makes a bundle what decides at a target, in place of the one with
// the digest; an empty digest stands for nothing.
func (c *Client) PutBundle(ctx context.Context, zone, user string, b *bundle.Bundle, replaces string) (out api.PolicyBundleApplied, err error) {
	packed, err := b.Pack()
	if err != nil {
		return out, err
	}
	r, err := c.bundleRequest(ctx, http.MethodPut, zone, user, packed)
	if err != nil {
		return out, err
	}
	r.Header.Set("Content-Type", bundle.MediaType)
	if replaces != "" {
		r.Header.Set("If-Match", strconv.Quote(replaces))
	}
	raw, err := c.raw(r)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return out, fmt.Errorf("reading the answer: %w", err)
	}
	return out, nil
}

func (c *Client) bundleRequest(ctx context.Context, method, zone, user string, body []byte) (*http.Request, error) {
	token, err := c.bearer(ctx, "")
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+bundlePath(zone, user), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r, nil
}

// raw makes a request whose answer is not JSON, or not always.
func (c *Client) raw(r *http.Request) ([]byte, error) {
	response, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		refusal := &Error{Status: response.StatusCode}
		_ = json.Unmarshal(raw, &refusal.Body)
		return nil, refusal
	}
	return raw, nil
}

// PullPolicies writes what decides at a target into a directory.
func (c *Client) PullPolicies(ctx context.Context, zone, user, dir string) (policies int, err error) {
	b, digest, err := c.Bundle(ctx, zone, user)
	if err != nil {
		return 0, err
	}
	return len(b.Policies), b.WriteFolder(dir, digest)
}

// PushPolicies makes the policies in a directory what decides at a target, if
// that is still what the directory was made from, and then writes the directory
// anew: policies have ids, and their normal form.
func (c *Client) PushPolicies(ctx context.Context, zone, user, dir string) (out api.PolicyBundleApplied, err error) {
	b, base, err := bundle.ReadFolder(dir)
	if err != nil {
		return out, err
	}
	if out, err = c.PutBundle(ctx, zone, user, b, base); err != nil {
		return out, err
	}
	_, err = c.PullPolicies(ctx, zone, user, dir)
	return out, err
}
