// Package client calls the management API over HTTP, for the commands that
// talk to a server and for tests. It gets its bearer token at
// /service-account-token (RFC 6749 §4.4) and gets another when the API no
// longer takes the one it has. Requests and answers are the wire types of
// package api.
package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/api"
	"deputy/internal/deputy"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 32 << 20

// Client calls one server as one service account. It is safe for concurrent
// use.
type Client struct {
	base   string
	id     string
	secret deputy.Secret
	http   *http.Client

	mu    sync.Mutex
	token string
}

// New returns a client of the server at base, a URL with or without a trailing
// slash. A nil h means Outside, with 30 seconds for a call.
func New(base, clientID string, secret deputy.Secret, h *http.Client) *Client {
	if h == nil {
		h = Outside(30 * time.Second)
	}
	return &Client{base: strings.TrimRight(base, "/"), id: clientID, secret: secret, http: h}
}

// Error is a refusal of the server.
type Error struct {
	Status int
	Body   api.Error
}

// Error returns one sentence: the message and what the details add.
func (e *Error) Error() string {
	text := cmp.Or(e.Body.Message, http.StatusText(e.Status))
	var found []string
	for _, d := range e.Body.Details {
		found = append(found, strings.TrimPrefix(d.Field+": "+d.Message, ": "))
	}
	if len(found) > 0 {
		text += " (" + strings.Join(found, "; ") + ")"
	}
	return text
}

// Do makes a call: path is below the base and may hold a query. in is sent as
// JSON unless it is nil; the answer is read into out unless that is nil. A
// refusal is an *Error.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
	}
	token, err := c.bearer(ctx, "")
	if err != nil {
		return err
	}
	err = c.call(ctx, method, path, token, body, out)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		if token, err = c.bearer(ctx, token); err != nil {
			return err
		}
		return c.call(ctx, method, path, token, body, out)
	}
	return err
}

// bearer returns a token other than spent.
func (c *Client) bearer(ctx context.Context, spent string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && c.token != spent {
		return c.token, nil
	}
	token, err := c.fetch(ctx)
	if err != nil {
		return "", fmt.Errorf("getting a token: %w", err)
	}
	c.token = token
	return token, nil
}

// fetch gets a token with the client's secret.
func (c *Client) fetch(ctx context.Context) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.id}, "client_secret": {c.secret.Reveal()}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/service-account-token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := c.send(r, &answer); err != nil {
		return "", err
	}
	if answer.AccessToken == "" {
		return "", errors.New("the server answered without a token")
	}
	return answer.AccessToken, nil
}

func (c *Client) call(ctx context.Context, method, path, token string, body []byte, out any) error {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return c.send(r, out)
}

// send makes the request and reads its answer.
func (c *Client) send(r *http.Request, out any) error {
	response, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		refusal := &Error{Status: response.StatusCode}
		// What is not the API's own error body says nothing beyond its status.
		_ = json.Unmarshal(raw, &refusal.Body)
		return refusal
	}
	if out == nil || response.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", r.URL.Path, err)
	}
	return nil
}
