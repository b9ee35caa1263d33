package h2

import (
	"net/netip"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// refusal is why a request can't be taken: an answer, or, if status is 0, the end of
// its stream.
type refusal struct {
	status    int
	slug, why string
}

var (
	badTarget  = &refusal{400, "target", "malformed request target"}
	longTarget = &refusal{414, "target-length", "request target too long"}
	badMethod  = &refusal{501, "method", "method not supported"}
	badHost    = &refusal{400, "host", "a request has exactly one valid host"}
	largeHead  = &refusal{431, "head-length", "request header too large"}
	slowBody   = &refusal{408, "slow-body", "request body took too long"}
	slowReader = &refusal{408, "slow-reader", "the answer was not taken in time"}
	slowHead   = &refusal{408, "slow-head", "request header took too long"}
)

// malformed is a request that the RFC calls so.
func malformed(slug string) *refusal { return &refusal{0, slug, "malformed request: " + slug} }

// Classes of bytes.
const (
	token  = 1 << iota // of a token: RFC 9110, 5.6.2
	target             // of a request target: visible ASCII but "#"
	reg                // of a registered name, as far as names of hosts go
	hex                // a hexadecimal digit
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		alnum := b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z'
		if alnum || in(b, "!#$%&'*+-.^_`|~") {
			t[c] |= token
		}
		if b > 0x20 && b < 0x7f && b != '#' {
			t[c] |= target
		}
		if alnum || in(b, "-._~") {
			t[c] |= reg
		}
		if b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'f' {
			t[c] |= hex
		}
	}
	return t
}()

func in(b byte, set string) bool {
	for i := range len(set) {
		if set[i] == b {
			return true
		}
	}
	return false
}

func all(b []byte, of uint8) bool {
	for _, c := range b {
		if class[c]&of == 0 {
			return false
		}
	}
	return true
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

var slash = []byte("/")

// place makes q of the pseudo-fields of a section (RFC 9113, 8.3.1; RFC 8441, 4).
func place(q *exchange.Request, s *frames.Section, l *Limits) *refusal {
	p := &s.Pseudo
	m := p[frames.Method]
	q.Major = 2
	switch {
	case m == nil:
		return malformed("no-method")
	case len(m) == 0 || !all(m, token):
		return malformed("method")
	case len(m) > 32:
		return badMethod
	}
	q.Method = intern(m)
	q.Host = p[frames.Authority]
	if q.Host == nil {
		q.Host = s.Host
	} else if s.Host != nil && string(s.Host) != string(q.Host) {
		return malformed("two-hosts")
	}
	if q.Method == "CONNECT" && p[frames.Protocol] == nil {
		if p[frames.Scheme] != nil || p[frames.Path] != nil || p[frames.Authority] == nil {
			return malformed("connect")
		}
		q.Target = slash
		if !validHost(q.Host) {
			return badHost
		}
		return nil
	}
	if p[frames.Protocol] != nil {
		if q.Method != "CONNECT" || len(p[frames.Protocol]) == 0 || !all(p[frames.Protocol], token) {
			return malformed("protocol")
		}
		q.Method, q.Upgrade = "GET", p[frames.Protocol]
	}
	q.Target = p[frames.Path]
	switch t := q.Target; {
	case len(p[frames.Scheme]) == 0:
		return malformed("no-scheme")
	case len(t) == 0:
		return malformed("no-path")
	case len(t) > l.Target:
		return longTarget
	case !all(t, target):
		return badTarget
	case t[0] == '*':
		if len(t) > 1 || q.Method != "OPTIONS" {
			return badTarget
		}
	case t[0] != '/' || !validEscapes(q.Path()):
		return badTarget
	}
	if !validHost(q.Host) {
		return badHost
	}
	return nil
}

// validHost reports that b is a host with or without a port.
func validHost(b []byte) bool {
	if len(b) == 0 || len(b) > 270 {
		return false
	}
	i := 0
	if b[0] == '[' {
		for i = 1; i < len(b) && b[i] != ']'; i++ {
			if class[b[i]]&hex == 0 && b[i] != ':' && b[i] != '.' {
				return false
			}
		}
		if i == len(b) {
			return false
		}
		if a, err := netip.ParseAddr(string(b[1:i])); err != nil || !a.Is6() {
			return false
		}
		i++
	} else {
		for i < len(b) && class[b[i]]&reg != 0 {
			i++
		}
		if i == 0 {
			return false
		}
	}
	if i == len(b) {
		return true
	}
	if b[i] != ':' || len(b)-i > 6 {
		return false
	}
	port := 0
	for _, c := range b[i+1:] {
		if c < '0' || c > '9' {
			return false
		}
		port = port*10 + int(c-'0')
	}
	return port <= 65535
}

// validEscapes reports that every "%" in b has two hexadecimal digits after it.
func validEscapes(b []byte) bool {
	for i := 0; i < len(b); i++ {
		if b[i] == '%' {
			if i+2 >= len(b) || class[b[i+1]]&hex == 0 || class[b[i+2]]&hex == 0 {
				return false
			}
			i += 2
		}
	}
	return true
}
