package policy

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"deputy/internal/deputy"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxFinding bounds the message of one finding in bytes: the engine quotes
// the token it stumbled over, which may be as long as the policy.
const maxFinding = 400

// finding is one thing wrong with a policy; line is 0 where the engine gives
// no position.
type finding struct {
	line, column int
	message      string
}

// String states the finding, its position first.
func (f finding) String() string {
	message := f.message
	if len(message) > maxFinding {
		cut := maxFinding
		for !utf8.RuneStart(message[cut]) {
			cut--
		}
		message = message[:cut] + "…"
	}
	if f.line == 0 {
		return message
	}
	return fmt.Sprintf("line %d, column %d: %s", f.line, f.column, message)
}

// invalid makes the error of a policy with findings: Invalid, blaming field,
// one detail per finding, in the order of their positions and then their text,
// each told once.
func invalid(field, summary string, findings ...finding) *deputy.Error {
	slices.SortFunc(findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), cmp.Compare(a.message, b.message))
	})
	findings = slices.Compact(findings)
	err := deputy.Bad(field, "%s", summary)
	for _, f := range findings {
		err.Details = append(err.Details, *deputy.Bad(field, "%s", f))
	}
	return err
}

// The engine's syntax errors, such as
//
//	parser error: parse error at <input>:1:8 "foo": exact got foo want (
//	parser error: <input>:3:1: literal not terminated
var enginePosition = regexp.MustCompile(`^(?:parser error: )?(?:parse error at )?<input>:(\d+):(\d+):? ?`)

// syntaxFinding reads the position out of a syntax error of the engine.
func syntaxFinding(err error) finding {
	message := err.Error()
	m := enginePosition.FindStringSubmatch(message)
	if m == nil {
		return finding{message: strings.TrimPrefix(message, "parser error: ")}
	}
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	return finding{line: line, column: column, message: message[len(m[0]):]}
}

// jsonFinding says where in a JSON policy the engine stumbled, without the
// names of its Go types.
func jsonFinding(err error) finding {
	where, cause := "", err
	for {
		var semantic *json.SemanticError
		var syntactic *jsontext.SyntacticError
		switch {
		case errors.As(cause, &syntactic):
			return finding{message: at(where+string(syntactic.JSONPointer), syntactic.Err.Error())}
		case errors.As(cause, &semantic):
			where += string(semantic.JSONPointer)
			if semantic.Err == nil {
				return finding{message: at(where, "unexpected JSON "+semantic.JSONKind.String())}
			}
			cause = semantic.Err
		default:
			// The engine goes on with what its JSON reader said of the number.
			message, _, _ := strings.Cut(cause.Error(), ": jsontext.")
			return finding{message: at(where, message)}
		}
	}
}

func at(pointer, message string) string {
	if pointer == "" {
		return message
	}
	return "at " + pointer + ": " + message
}
