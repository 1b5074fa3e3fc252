package api

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
)

// delegate makes calls of this API for background work: the same routes, the
// same checks and the same events as if whoever asked for the work had made
// them. That they may was decided when the work was accepted.
type delegate struct {
	task    *deputy.CatalogTask
	install *deputy.Install
	// journal runs in the transaction of a call that changes something, so that
	// what was done and the note that it was done are one.
	journal func(ctx context.Context, tx deputy.Tx, target *deputy.Target) error
}

type delegateKey struct{}

// delegateOf returns the delegate that a call is made by, or nil.
func delegateOf(ctx context.Context) *delegate {
	d, _ := ctx.Value(delegateKey{}).(*delegate)
	return d
}

// answerOf is what a call of a delegate answered.
type answerOf struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (w *answerOf) Header() http.Header         { return w.header }
func (w *answerOf) Write(b []byte) (int, error) { return w.body.Write(b) }
func (w *answerOf) WriteHeader(status int)      { w.status = status }

// call calls the route and returns the object that it answers, if it does. A
// refusal becomes an error of its kind.
func (d *delegate) call(ctx context.Context, a *API, method, path string, body catalog.Values) (catalog.Values, error) {
	raw, err := d.raw(ctx, a, method, path, body)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	return catalog.ParseValues(raw)
}

func (d *delegate) raw(ctx context.Context, a *API, method, path string, body catalog.Values) ([]byte, error) {
	var sent []byte
	if body != nil {
		var err error
		if sent, err = body.JSON(); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(context.WithValue(ctx, delegateKey{}, d), method, path, bytes.NewReader(sent))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Client-Request-ID", d.task.RequestID)
	w := &answerOf{status: http.StatusOK, header: http.Header{}}
	a.ServeHTTP(w, r)
	if w.status < http.StatusMultipleChoices {
		return w.body.Bytes(), nil
	}
	return nil, refusalOf(w)
}

// refusalOf returns the error that an answer tells of.
func refusalOf(w *answerOf) error {
	var e Error
	if err := json.Unmarshal(w.body.Bytes(), &e); err != nil {
		return err
	}
	message := e.Message
	for _, d := range e.Details {
		message += "; " + strings.TrimSpace(d.Field+" "+d.Message)
	}
	for kind, answer := range answers {
		if answer.status == w.status {
			return deputy.Errorf(kind, "%s", message)
		}
	}
	if w.status < http.StatusInternalServerError {
		return deputy.Errorf(deputy.Invalid, "%s", message)
	}
	return deputy.Errorf(deputy.Unavailable, "%s", message)
}
