package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
)

// A Narrator tells steps in a terminal, a line each with its details below:
//
//	[2/9] ok the agent gets a token 14
//	      request   POST /z/…/oauth/2/token grant_type=client_credentials
//	      decision  allowed, scope notes:read
//	      reason    policy "default-app-direct-access"
//
// and a last line with the tally.
type Narrator struct {
	Out   io.Writer
	Color bool // see WantsColor
	Now   func() time.Time
}

// A Step is one thing a demonstration shows. Run does it and fills in the
// account; its error means that the step did not do what its name says. A step
// that shows a refusal succeeds by being refused.
type Step struct {
	Name string
	Run  func(ctx context.Context, account *Account) error
}

// An Account is what is told below a step: what was asked, what was decided and
// why. Details appear in the order they were given.
type Account struct{ details []detail }

type detail struct{ label, text string }

// Request tells what was asked of whom.
func (a *Account) Request(format string, args ...any) { a.add("request", format, args) }

// Decision tells what was answered.
func (a *Account) Decision(format string, args ...any) { a.add("decision", format, args) }

// Reason tells why.
func (a *Account) Reason(format string, args ...any) { a.add("reason", format, args) }

func (a *Account) add(label, format string, args []any) {
	a.details = append(a.details, detail{label, fmt.Sprintf(format, args...)})
}

// Tell runs the steps in order until one fails, telling each when it is done,
// and reports whether all did what they say.
func (n *Narrator) Tell(ctx context.Context, steps []Step) bool {
	done := 0
	for i, step := range steps {
		var account Account
		began := n.Now()
		err := step.Run(ctx, &account)
		took := n.Now().Sub(began)
		verdict := n.paint(green, "ok")
		if err != nil {
			verdict = n.paint(red, "FAIL")
			account.add("error", "%v", []any{err})
		}
		fmt.Fprintf(n.Out, "[%d/%d] %s %s %s\n", i+1, len(steps), verdict, clean(step.Name), n.paint(faint, fmt.Sprint(took.Milliseconds())))
		for _, d := range account.details {
			fmt.Fprintf(n.Out, "      %s %s\n", n.paint(faint, fmt.Sprintf("%-9s", d.label)), clean(d.text))
		}
		if err != nil {
			break
		}
		done++
	}
	fmt.Fprintf(n.Out, "demo: %d of %d steps ok\n", done, len(steps))
	return done == len(steps)
}

// SGR codes (ECMA-48 §8.3.117).
const (
	faint = "2"
	red   = "1;31"
	green = "32"
)

func (n *Narrator) paint(code, text string) string {
	if !n.Color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// clean keeps a text on its line: what is told may come from a server, and must
// not move the cursor.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
}

// WantsColor reports whether output to f should be coloured: f is a terminal,
// NO_COLOR is not set and TERM is not dumb. lookup is os.LookupEnv.
func WantsColor(f *os.File, lookup func(string) (string, bool)) bool {
	if _, set := lookup("NO_COLOR"); set {
		return false
	}
	if term, _ := lookup("TERM"); term == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
