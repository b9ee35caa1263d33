package h1

import (
	"bytes"

	"swell/internal/exchange"
)

// request reads a request's head from b. It returns its length, 0 if b doesn't
// hold all of it.
func request(b []byte, q *exchange.Request, m *meta, l *Limits) (int, *refusal) {
	start := 0
	if len(b) > 0 && b[0] == '\r' { // one empty line before it is allowed
		if len(b) == 1 {
			return 0, nil
		}
		if b[1] != '\n' {
			return 0, badLine
		}
		start = 2
	}
	i := start
	for i < len(b) && class[b[i]]&token != 0 {
		i++
	}
	if i-start > 32 {
		return 0, badMethod
	}
	if i == len(b) {
		return 0, nil
	}
	if b[i] != ' ' || i == start {
		return 0, badLine
	}
	method := b[start:i]
	i++
	t := i
	for i < len(b) && class[b[i]]&target != 0 {
		i++
	}
	if i-t > l.Target {
		return 0, longTarget
	}
	if i == len(b) {
		return 0, nil
	}
	if i == t {
		return 0, badLine
	}
	if b[i] != ' ' {
		if b[i] == '\r' || b[i] == '\n' { // HTTP/0.9
			return 0, badLine
		}
		return 0, badTarget
	}
	tgt := b[t:i:i]
	i++
	if len(b) < i+10 {
		if bytes.IndexByte(b[i:], '\n') >= 0 {
			return 0, badLine
		}
		return 0, nil
	}
	if r := version(b[i:i+8], m); r != nil {
		return 0, r
	}
	if b[i+8] != '\r' || b[i+9] != '\n' {
		return 0, badLine
	}
	i += 10
	n, r := fields(b[i:], &q.Header, m, l.Fields, false)
	if r != nil || n == 0 {
		return 0, r
	}
	q.Method = intern(method)
	q.Major, q.Minor = 1, m.minor
	if r := m.place(q, tgt); r != nil {
		return 0, r
	}
	if r := m.frame(q); r != nil {
		return 0, r
	}
	return i + n, nil
}

func version(v []byte, m *meta) *refusal {
	switch string(v) {
	case "HTTP/1.1":
		m.minor = 1
		return nil
	case "HTTP/1.0":
		m.minor = 0
		return nil
	}
	if string(v[:5]) == "HTTP/" && v[5] >= '0' && v[5] <= '9' && v[6] == '.' && v[7] >= '0' && v[7] <= '9' {
		return badVersion
	}
	return badLine
}

func intern(m []byte) string {
	switch string(m) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "PATCH":
		return "PATCH"
	case "OPTIONS":
		return "OPTIONS"
	case "CONNECT":
		return "CONNECT"
	case "TRACE":
		return "TRACE"
	}
	return string(m)
}

var slash, asterisk = []byte("/"), []byte("*")

// place sets the request's target and host.
func (m *meta) place(q *exchange.Request, t []byte) *refusal {
	if m.hosts > 1 || m.hosts == 0 && m.minor > 0 || m.hosts == 1 && !validHost(m.host) {
		return badHost
	}
	q.Host, q.Target = m.host, t
	switch {
	case q.Method == "CONNECT": // only authority-form, with a port (RFC 9110, 9.3.6)
		if !validHost(t) || !ported(t) {
			return badTarget
		}
		q.Host, q.Target = t, slash
		return nil
	case t[0] == '/':
	case t[0] == '*':
		if len(t) > 1 || q.Method != "OPTIONS" {
			return badTarget
		}
		return nil
	default: // absolute-form: its host counts, whatever Host says (RFC 9112, 3.2.2)
		rest, ok := scheme(t)
		if !ok {
			return badTarget
		}
		i := 0
		for i < len(rest) && rest[i] != '/' && rest[i] != '?' {
			i++
		}
		if !validHost(rest[:i]) {
			return badTarget
		}
		q.Host, q.Target = rest[:i:i], rest[i:]
		switch {
		case i == len(rest) && q.Method == "OPTIONS":
			q.Target = asterisk
		case i == len(rest):
			q.Target = slash
		case rest[i] == '?':
			q.Target = append([]byte{'/'}, rest[i:]...)
		}
	}
	if !validEscapes(q.Path()) {
		return badTarget
	}
	return nil
}

// ported reports that a valid host has a port.
func ported(host []byte) bool {
	i := bytes.LastIndexByte(host, ':')
	return i >= 0 && i+1 < len(host) && bytes.IndexByte(host[i:], ']') < 0
}

func scheme(t []byte) ([]byte, bool) {
	if len(t) > 7 && is(t[:7], "http://") {
		return t[7:], true
	}
	if len(t) > 8 && is(t[:8], "https://") {
		return t[8:], true
	}
	return nil, false
}

// frame settles how the request's body ends, and what it asks of the connection.
func (m *meta) frame(q *exchange.Request) *refusal {
	if m.coded {
		switch {
		case m.sized:
			return bothLengths
		case m.minor == 0:
			return oldCoding
		case !m.last:
			return oddCoding
		}
		m.framing, q.Length = chunked, -1
	} else if m.sized && m.length > 0 {
		m.framing, q.Length = byLength, m.length
	}
	if m.minor == 0 {
		m.close = m.close || !m.keep
		m.expect, m.upgrades = false, false
	}
	if q.Method == "CONNECT" {
		// What follows its head is the tunnel's; a reader of less would take a body for that.
		if m.framing != none || m.sized {
			return badTunnel
		}
		m.expect, m.upgrades = false, false
	}
	q.Expect = m.expect && m.framing != none
	// An upgrade with a body is legal and nobody's practice.
	if m.upgrades && m.framing == none && mayUpgrade(m.upgrade) {
		q.Upgrade = m.upgrade
	}
	return nil
}

// mayUpgrade reports whether a client may ask an upstream to switch to the protocols of
// a list. Those that carry HTTP again would take its requests out of our hands.
func mayUpgrade(list []byte) bool {
	for rest := list; len(rest) > 0; {
		var e []byte
		e, rest = cut(rest)
		name, version, slashed := bytes.Cut(e, slash)
		if !isToken(name) || slashed && !isToken(version) || is(name, "h2c") || is(name, "h2") || is(name, "http") || is(name, "tls") {
			return false
		}
	}
	return len(list) > 0
}
