package catalog

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"deputy/internal/deputy"
)

// Bounds of an expression. An evaluation is over when any is reached.
const (
	maxText   = 16 << 10 // bytes
	maxDepth  = 32
	maxNodes  = 2000
	maxTokens = 5000
	maxCost   = 10_000
	maxTime   = time.Second
)

// root is the one variable that an expression sees.
type root string

// The roots: what the installer gave, and what the graph made so far.
const (
	pkg      root = "pkg"
	entities root = "entities"
)

// environments holds the language as each root sees it: the standard library,
// without the macros that loop.
var environments = sync.OnceValue(func() map[root]*cel.Env {
	return map[root]*cel.Env{pkg: environment(pkg), entities: environment(entities)}
})

func environment(r root) *cel.Env {
	env, err := cel.NewCustomEnv(
		cel.StdLib(), cel.ClearMacros(), cel.Macros(cel.HasMacro), cel.EnableMacroCallTracking(),
		cel.ParserExpressionSizeLimit(maxText), cel.ParserRecursionLimit(4*maxDepth), cel.ParserErrorRecoveryLimit(1),
		cel.RegexProgramSizeLimit(1000),
		cel.Variable(string(r), cel.MapType(cel.StringType, cel.DynType)),
	)
	if err != nil {
		panic(err) // the options above are constants
	}
	return env
}

// Expression is a checked CEL expression over one root. It is immutable and
// safe for concurrent use.
type Expression struct {
	text    string
	root    root
	tree    *cel.Ast
	program cel.Program
}

// parseExpression checks an expression. What is wrong is added to findings at
// the path, and the expression is nil.
func parseExpression(text string, r root, at string, findings *Findings) *Expression {
	if len(text) > maxText {
		findings.add(at, "must be at most %d bytes", maxText)
		return nil
	}
	if problem := scan(text); problem != "" {
		findings.add(at, "%s", problem)
		return nil
	}
	env := environments()[r]
	tree, issues := env.Parse(text)
	if issues.Err() == nil {
		if problem := bound(tree.NativeRep().Expr(), r); problem != "" {
			findings.add(at, "%s", problem)
			return nil
		}
		tree, issues = env.Check(tree)
	}
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			findings.add(at, "line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, clip(e.Message))
		}
		return nil
	}
	program, err := env.Program(tree, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		findings.add(at, "cannot be evaluated")
		return nil
	}
	return &Expression{text: text, root: r, tree: tree, program: program}
}

// scan says what keeps a text from being handed to the parser, which works its
// way down on the stack and takes long over what it cannot read: nesting, the
// number of tokens, and strings without an end are judged before.
func scan(text string) string {
	depth, run, tokens := 0, 0, 0
	word := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		inWord := c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !inWord && c > ' ' || inWord && !word {
			tokens++
		}
		word = inWord
		switch c {
		case '"', '\'':
			end := closing(text, i)
			if end < 0 {
				return "a string has no end"
			}
			i, run = end, 0
		case '/':
			if strings.HasPrefix(text[i:], "//") {
				return "comments are not supported"
			}
		case '(', '[', '{':
			depth, run = depth+1, 0
		case ')', ']', '}':
			depth, run = depth-1, 0
		case '!', '-', '?':
			run++
		case ' ', '\t', '\n', '\r':
		default:
			if c != '-' && c != '?' && !inWord && c != ':' {
				run = 0
			}
		}
		if depth+run > maxDepth {
			return fmt.Sprintf("must not be nested deeper than %d", maxDepth)
		}
	}
	if tokens > maxTokens {
		return fmt.Sprintf("must not have more than %d words and signs", maxTokens)
	}
	return ""
}

