package proxy

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// Bounds of regular expressions. RE2 takes time linear in the text, but times the
// size of the program: so both are bounded, and with them what one look at one
// value may cost.
const (
	maxPattern = 4 << 10 // bytes of a pattern
	maxProgram = 1000    // instructions that it compiles to
	maxSubject = 4 << 10 // bytes of a text; a longer one is not like any pattern
)

// compileRegex compiles a pattern that is to match a whole text, and returns what
// every text like it begins with.
func compileRegex(pattern string) (*regexp.Regexp, string, error) {
	if len(pattern) > maxPattern {
		return nil, "", fmt.Errorf("regular expression of %d bytes: at most %d are allowed", len(pattern), maxPattern)
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, "", fmt.Errorf("regular expression %q: %w", pattern, err)
	}
	tree = tree.Simplify()
	prog, err := syntax.Compile(tree)
	if err != nil {
		return nil, "", fmt.Errorf("regular expression %q: %w", pattern, err)
	}
	if n := len(prog.Inst); n > maxProgram {
		return nil, "", fmt.Errorf("regular expression %q becomes a program of %d steps, of at most %d: lower its repeat counts", short(pattern), n, maxProgram)
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, "", fmt.Errorf("regular expression %q: %w", pattern, err)
	}
	return re, literalPrefix(tree), nil
}

// like reports whether a text matches.
func like(re *regexp.Regexp, text []byte) bool { return len(text) <= maxSubject && re.Match(text) }

func short(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// literalPrefix is what every text begins with that the tree matches from its
// beginning; "" if that can't be said.
func literalPrefix(t *syntax.Regexp) string {
	var b strings.Builder
	literals(t, &b)
	return b.String()
}

// literals adds the literal beginning of t, and reports whether t is no more than
// that.
func literals(t *syntax.Regexp, b *strings.Builder) bool {
	switch t.Op {
	case syntax.OpBeginText, syntax.OpEmptyMatch:
		return b.Len() == 0 || t.Op == syntax.OpEmptyMatch
	case syntax.OpLiteral:
		if t.Flags&syntax.FoldCase != 0 {
			return false
		}
		for _, r := range t.Rune {
			if r == utf8.RuneError { // stands for any malformed byte, too
				return false
			}
			b.WriteRune(r)
		}
		return true
	case syntax.OpCapture:
		return literals(t.Sub[0], b)
	case syntax.OpConcat:
		for _, s := range t.Sub {
			if !literals(s, b) {
				return false
			}
		}
		return true
	case syntax.OpPlus:
		literals(t.Sub[0], b)
	}
	return false
}
