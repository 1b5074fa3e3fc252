package demo_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"deputy/internal/demo"

	"github.com/google/go-cmp/cmp"
)

// tick is a clock that moves 12 ms with each reading.
func tick() func() time.Time {
	now := time.Unix(1_800_000_000, 0)
	return func() time.Time {
		now = now.Add(12 * time.Millisecond)
		return now
	}
}

func told(a *demo.Account) error {
	a.Request("POST /token scope=%s", "notes:read")
	a.Decision("allowed")
	a.Reason("policy %q", "default")
	return nil
}

func TestStepsAreToldAsTheyHappen(t *testing.T) {
	var out strings.Builder
	n := demo.Narrator{Out: &out, Now: tick()}
	var before string
	ok := n.Tell(t.Context(), []demo.Step{
		{"the agent gets a token", func(_ context.Context, a *demo.Account) error { return told(a) }},
		{"nothing to tell", func(context.Context, *demo.Account) error { before = out.String(); return nil }},
	})
	want := `[1/2] ok the agent gets a token 12
      request   POST /token scope=notes:read
      decision  allowed
      reason    policy "default"
[2/2] ok nothing to tell 12
demo: 2 of 2 steps ok
`
	if diff := cmp.Diff(want, out.String()); diff != "" || !ok {
		t.Errorf("ok=%v %s", ok, diff)
	}
	if !strings.HasPrefix(before, "[1/2] ok") {
		t.Errorf("the first step was told late: %q", before)
	}
}

func TestAFailedStepEndsTheDemonstration(t *testing.T) {
	var out strings.Builder
	n := demo.Narrator{Out: &out, Now: tick()}
	ok := n.Tell(t.Context(), []demo.Step{
		{"first", func(context.Context, *demo.Account) error { return nil }},
		{"second", func(_ context.Context, a *demo.Account) error {
			a.Request("GET /")
			return errors.New("the token was not refused")
		}},
		{"third", func(context.Context, *demo.Account) error { t.Error("the third step ran"); return nil }},
	})
	want := `[1/3] ok first 12
[2/3] FAIL second 12
      request   GET /
      error     the token was not refused
demo: 1 of 3 steps ok
`
	if diff := cmp.Diff(want, out.String()); diff != "" || ok {
		t.Errorf("ok=%v %s", ok, diff)
	}
}

func TestColourIsOnlyDecoration(t *testing.T) {
	var plain, colour strings.Builder
	steps := []demo.Step{
		{"one", func(_ context.Context, a *demo.Account) error { return told(a) }},
		{"two", func(context.Context, *demo.Account) error { return errors.New("x") }},
	}
	p := demo.Narrator{Out: &plain, Now: tick()}
	p.Tell(t.Context(), steps)
	c := demo.Narrator{Out: &colour, Now: tick(), Color: true}
	c.Tell(t.Context(), steps)
	stripped := colour.String()
	for _, code := range []string{"\x1b[0m", "\x1b[2m", "\x1b[32m", "\x1b[1;31m"} {
		if !strings.Contains(stripped, code) {
			t.Errorf("no %q in %q", code, stripped)
		}
		stripped = strings.ReplaceAll(stripped, code, "")
	}
	if diff := cmp.Diff(plain.String(), stripped); diff != "" {
		t.Error(diff)
	}
}

func TestWhatServersSayCannotMoveTheCursor(t *testing.T) {
	var out strings.Builder
	n := demo.Narrator{Out: &out, Now: tick()}
	n.Tell(t.Context(), []demo.Step{{"step", func(_ context.Context, a *demo.Account) error {
		a.Reason("a\x1b[2Jb\r\n[2/2] ok forged\u009b1A")
		return errors.New("line\nbreak\x07")
	}}})
	if strings.Count(out.String(), "\n") != 4 || strings.ContainsAny(out.String(), "\x1b\r\x07\u009b") {
		t.Errorf("%q", out.String())
	}
}

func TestColourNeedsATerminalThatWantsIt(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// A character device stands for a terminal, which tests do not have.
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	for _, c := range []struct {
		name string
		file *os.File
		env  map[string]string
		want bool
	}{
		{"terminal", device, nil, true},
		{"file", file, nil, false},
		{"NO_COLOR", device, map[string]string{"NO_COLOR": "1"}, false},
		{"NO_COLOR empty", device, map[string]string{"NO_COLOR": ""}, false},
		{"dumb terminal", device, map[string]string{"TERM": "dumb"}, false},
	} {
		got := demo.WantsColor(c.file, func(name string) (string, bool) { v, ok := c.env[name]; return v, ok })
		if got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
