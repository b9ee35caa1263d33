package frames

import (
	"bytes"

	"swell/internal/exchange"
)

// Of says which kind of field section is read.
type Of uint8

// The kinds of field sections.
const (
	Request Of = iota
	Response
	Trailer
)

// Section is one field section as a [Decoder] reads it. Set Of, Header and the
// bounds, then decode, then read the rest.
type Section struct {
	Of        Of
	Header    *exchange.Header // gets the end-to-end fields
	Arena     []byte           // holds the bytes of what is in no table; it grows
	MaxBytes  int              // of the list, 32 added for each field (RFC 9113, 6.5.2); 0 is no bound
	MaxFields int              // 0 is no bound

	// Bad is a slug that says why the section is malformed (RFC 9113, 8.1.1): a
	// stream error. "" is a good one.
	Bad string
	// Large: it was over a bound, and fields are missing.
	Large bool

	Pseudo [pseudos][]byte // by Method … Status; nil is absent
	Host   []byte          // of a request's Host field; nil is absent
	Length int64           // Content-Length; -1 is absent
	Expect bool            // a request expects 100-continue

	size, fields int
	cookies      int
	regular      bool // a field came that is no pseudo-field
}

// Pseudo-fields (RFC 9113, 8.3; RFC 8441).
const (
	Method = iota
	Scheme
	Authority
	Path
	Protocol
	Status
	pseudos
)

var pseudoNames = [pseudos]string{":method", ":scheme", ":authority", ":path", ":protocol", ":status"}

// Begin empties the section but for its bounds and memory.
func (s *Section) Begin(of Of, h *exchange.Header) {
	*s = Section{Of: of, Header: h, Arena: s.Arena[:0], MaxBytes: s.MaxBytes, MaxFields: s.MaxFields, Length: -1}
}

// kind is what is to be known of a field, found once for those in tables.
type kind uint8

const (
	plain       kind = iota
	badName          // not a token in lower case
	badValue         // control characters, or blanks at the ends
	forbidden        // connection-specific (RFC 9113, 8.2.2)
	dropped          // not passed on: HTTP2-Settings
	host             // of a request
	length           // Content-Length
	cookie           // crumbs are joined (RFC 9113, 8.2.3)
	te               // "trailers" alone is allowed
	expect           // of a request
	firstPseudo      // and those of the others
)

// entry is a field in a table, or one that was just read.
type entry struct {
	id          exchange.ID
	kind        kind
	name, value []byte
}

// classify finds out what is to be known of a field by its name.
func classify(name []byte) (exchange.ID, kind) {
	if len(name) > 0 && name[0] == ':' {
		for i, p := range pseudoNames {
			if string(name) == p {
				return exchange.None, firstPseudo + kind(i)
			}
		}
		return exchange.None, badName
	}
	if len(name) == 0 || !all(name, lower) {
		return exchange.None, badName
	}
	id := exchange.Identify(name)
	switch id {
	case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.TransferEncoding, exchange.Upgrade:
		return id, forbidden
	case exchange.HTTP2Settings:
		return id, dropped
	case exchange.Host:
		return id, host
	case exchange.ContentLength:
		return id, length
	case exchange.Cookie:
		return id, cookie
	case exchange.TE:
		return id, te
	case exchange.Expect:
		return id, expect
	}
	return id, plain
}

// judge completes an entry of which the name is classified.
func (e *entry) judge() {
	if e.kind != badName && !validValue(e.value) {
		e.kind = badValue
	}
}

// room counts a field and reports that it is within the bounds.
func (s *Section) room(n int) bool {
	s.size += n + 32
	s.fields++
	if s.MaxBytes > 0 && s.size > s.MaxBytes || s.MaxFields > 0 && s.fields > s.MaxFields {
		s.Large = true
	}
	return !s.Large
}

func (s *Section) bad(why string) {
	if s.Bad == "" {
		s.Bad = why
	}
}

// add takes a field.
func (s *Section) add(e *entry) {
	if e.kind >= firstPseudo {
		s.pseudo(int(e.kind-firstPseudo), e.value)
		return
	}
	s.regular = true
	switch e.kind {
	case plain:
	case badName:
		s.bad("field-name")
		return
	case badValue:
		s.bad("field-value")
		return
	case forbidden:
		s.bad("connection-field")
		return
	case dropped:
		return
	case host:
		if s.Of != Request {
			return
		}
		if s.Host != nil {
			s.bad("two-hosts")
		}
		s.Host = e.value
		return
	case length:
		if s.Of == Trailer {
			s.bad("length-in-trailer")
			return
		}
		n, ok := number(e.value)
		if !ok || s.Length >= 0 && s.Length != n {
			s.bad("content-length")
		}
		s.Length = n
		return
	case te:
		if s.Of == Response {
			return
		}
		if s.Of == Trailer || !trailers(e.value) {
			s.bad("te")
			return
		}
	case expect:
		if s.Of == Request && bytes.EqualFold(e.value, continues) {
			s.Expect = true
		}
		return
	case cookie:
		s.cookies++
	}
	s.Header.Append(e.id, e.name, e.value)
}

var continues = []byte("100-continue")

func trailers(v []byte) bool { return len(v) == 8 && bytes.EqualFold(v, []byte("trailers")) }

func (s *Section) pseudo(i int, v []byte) {
	switch {
	case s.regular:
		s.bad("late-pseudo-field")
	case s.Of == Trailer || (i == Status) != (s.Of == Response):
		s.bad("pseudo-field")
	case s.Pseudo[i] != nil:
		s.bad("two-pseudo-fields")
	}
	if v == nil {
		v = []byte{}
	}
	s.Pseudo[i] = v
}

// end joins the crumbs of a cookie.
func (s *Section) end() {
	if s.cookies < 2 || s.Of != Request {
		return
	}
	n := 0
	for _, f := range s.Header.Fields() {
		if f.ID == exchange.Cookie {
			n += len(f.Value) + 2
		}
	}
	if cap(s.Arena)-len(s.Arena) < n { // one piece, which growing would not move
		s.Arena = make([]byte, 0, n+512)
	}
	from := len(s.Arena)
	for _, f := range s.Header.Fields() {
		if f.ID == exchange.Cookie {
			if len(s.Arena) > from {
				s.Arena = append(s.Arena, ';', ' ')
			}
			s.Arena = append(s.Arena, f.Value...)
		}
	}
	s.Header.Del(exchange.Cookie)
	s.Header.Append(exchange.Cookie, cookieName, s.Arena[from:len(s.Arena):len(s.Arena)])
}

var cookieName = []byte("cookie")
