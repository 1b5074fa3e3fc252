package catalog

import (
	"context"
	"runtime"
	"strings"
	"testing"
)

// hostile are expressions that try to take long or much.
var hostile = map[string]string{
	"brackets":       strings.Repeat("(", 8000) + "1" + strings.Repeat(")", 8000),
	"lists":          strings.Repeat("[", 8000) + strings.Repeat("]", 8000),
	"negations":      strings.Repeat("!", 16000) + "true",
	"minus":          strings.Repeat("-", 16000) + "1",
	"sum":            "1" + strings.Repeat("+1", 8000),
	"selects":        "pkg" + strings.Repeat(".a", 8000),
	"indexes":        "pkg" + strings.Repeat("[0]", 5000),
	"conditionals":   strings.Repeat("true?", 3000) + "1" + strings.Repeat(":1", 3000),
	"calls":          strings.Repeat("size(", 3000) + "\"\"" + strings.Repeat(")", 3000),
	"map":            "{" + strings.Repeat("\"a\":1,", 2600) + "\"b\":1}",
	"concatenation":  "{\"a\": " + strings.Repeat("pkg.inputs.big+", 900) + "\"\"}",
	"doubling":       "{\"a\": [pkg.inputs.big, pkg.inputs.big] + [pkg.inputs.big, pkg.inputs.big]}",
	"regex":          "{\"a\": pkg.inputs.big.matches(\"" + strings.Repeat("(a|b)*", 200) + "\")}",
	"repeat":         "{\"a\": pkg.inputs.big.matches(\"((a{100}){100}){100}\")}",
	"broken":         strings.Repeat("{(", 4000),
	"unclosed":       "\"" + strings.Repeat("a", 16000),
	"garbage":        strings.Repeat("@#$%^&*", 2000),
	"comprehensions": "[1,2,3].all(x, [1,2,3].all(y, [1,2,3].all(z, true)))",
	"operators":      strings.Repeat("a&&b||", 2500) + "c",
	"many members":   "{" + strings.Repeat("\"a\":1,", 980) + "\"b\":1}",
	"many names":     "{\"a\": " + strings.Repeat("a&&b||", 660) + "c}",
	"many terms":     "{\"a\": " + strings.Repeat("1+", 1900) + "1}",
	"many elements":  "{\"a\": [" + strings.Repeat("pkg.inputs.big,", 600) + "1]}",
	"many questions": "{\"a\": [" + strings.Repeat("has(pkg.inputs.big)?1:2,", 280) + "1]}",
	"many signs":     strings.Repeat("@", 3990),
	"many dots":      strings.Repeat("a.", 2480) + "b",
	"many strings":   "{\"a\": [" + strings.Repeat("\"x\",", 1950) + "1]}",
	"many mistakes":  strings.Repeat("a b ", 2480),
	"many commas":    "f(" + strings.Repeat("1,", 2480) + "1)",
	"long string":    "{\"a\": \"" + strings.Repeat("x", 16000) + "\"}",
	"ternary broken": strings.Repeat("a?", 8000),
}

// big is an input of the size of a whole request.
var big = strings.Repeat("ab", 256<<10)

// try parses an expression as if it were an author's, and evaluates it if it
// can be.
func try(text string) {
	if x := parseExpression(text, pkg, "", new(Findings)); x != nil {
		_, _ = x.evaluate(context.Background(), map[string]any{"inputs": map[string]any{"big": big}})
	}
}

func TestHostileExpressionsTakeLittleMemory(t *testing.T) {
	try("1") // the environment is made once
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			try(text)
			runtime.ReadMemStats(&after)
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 16<<20 {
				t.Errorf("took %d bytes", taken)
			}
		})
	}
}

// BenchmarkHostileExpressions tells how long each keeps a processor: 50 ms are too
// long.
func BenchmarkHostileExpressions(b *testing.B) {
	for name, text := range hostile {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				try(text)
			}
		})
	}
}

func FuzzExpression(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	for _, p := range Packages() {
		f.Add(p.Manifest.Inputs.Bindings)
	}
	f.Fuzz(func(t *testing.T, text string) {
		findings := Findings{}
		x := parseExpression(text, pkg, "inputs.bindings", &findings)
		if (x == nil) != (len(findings) > 0) {
			t.Fatalf("an expression without findings, or findings with an expression: %q", text)
		}
		if x == nil {
			return
		}
		x.literal("inputs.bindings", &findings)
		x.references(x.tree.NativeRep().Expr())
		value, err := x.evaluate(t.Context(), map[string]any{"inputs": map[string]any{"big": "b", "n": int64(1)}})
		if err != nil {
			return
		}
		if _, err := (Values{"value": value}).JSON(); err != nil {
			t.Fatalf("the value of %q is not JSON: %v", text, err)
		}
	})
}
