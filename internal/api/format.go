package api

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The checker takes these settings from its package alone.
func init() {
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
	huma.NewErrorWithContext = func(c huma.Context, status int, message string, errs ...error) huma.StatusError {
		return checked(c.Context(), status, message, errs)
	}
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return checked(context.Background(), status, message, errs)
	}
}

// format reads and writes JSON by the strict rules of RFC 8259: one value, no
// name twice, valid UTF-8, names as they are written.
var format = huma.Format{
	Marshal: func(w io.Writer, v any) error { return json.MarshalWrite(w, v, json.Deterministic(true)) },
	Unmarshal: func(b []byte, v any) error {
		err := json.UnmarshalRead(bytes.NewReader(b), v)
		var semantic *json.SemanticError
		var syntax *jsontext.SyntacticError
		switch {
		case errors.As(err, &semantic):
			return errors.New(string(semantic.JSONPointer) + decodeMark + plain(semantic))
		case errors.As(err, &syntax):
			return errors.New(string(syntax.JSONPointer) + syntaxMark + "malformed JSON")
		case err != nil:
			return errors.New(syntaxMark + "malformed JSON")
		}
		return nil
	},
}

// plain says what is wrong with a value without naming Go's types or the value.
func plain(e *json.SemanticError) string {
	if e.Err != nil && e.Err.Error() == mustNotBeNull {
		return mustNotBeNull
	}
	return "has the wrong type"
}
