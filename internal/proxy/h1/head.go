package h1

import (
	"bytes"

	"swell/internal/exchange"
)

// refusal is why a head can't be taken, and the answer that it gets.
type refusal struct {
	status int
	slug   Slug
	why    string
}

// Error says why.
func (r *refusal) Error() string { return r.why }

// Slug names a kind of refusal in one word that stays: for metrics and logs.
type Slug string

// What a server refuses, and the status that it answers.
const (
	BadLine       Slug = "request-line"      // 400: the request line is none
	BadTarget     Slug = "target"            // 400
	LongTarget    Slug = "target-length"     // 414: over Limits.Target
	BadVersion    Slug = "version"           // 505
	BadMethod     Slug = "method"            // 501
	BadField      Slug = "field"             // 400: a header field is none
	BadHost       Slug = "host"              // 400
	BadFraming    Slug = "framing"           // 400: two lengths, or one that is none
	BadCoding     Slug = "coding"            // 501: a transfer coding that nobody here has
	BadConnection Slug = "connection"        // 400
	BadExpect     Slug = "expect"            // 417
	ManyFields    Slug = "field-count"       // 431: over Limits.Fields
	LargeHead     Slug = "head-length"       // 431: over Limits.Head
	SlowHead      Slug = "slow-head"         // 408: over Limits.HeadTime
	SlowBody      Slug = "slow-body"         // 408, or a broken answer: over Limits.ReadTime
	SlowReader    Slug = "slow-reader"       // no answer any more: over Limits.WriteTime
	ManyConns     Slug = "conns-per-address" // 503: over Limits.PerAddress
)

var (
	badLine     = &refusal{400, BadLine, "malformed request line"}
	badStatus   = &refusal{400, BadLine, "malformed status line"}
	badTarget   = &refusal{400, BadTarget, "malformed request target"}
	longTarget  = &refusal{414, LongTarget, "request target too long"}
	badVersion  = &refusal{505, BadVersion, "HTTP version not supported"}
	badMethod   = &refusal{501, BadMethod, "method not supported"}
	badName     = &refusal{400, BadField, "malformed field name"}
	badValue    = &refusal{400, BadField, "malformed field value"}
	badHost     = &refusal{400, BadHost, "a request has exactly one valid Host"}
	badLength   = &refusal{400, BadFraming, "malformed or repeated Content-Length"}
	badCoding   = &refusal{400, BadFraming, "chunked must be the last transfer coding, once"}
	oddCoding   = &refusal{501, BadCoding, "transfer coding not supported"}
	bothLengths = &refusal{400, BadFraming, "both Content-Length and Transfer-Encoding"}
	oldCoding   = &refusal{400, BadFraming, "Transfer-Encoding needs HTTP/1.1"}
	badTunnel   = &refusal{400, BadFraming, "a CONNECT has no body"}
	badConn     = &refusal{400, BadConnection, "malformed Connection"}
	badExpect   = &refusal{417, BadExpect, "expectation not supported"}
	manyFields  = &refusal{431, ManyFields, "too many header fields"}
	largeHead   = &refusal{431, LargeHead, "request header too large"}
	slowHead    = &refusal{408, SlowHead, "request header took too long"}
	slowBody    = &refusal{408, SlowBody, "request body took too long"}
	slowReader  = &refusal{0, SlowReader, "the answer was not taken in time"}
	manyConns   = &refusal{503, ManyConns, "too many connections from this address"}
)

// framing is how the end of a body is found.
type framing uint8

const (
	none framing = iota
	byLength
	chunked
	byClose
)

// meta is what a head says about its message and connection, not for filters.
type meta struct {
	status  int    // of an answer
	reason  []byte // of an answer
	minor   int    // of HTTP/1.x
	framing framing
	length  int64 // with byLength
	close   bool  // the connection ends after the message
	keep    bool  // "keep-alive" was said
	hosts   int
	host    []byte
	upgrade []byte // what Upgrade lists, if Connection names it
	expect  bool
	coded   bool // a Transfer-Encoding was there
	last    bool // its last coding is chunked
	sized   bool // a Content-Length was there

	upgrades bool // Connection names upgrade
	named    bool // Connection names fields that aren't known
}

// fields reads header fields into h until the empty line. It returns the length
// of the section with that line, 0 if b doesn't hold all of it. In an answer, a
// proxy takes spaces between name and colon away (RFC 9112, 5.1).
func fields(b []byte, h *exchange.Header, m *meta, most int, answer bool) (int, *refusal) {
	i := 0
	for {
		j := i
		for j < len(b) && class[b[j]]&token != 0 {
			j++
		}
		if j == len(b) {
			return 0, nil
		}
		name := b[i:j]
		if b[j] != ':' {
			if j == i && b[j] == '\r' {
				if j+1 == len(b) {
					return 0, nil
				}
				if b[j+1] != '\n' {
					return 0, badName
				}
				i += 2
				break
			}
			if !answer || j == i || b[j] != ' ' && b[j] != '\t' {
				return 0, badName
			}
			for j < len(b) && (b[j] == ' ' || b[j] == '\t') {
				j++
			}
			if j == len(b) {
				return 0, nil
			}
			if b[j] != ':' {
				return 0, badName
			}
		}
		if len(name) == 0 {
			return 0, badName
		}
		j++
		for j < len(b) && (b[j] == ' ' || b[j] == '\t') {
			j++
		}
		k := fieldEnd(b, j)
		if k == len(b) {
			return 0, nil
		}
		if b[k] != '\r' {
			return 0, badValue
		}
		if k+1 == len(b) {
			return 0, nil
		}
		if b[k+1] != '\n' {
			return 0, badValue
		}
		e := k
		for e > j && (b[e-1] == ' ' || b[e-1] == '\t') {
			e--
		}
		if h.Len() >= most {
			return 0, manyFields
		}
		id := exchange.Identify(name)
		if r := m.take(h, id, name, b[j:e:e], answer); r != nil {
			return 0, r
		}
		i = k + 2
	}
	if m.named {
		m.strip(h)
	}
	return i, nil
}

