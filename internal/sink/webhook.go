package sink

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"deputy/internal/deputy"
)

// Webhook posts each batch as a JSON array, signed as Standard Webhooks 1.0
// says: webhook-signature is "v1," and the HMAC-SHA256, under Secret, of
// webhook-id, webhook-timestamp and the body with dots between.
type Webhook struct {
	URL    string
	Secret deputy.Secret
	Client *http.Client
	Now    func() time.Time
}

// Deliver posts the batch. Any answer of 200 to 299 says that it arrived.
func (h *Webhook) Deliver(ctx context.Context, b Batch) error {
	body, err := json.Marshal(b.Events)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	// The same for a batch that comes again.
	id := fmt.Sprintf("%s.%d.%d", b.Organization, b.First, b.Last)
	at := strconv.FormatInt(h.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(h.Secret.Reveal()))
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", at)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return send(h.Client, r)
}

// Close has nothing to give up.
func (h *Webhook) Close() error { return nil }
