package client

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
)

// Account is where a server is and who we are there: the content of
// bootstrap.json.
type Account struct {
	BaseURL        string `json:"base_url"`
	OrganizationID string `json:"organization_id"`
	ClientID       string `json:"client_id"`
	ClientSecret   string `json:"client_secret"`
}

// ReadAccount reads an account file, such as bootstrap.json.
func ReadAccount(path string) (Account, error) {
	var a Account
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	if err != nil {
		return a, fmt.Errorf("cannot read the account file %s: %w", path, err)
	}
	return a, nil
}

// Open returns a client that acts as the account.
func (a Account) Open() *Client {
	return New(a.BaseURL, a.ClientID, deputy.Conceal(a.ClientSecret), nil)
}

// Outside returns an HTTP client for a program that stands outside of a server
// and names its own targets, with a limit on the time of each call.
func Outside(limit time.Duration) *http.Client { return &http.Client{Timeout: limit} }

// Bearer returns a management token, for a program that makes its own calls.
func (c *Client) Bearer(ctx context.Context) (string, error) { return c.bearer(ctx, "") }