// take sorts one field: what concerns the connection or the framing goes to m,
// the rest to h.
func (m *meta) take(h *exchange.Header, id exchange.ID, name, value []byte, answer bool) *refusal {
	switch id {
	case exchange.Host:
		if !answer {
			m.hosts++
			m.host = value
			return nil
		}
	case exchange.ContentLength:
		n, ok := length(value)
		if !ok || m.sized && (!answer || n != m.length) {
			return badLength
		}
		m.sized, m.length = true, n
		return nil
	case exchange.TransferEncoding:
		return m.codings(value)
	case exchange.Connection:
		// The field stays in h until all are known: it may name any of them.
		for rest := value; len(rest) > 0; {
			var e []byte
			e, rest = cut(rest)
			switch {
			case len(e) == 0:
			case is(e, "close"):
				m.close = true
			case is(e, "keep-alive"):
				m.keep = true
			case is(e, "upgrade"):
				m.upgrades = true
			case is(e, "te") || is(e, "http2-settings"):
			case !isToken(e):
				return badConn
			default:
				m.named = true
			}
		}
		if m.named {
			h.Append(id, name, value)
		}
		return nil
	case exchange.Upgrade:
		m.upgrade = value
		return nil
	case exchange.TE:
		for rest := value; len(rest) > 0; {
			var e []byte
			if e, rest = cut(rest); is(e, "trailers") {
				if !h.Has(exchange.TE) {
					h.Append(id, name, e)
				}
				break
			}
		}
		return nil
	case exchange.Expect:
		if answer {
			break
		}
		if !is(value, "100-continue") {
			return badExpect
		}
		m.expect = true
		return nil
	case exchange.KeepAlive, exchange.ProxyConnection, exchange.HTTP2Settings,
		exchange.ProxyAuthorization, exchange.ProxyAuthenticate:
		return nil
	}
	h.Append(id, name, value)
	return nil
}

func (m *meta) codings(value []byte) *refusal {
	m.coded = true
	odd := false
	for rest, more := value, true; more; {
		var e []byte
		e, rest = cut(rest)
		more = len(rest) > 0
		if m.last { // something after chunked
			return badCoding
		}
		if is(e, "chunked") {
			m.last = true
		} else {
			odd = true
		}
	}
	if odd && m.last {
		return oddCoding
	}
	if len(value) == 0 || value[len(value)-1] == ',' {
		return badCoding
	}
	if odd {
		// Chunked may still follow in another field; it is refused all the same.
		return oddCoding
	}
	return nil
}

// strip takes the fields that Connection names out of h.
func (m *meta) strip(h *exchange.Header) {
	var lists [8][]byte
	all := lists[:0]
	for _, f := range h.Fields() {
		if f.ID == exchange.Connection {
			all = append(all, f.Value)
		}
	}
	h.Del(exchange.Connection)
	for _, list := range all {
		for len(list) > 0 {
			var e []byte
			if e, list = cut(list); len(e) > 0 && !is(e, "te") {
				h.DelName(string(e))
			}
		}
	}
}

// answerHead reads the head of an answer from b into h. It returns its length, 0 if b
// doesn't hold all of it. toHead says that a HEAD request is answered.
func answerHead(b []byte, h *exchange.Header, m *meta, most int, toHead bool) (int, *refusal) {
	if len(b) < 13 {
		if bytes.IndexByte(b, '\n') >= 0 {
			return 0, badStatus
		}
		return 0, nil
	}
	switch string(b[:9]) {
	case "HTTP/1.1 ":
		m.minor = 1
	case "HTTP/1.0 ":
		m.minor = 0
	default:
		return 0, badStatus
	}
	for _, c := range b[9:12] {
		if c < '0' || c > '9' {
			return 0, badStatus
		}
		m.status = m.status*10 + int(c-'0')
	}
	i := 12
	if b[i] == ' ' {
		i++
	} else if b[i] != '\r' {
		return 0, badStatus
	}
	k := fieldEnd(b, i)
	if k+1 >= len(b) {
		return 0, nil
	}
	if b[k] != '\r' || b[k+1] != '\n' || m.status < 100 {
		return 0, badStatus
	}
	m.reason = b[i:k:k]
	i = k + 2
	n, r := fields(b[i:], h, m, most, true)
	if r != nil || n == 0 {
		return 0, r
	}
	if m.minor == 0 {
		m.close = m.close || !m.keep
	}
	if m.coded {
		switch {
		case m.sized:
			return 0, bothLengths
		case m.minor == 0:
			return 0, oldCoding
		case !m.last:
			return 0, oddCoding
		}
	}
	switch {
	case toHead || m.status < 200 || m.status == 204 || m.status == 304:
		m.framing = none
	case m.coded:
		m.framing = chunked
	case m.sized && m.length == 0:
		m.framing = none
	case m.sized:
		m.framing = byLength
	default:
		m.framing, m.close = byClose, true
	}
	return i + n, nil
}