// closing returns where the string that begins at i ends; -1 for nowhere.
func closing(text string, i int) int {
	quote := text[i : i+1]
	if strings.HasPrefix(text[i:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	raw := i > 0 && text[i-1]|0x20 == 'r'
	for j := i + len(quote); j < len(text); j++ {
		switch {
		case text[j] == '\\' && !raw:
			j++
		case strings.HasPrefix(text[j:], quote):
			return j + len(quote) - 1
		case len(quote) == 1 && text[j] == '\n':
			return -1
		}
	}
	return -1
}

// bound says what is wrong with the shape of a parsed expression, or with the
// names that it uses.
func bound(e ast.Expr, r root) string {
	depth, nodes := size(e)
	switch {
	case depth > maxDepth:
		return fmt.Sprintf("must not be nested deeper than %d", maxDepth)
	case nodes > maxNodes:
		return fmt.Sprintf("must not have more than %d parts", maxNodes)
	}
	if name := foreign(e, r); name != "" {
		return "there is nothing called " + clip(name) + " here"
	}
	return ""
}

// foreign returns the first name in an expression that is not the root's.
func foreign(e ast.Expr, r root) string {
	if e.Kind() == ast.IdentKind && e.AsIdent() != string(r) {
		return e.AsIdent()
	}
	for _, child := range children(e) {
		if name := foreign(child, r); name != "" {
			return name
		}
	}
	return ""
}

// clip bounds what the compiler says: it repeats the source.
func clip(message string) string {
	message, _, _ = strings.Cut(message, "\n")
	const limit = 200
	if len(message) > limit {
		message = strings.ToValidUTF8(message[:limit], "") + "…"
	}
	return message
}

// size returns how deep an expression is, and of how many parts.
func size(e ast.Expr) (depth, nodes int) {
	nodes = 1
	for _, child := range children(e) {
		d, n := size(child)
		depth, nodes = max(depth, d), nodes+n
	}
	return depth + 1, nodes
}

// children returns the parts that an expression is directly made of.
func children(e ast.Expr) []ast.Expr {
	switch e.Kind() {
	case ast.SelectKind:
		return []ast.Expr{e.AsSelect().Operand()}
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			return append([]ast.Expr{call.Target()}, call.Args()...)
		}
		return call.Args()
	case ast.ListKind:
		return e.AsList().Elements()
	case ast.MapKind:
		var out []ast.Expr
		for _, entry := range e.AsMap().Entries() {
			out = append(out, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
		return out
	}
	return nil
}

// evaluate returns the value of the expression with its root set, as JSON. An
// error is Invalid and repeats no value.
func (x *Expression) evaluate(ctx context.Context, value map[string]any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	out, _, err := x.program.ContextEval(ctx, map[string]any{string(x.root): value})
	if err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "%s", evaluationError(err))
	}
	return toJSON(out)
}

// evaluationError says why an evaluation failed without the values in it.
func evaluationError(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "cost limit"), strings.Contains(text, "interrupted"):
		return "the expression takes too long"
	case strings.HasPrefix(text, "no such key"):
		return clip(text) // names a key, which the author wrote
	case strings.Contains(text, "overflow"), strings.Contains(text, "divi"), strings.Contains(text, "modul"):
		return "a number is out of range"
	}
	return "the expression does not fit the values it is given"
}

// toJSON returns a CEL value as JSON knows it.
func toJSON(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.String:
		return string(v), nil
	case types.Uint:
		if uint64(v) <= math.MaxInt64 {
			return int64(v), nil
		}
	case types.Double:
		if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
	case traits.Mapper:
		return mapJSON(v)
	case traits.Lister:
		out := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			item, err := toJSON(it.Next())
			if err != nil {
				return nil, err
			}
			out = append(out, item)
		}
		return out, nil
	}
	return nil, deputy.Errorf(deputy.Invalid, "the value of an expression must be JSON")
}

func mapJSON(m traits.Mapper) (any, error) {
	out := map[string]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, deputy.Errorf(deputy.Invalid, "the keys of a map must be strings")
		}
		value, err := toJSON(m.Get(key))
		if err != nil {
			return nil, err
		}
		out[string(name)] = value
	}
	return out, nil
}

// entry is one member of a map literal.
type entry struct {
	name  string
	value ast.Expr
}

// literal returns the members of an expression that is a map literal with
// distinct string keys, which the language itself does not ask for.
func (x *Expression) literal(at string, findings *Findings) []entry {
	e := x.tree.NativeRep().Expr()
	if e.Kind() != ast.MapKind {
		findings.add(at, "must be a map literal: {\"name\": value}")
		return nil
	}
	checkKeys(e, at, findings)
	var out []entry
	for _, m := range e.AsMap().Entries() {
		if key := m.AsMapEntry().Key(); key.Kind() == ast.LiteralKind {
			if name, ok := key.AsLiteral().(types.String); ok {
				out = append(out, entry{string(name), m.AsMapEntry().Value()})
			}
		}
	}
	return out
}

