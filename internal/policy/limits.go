package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Limits of one policy. The first two are counted before the engine parses
// anything; the others on the parsed tree, before it is compiled or written.
const (
	// MaxSize bounds a policy in the form it is given in, in bytes.
	MaxSize = 64 << 10
	// MaxNesting bounds brackets and runs of prefix operators in text, and
	// objects and arrays in JSON.
	MaxNesting = 100
	// maxChain bounds the height of the tree: operators in a row, such as
	// a || b || c, grow it without any bracket, and the engine's JSON writer
	// takes time square in the height.
	maxChain = 200
	// maxNodes bounds the nodes of the tree, counted as the compiler would
	// copy them: a dotted "has" shares nodes, so that its tree is much larger
	// than its text.
	maxNodes = MaxSize
	// maxParts bounds the parts of a name such as Keycard::Action: the engine
	// takes time square in their number.
	maxParts = 32
	// maxInteger is the largest integer that canonical JSON keeps exact.
	maxInteger = 1<<53 - 1
)

// scan walks Cedar text token by token, as far as limits need it: strings and
// comments are skipped as the engine skips them, so that nothing inside them
// counts and nothing outside them hides.
type scan struct {
	text string
	at   int
}

// next returns the byte that begins the next token, and its offset; 0 at the
// end. A string counts as one token.
func (s *scan) next() (token byte, offset int) {
	for s.at < len(s.text) {
		c, rest := s.text[s.at], s.text[s.at:]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			s.at++
		case strings.HasPrefix(rest, "//"):
			s.skipPast("\n", 2)
		case strings.HasPrefix(rest, "/*"):
			s.skipPast("*/", 2)
		case c == '"':
			offset = s.at
			s.skipString()
			return c, offset
		default:
			s.at++
			return c, s.at - 1
		}
	}
	return 0, len(s.text)
}

// skipPast moves behind the next mark that begins at least skip bytes ahead.
func (s *scan) skipPast(mark string, skip int) {
	i := strings.Index(s.text[s.at+skip:], mark)
	if i < 0 {
		s.at = len(s.text)
		return
	}
	s.at += skip + i + len(mark)
}

func (s *scan) skipString() {
	for s.at++; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return
		}
	}
	s.at = len(s.text)
}

// position turns an offset into line and column as the engine counts them:
// from 1, in characters.
func (s *scan) position(offset int) (line, column int) {
	before := s.text[:offset]
	line = 1 + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

func (s *scan) finding(offset int, format string, args ...any) *finding {
	line, column := s.position(offset)
	return &finding{line: line, column: column, message: fmt.Sprintf(format, args...)}
}

// checkText finds what may not reach the engine's parser; nil when text may.
func checkText(text string) *finding {
	if len(text) > MaxSize {
		return &finding{message: fmt.Sprintf("a policy is at most %d bytes long", MaxSize)}
	}
	s := scan{text: text}
	var around []int   // depth outside each open bracket
	depth, run := 0, 0 // brackets and the operators before them; operators since
	colons := 0        // in the name at hand
	tokens, ended := 0, false
	for {
		token, offset := s.next()
		if offset == len(text) {
			break
		}
		if ended {
			return s.finding(offset, "exactly one policy is expected, and more follows")
		}
		tokens++
		if token == ':' {
			colons++
		} else if !inName(token) {
			colons = 0
		}
		if colons >= 2*maxParts {
			return s.finding(offset, "names have at most %d parts", maxParts)
		}
		switch token {
		case '!', '-':
			run++
		case '(', '[', '{':
			around = append(around, depth)
			depth, run = depth+run+1, 0
		case ')', ']', '}':
			if last := len(around) - 1; last >= 0 {
				depth, around = around[last], around[:last]
			}
			run = 0
		case '?':
			return s.finding(offset, "templates are not supported: a slot has no value here")
		default:
			ended = token == ';'
			run = 0
		}
		if depth+run > MaxNesting {
			return s.finding(offset, "brackets and prefix operators nest at most %d deep", MaxNesting)
		}
	}
	if tokens == 0 {
		return &finding{message: "exactly one policy is expected, and there is none"}
	}
	return nil
}

func inName(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// checkJSON is checkText for Cedar policy JSON.
func checkJSON(raw []byte) *finding {
	if len(raw) > MaxSize {
		return &finding{message: fmt.Sprintf("a policy is at most %d bytes long", MaxSize)}
	}
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > MaxNesting {
				return &finding{message: fmt.Sprintf("objects and arrays nest at most %d deep", MaxNesting)}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

var (
	errHeight  = fmt.Errorf("expressions are at most %d operators high; write alternatives as a set", maxChain)
	errNodes   = fmt.Errorf("a policy has at most %d operators and literals", maxNodes)
	errInteger = errors.New("integers beyond ±9007199254740991 are not supported: canonical JSON would round them")
)

// checkTree bounds a parsed policy before anything recurses over it twice.
func checkTree(p *ast.Policy) error {
	budget := maxNodes
	for _, c := range p.Conditions {
		if err := checkNode(c.Body, maxChain, &budget); err != nil {
			return err
		}
	}
	return nil
}

func checkNode(n ast.IsNode, height int, budget *int) (err error) {
	if *budget--; *budget < 0 {
		return errNodes
	}
	if height == 0 {
		return errHeight
	}
	if v, ok := n.(ast.NodeValue); ok {
		if i, ok := v.Value.(types.Long); ok && (i > maxInteger || i < -maxInteger) {
			return errInteger
		}
	}
	// Inspect shows n first and then, as asked, only its children.
	self := true
	ast.Inspect(ast.NewNode(n), func(child ast.IsNode) bool {
		if self {
			self = false
			return true
		}
		if err == nil {
			err = checkNode(child, height-1, budget)
		}
		return false
	})
	return err
}
