package balance

import (
	"bytes"
	"fmt"
	"strings"

	"swell/internal/exchange"
	"swell/internal/plug"
)

// Key is what of a request a balancer hashes: "client", "path", "header:NAME",
// "cookie:NAME" or "query:NAME".
type Key struct {
	kind keyKind
	name string
}

type keyKind uint8

const (
	byClient keyKind = iota
	byPath
	byHeader
	byCookie
	byQuery
)

var keyNames = [...]string{byClient: "client", byPath: "path", byHeader: "header", byCookie: "cookie", byQuery: "query"}

// MarshalText writes the key as manifests have it.
func (k Key) MarshalText() ([]byte, error) {
	if k.kind <= byPath {
		return []byte(keyNames[k.kind]), nil
	}
	return []byte(keyNames[k.kind] + ":" + k.name), nil
}

// UnmarshalText reads a key.
func (k *Key) UnmarshalText(b []byte) error {
	const right = "write it as client, path, header:NAME, cookie:NAME or query:NAME"
	kind, name, named := strings.Cut(string(b), ":")
	i := -1
	for j, n := range keyNames {
		if n == kind {
			i = j
		}
	}
	switch {
	case i < 0:
		if near := plug.Nearest(kind, keyNames[:]); near != "" {
			return fmt.Errorf("%q is no part of a request; did you mean %q? %s", kind, near, right)
		}
		return fmt.Errorf("%q is no part of a request; %s", kind, right)
	case keyKind(i) <= byPath && named:
		return fmt.Errorf("%s has no name behind it; write it as %s", kind, kind)
	case keyKind(i) > byPath && name == "":
		return fmt.Errorf("%s needs a name; write it as %s:NAME", kind, kind)
	case keyKind(i) == byHeader && !token(name), keyKind(i) == byCookie && !token(name):
		return fmt.Errorf("%q is no name of a %s; it has letters, digits and !#$%%&'*+-.^_`|~ only", name, kind)
	}
	*k = Key{keyKind(i), name}
	return nil
}

// token reports whether s is a token (RFC 9110, 5.6.2).
func token(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// hash returns the hash of r's key; false if r has none.
func (k *Key) hash(r *Request) (uint64, bool) {
	if k.kind == byClient {
		return hashClient(r.Client), r.Client.IsValid()
	}
	if r.X == nil {
		return 0, false
	}
	rq := &r.X.Request
	switch k.kind {
	case byPath:
		return hashBytes(rq.Path()), len(rq.Target) > 0
	case byHeader:
		if strings.EqualFold(k.name, "Host") { // no header has it
			return hashBytes(rq.Host), len(rq.Host) > 0
		}
		v, ok := rq.Header.Lookup(k.name)
		return hashBytes(v), ok
	case byCookie:
		v, ok := cookie(&rq.Header, k.name)
		return hashBytes(v), ok
	}
	return hashQuery(rq.Query(), k.name)
}

// cookie returns the value of the first cookie of that name (RFC 6265, 4.2.1). HTTP/2
// may send several Cookie fields.
func cookie(h *exchange.Header, name string) ([]byte, bool) {
	for _, f := range h.Fields() {
		if f.ID != exchange.Cookie {
			continue
		}
		for rest := f.Value; len(rest) > 0; {
			var pair []byte
			if i := bytes.IndexByte(rest, ';'); i >= 0 {
				pair, rest = rest[:i], rest[i+1:]
			} else {
				pair, rest = rest, nil
			}
			pair = bytes.TrimLeft(pair, " \t")
			if len(pair) > len(name) && pair[len(name)] == '=' && string(pair[:len(name)]) == name {
				return bytes.TrimRight(pair[len(name)+1:], " \t"), true
			}
		}
	}
	return nil, false
}

// hashQuery hashes the value of the first parameter of that name, both as they are
// when "+" and "%XX" are decoded.
func hashQuery(query []byte, name string) (uint64, bool) {
	for len(query) > 0 {
		var pair []byte
		if i := bytes.IndexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			pair, query = query, nil
		}
		at := 0
		for at < len(name) && len(pair) > 0 && pair[0] != '=' {
			var c byte
			if c, pair = decoded(pair); c != name[at] {
				break
			}
			at++
		}
		if at < len(name) || len(pair) > 0 && pair[0] != '=' {
			continue
		}
		if len(pair) > 0 {
			pair = pair[1:]
		}
		h := uint64(14695981039346656037)
		for len(pair) > 0 {
			var c byte
			c, pair = decoded(pair)
			h = (h ^ uint64(c)) * 1099511628211
		}
		return mix(h), true
	}
	return 0, false
}

// decoded takes the next byte off b, which is not empty.
func decoded(b []byte) (byte, []byte) {
	switch c := b[0]; {
	case c == '+':
		return ' ', b[1:]
	case c == '%' && len(b) > 2:
		hi, lo := hex(b[1]), hex(b[2])
		if hi < 16 && lo < 16 {
			return hi<<4 | lo, b[3:]
		}
		fallthrough
	default:
		return c, b[1:]
	}
}

func hex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}