// checkKeys refuses keys that are not distinct string constants, at any depth.
func checkKeys(e ast.Expr, at string, findings *Findings) {
	if e.Kind() == ast.MapKind {
		seen := map[string]bool{}
		for _, m := range e.AsMap().Entries() {
			key := m.AsMapEntry().Key()
			var text types.String
			ok := key.Kind() == ast.LiteralKind
			if ok {
				text, ok = key.AsLiteral().(types.String)
			}
			switch {
			case !ok:
				findings.add(at, "the keys of a map must be string constants")
			case seen[string(text)]:
				findings.add(join(at, string(text)), "is there twice")
			}
			seen[string(text)] = true
		}
	}
	for _, child := range children(e) {
		checkKeys(child, at, findings)
	}
}

// reference is one use of the root: the path below it, as far as it is
// written down, and what is known to be there at that place.
type reference struct {
	path    []string
	test    bool            // asks with has() whether it is there
	guarded map[string]bool // paths, joined by dots, that has() has found
}

// references returns every use of the root in an expression.
func (x *Expression) references(e ast.Expr) []reference {
	var out []reference
	x.collect(e, map[string]bool{}, &out)
	return out
}

func (x *Expression) collect(e ast.Expr, guarded map[string]bool, out *[]reference) {
	if path, test, ok := x.path(e); ok {
		*out = append(*out, reference{path, test, guarded})
		return
	}
	if e.Kind() == ast.CallKind {
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() {
		case operators.Conditional:
			x.collect(args[0], guarded, out)
			x.collect(args[1], with(guarded, x.proven(args[0], true)), out)
			x.collect(args[2], with(guarded, x.proven(args[0], false)), out)
			return
		case operators.LogicalAnd, operators.LogicalOr:
			x.collect(args[0], guarded, out)
			holds := e.AsCall().FunctionName() == operators.LogicalAnd
			x.collect(args[1], with(guarded, x.proven(args[0], holds)), out)
			return
		}
	}
	for _, child := range children(e) {
		x.collect(child, guarded, out)
	}
}

func with(guarded map[string]bool, more []string) map[string]bool {
	if len(more) == 0 {
		return guarded
	}
	out := make(map[string]bool, len(guarded)+len(more))
	for p := range guarded {
		out[p] = true
	}
	for _, p := range more {
		out[p] = true
	}
	return out
}

// proven returns the paths that are known to be there once a condition has
// turned out to be outcome.
func (x *Expression) proven(e ast.Expr, outcome bool) []string {
	if path, test, ok := x.path(e); ok && test && outcome {
		return []string{strings.Join(path, ".")}
	}
	if e.Kind() != ast.CallKind {
		return nil
	}
	args := e.AsCall().Args()
	switch name := e.AsCall().FunctionName(); {
	case name == operators.LogicalNot:
		return x.proven(args[0], !outcome)
	case name == operators.LogicalAnd && outcome, name == operators.LogicalOr && !outcome:
		return slices.Concat(x.proven(args[0], outcome), x.proven(args[1], outcome))
	}
	return nil
}

// path returns the path below the root that an expression is: root.a["b"].
func (x *Expression) path(e ast.Expr) (path []string, test, ok bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return nil, false, e.AsIdent() == string(x.root)
	case ast.SelectKind:
		s := e.AsSelect()
		path, inner, ok := x.path(s.Operand())
		return append(path, s.FieldName()), s.IsTestOnly(), ok && !inner
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != operators.Index || call.Args()[1].Kind() != ast.LiteralKind {
			return nil, false, false
		}
		key, isText := call.Args()[1].AsLiteral().(types.String)
		path, inner, ok := x.path(call.Args()[0])
		return append(path, string(key)), false, ok && isText && !inner
	}
	return nil, false, false
}

// source returns the text of a part of the expression.
func (x *Expression) source(e ast.Expr) string {
	text, err := cel.ExprToString(e, x.tree.NativeRep().SourceInfo())
	if err != nil {
		return x.text
	}
	return text
}

// constant returns the value of a part that does not refer to the root.
func (x *Expression) constant(ctx context.Context, e ast.Expr) (any, error) {
	part := parseExpression(x.source(e), x.root, "", new(Findings))
	if part == nil {
		return nil, deputy.Errorf(deputy.Invalid, "cannot be evaluated")
	}
	return part.evaluate(ctx, nil)
}

// indexed returns a path with an index: name[3].
func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// String returns the text of the expression.
func (x *Expression) String() string { return x.text }

var _ fmt.Stringer = (*Expression)(nil)
