package proxy

import (
	"bytes"
	"fmt"
	"strings"
)

// template is a path, and a query perhaps, with places that are filled in from what
// a route's match found: "{name}" is a segment of the path, "$1" and "${name}" are
// groups of the regular expression, "$$" is a dollar sign where there is one.
type template struct {
	pieces []piece
	fills  bool // it has places
	query  bool // it has a query
}

// piece is a literal text, or a place.
type piece struct {
	text  string
	param int  // index of the segment to put here, if at least 0
	group int  // number of the group to put here, if at least 0
	query bool // it stands behind "?"
}

// compileTemplate checks a template against the match that fills it. what names it
// for people.
func compileTemplate(what, text string, m *matcher) (*template, error) {
	t := &template{}
	bad := func(format string, args ...any) (*template, error) {
		return nil, fmt.Errorf("%s %q: %s", what, text, fmt.Sprintf(format, args...))
	}
	literal := func(s string) {
		t.pieces = append(t.pieces, piece{text: s, param: -1, group: -1, query: t.query})
	}
	place := func(param, group int) {
		t.pieces = append(t.pieces, piece{param: param, group: group, query: t.query})
		t.fills = true
	}
	from := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '?' && !t.query:
			literal(text[from:i])
			from, t.query = i, true
		case c <= ' ' || c >= 0x7f || c == '#' || c == '}' || c == '\\':
			return bad("%q can't be in a path; write it percent-encoded", c)
		case c == '{':
			literal(text[from:i])
			name, _, ok := strings.Cut(text[i+1:], "}")
			if !ok {
				return bad("the { has no }")
			}
			at := -1
			for _, p := range m.params {
				if p.name == name {
					at = p.at
				}
			}
			if at < 0 {
				return bad("the path %q has no {%s}", m.src.Path, name)
			}
			place(at, -1)
			i += len(name) + 1
			from = i + 1
		case c == '$':
			name, size := groupName(text[i+1:])
			if name == "" && m.regex == nil {
				continue // a dollar sign is as good as any other
			}
			literal(text[from:i])
			if name == "$" {
				literal("$")
			} else if m.regex == nil {
				return bad("the match has no regular expression to take $%s from", name)
			} else {
				group := groupOf(name, m)
				if group < 0 {
					return bad("the regular expression has no group %q; a dollar sign is written $$", name)
				}
				place(-1, group)
			}
			i += size
			from = i + 1
		}
	}
	literal(text[from:])
	first := t.pieces[0]
	for _, p := range t.pieces {
		if first = p; p.text != "" || p.param >= 0 || p.group >= 0 {
			break
		}
	}
	if first.query || first.group < 0 && !strings.HasPrefix(first.text, "/") {
		return bad("a path begins with a slash")
	}
	return t, nil
}

// groupName reads what follows a "$": "1", "{name}" or "$", and says how long it is.
func groupName(s string) (name string, size int) {
	switch {
	case s == "":
	case s[0] == '$':
		return "$", 1
	case s[0] == '{':
		if name, _, ok := strings.Cut(s[1:], "}"); ok {
			return name, len(name) + 2
		}
	case s[0] >= '0' && s[0] <= '9':
		n := 1
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		return s[:n], n
	}
	return "", 0
}

// groupOf returns the number of a group of the match's regular expression; -1 if
// there is none of that name or number.
func groupOf(name string, m *matcher) int {
	n, digits := 0, name != ""
	for _, c := range name {
		digits = digits && c >= '0' && c <= '9'
		if digits {
			n = min(n*10+int(c-'0'), 1<<20)
		}
	}
	if !digits {
		return m.regex.SubexpIndex(name)
	}
	if n > m.regex.NumSubexp() {
		return -1
	}
	return n
}

// fill adds the filled template to dst; raw is the request's path as it came, p the
// same parsed. What is put in is still encoded as it came (of a regular expression,
// as the normal form has it), so it can't end a segment that it stands in nor, in a
// query, its parameter. It fails if what comes out has dot segments.
func (t *template) fill(dst, raw []byte, p *parsedPath, m *matcher) ([]byte, error) {
	begin, path := len(dst), -1
	var groups []int
	for i := range t.pieces {
		piece := &t.pieces[i]
		if piece.query && path < 0 {
			path = len(dst)
		}
		var put []byte
		switch {
		case piece.param >= 0:
			put = raw[p.segments[piece.param].raw:]
			if end := bytes.IndexByte(put, '/'); end >= 0 {
				put = put[:end]
			}
		case piece.group >= 0:
			if groups == nil {
				groups = m.regex.FindSubmatchIndex(p.norm)
			}
			if at := 2 * piece.group; at+1 < len(groups) && groups[at] >= 0 {
				put = p.norm[groups[at]:groups[at+1]]
			}
			if len(dst) == begin && (len(put) == 0 || put[0] != '/') {
				dst = append(dst, '/')
			}
		default:
			dst = append(dst, piece.text...)
			continue
		}
		if !piece.query {
			dst = append(dst, put...)
			continue
		}
		for _, c := range put {
			switch c {
			case '&', '=', '+', ';', '#':
				const digits = "0123456789ABCDEF"
				dst = append(dst, '%', digits[c>>4], digits[c&15])
			default:
				dst = append(dst, c)
			}
		}
	}
	if path < 0 {
		path = len(dst)
	}
	if t.fills && dotted(dst[begin:path]) {
		return dst, errDots
	}
	return dst, nil
}
