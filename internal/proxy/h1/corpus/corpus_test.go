// Package corpus holds ambiguous, malformed and odd HTTP/1.1 messages, and what a
// proxy may do with each. A raw client sends them to a proxy, and an origin that
// trusts nothing judges what comes out on the other side.
//
// The proxy is this module's own; with
//
//	go test ./internal/proxy/h1/corpus -run TestPeer -v -args -proxy HOST:PORT -origin HOST:PORT
//
// any other one that listens on the first address and forwards to the second, where
// the origin then listens.
package corpus

import (
	"fmt"
	"strings"
	"testing"
)

// tier is what a proxy may do with a message.
type tier uint8

const (
	refuse tier = iota // nothing of it may be forwarded as a whole message
	may                // it may be refused, or forwarded as what it clearly means
	legit              // it must be forwarded (or answered, as OPTIONS *)
)

func (t tier) String() string { return [...]string{"refuse", "may", "legit"}[t] }

// message is what a client sends on a connection of its own.
type message struct {
	family, name string
	tier         tier
	raw          string
	want         []string // if not nil, what must be forwarded, as record.String has it
}

// corpus is all messages.
type corpus struct {
	all  []message
	seen map[string]string
	t    testing.TB
}

func (c *corpus) add(family, name string, tier tier, raw string, want ...string) {
	c.t.Helper()
	if c.seen[raw] != "" {
		c.t.Errorf("%s: %s is the same as %s", family, name, c.seen[raw])
	}
	c.seen[raw] = family + ": " + name
	c.all = append(c.all, message{family, name, tier, raw, want})
}

// all makes the corpus.
func all(t testing.TB) []message {
	c := &corpus{seen: map[string]string{}, t: t}
	for _, family := range []func(*corpus){
		lines, lineBytes, versions, targets, hosts, lineEnds, blanks, fieldBytes, folds,
		lengths, codings, both, chunkSizes, chunkBytes, trailers, hopByHop, upgrades, tunnels, expectations, sizes,
		ordinary, ordinaryFraming, ordinaryTargets, ordinaryFields,
	} {
		family(c)
	}
	return c.all
}

// Parts of messages.
const (
	host = "Host: x\r\n"
	end  = "\r\n"
	next = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n" // a request of its own, or a smuggled one
)

func line(l string) string  { return l + "\r\n" + host + end }
func field(f string) string { return "GET /f HTTP/1.1\r\n" + host + f + "\r\n" + end }
func cl(f string) string    { return "POST /cl HTTP/1.1\r\n" + host + f + "\r\n" + end + "abc" + next }
func te(f string) string {
	return "POST /te HTTP/1.1\r\n" + host + f + "\r\n" + end + "0\r\n\r\n" + next
}
func chunked(b string) string {
	return "POST /ch HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n" + b
}

// controls are the bytes that no line of a message may hold but for CR and LF, which
// have families of their own.
func controls() (all []byte) {
	for b := range 0x20 {
		if b != '\t' && b != '\r' && b != '\n' {
			all = append(all, byte(b))
		}
	}
	return append(all, 0x7f)
}

func hex(b byte) string { return fmt.Sprintf("0x%02x", b) }

// lines are request lines that are none.
func lines(c *corpus) {
	for _, l := range []string{
		"GET", "GET ", " GET / HTTP/1.1", "GET /", "GET / ", "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / HTTP/1.1 ",
		"GET\t/\tHTTP/1.1", "GET / HTTP/1.1 x", "GET / HTTP/1.1\t", "GET / x HTTP/1.1", "GET /a b HTTP/1.1", "/ HTTP/1.1",
		"GET HTTP/1.1", "GET\r/ HTTP/1.1", "GET /\rHTTP/1.1", "G(T / HTTP/1.1", "GET, / HTTP/1.1", "\"GET\" / HTTP/1.1",
		"GET: / HTTP/1.1", "G\xc3\x89T / HTTP/1.1", "GET/ HTTP/1.1", "HTTP/1.1 200 OK", "GET / HTTP/1.1\x00",
		"GET / HTTP/1.1, HTTP/1.0", "GET /;HTTP/1.1", "[] / HTTP/1.1", "GET\x0b/\x0bHTTP/1.1", "GET\xa0/\xa0HTTP/1.1",
	} {
		c.add("request line", fmt.Sprintf("%q", l), refuse, line(l))
	}
	c.add("request line", "two empty lines first", may, "\r\n\r\n"+line("GET / HTTP/1.1"))
	c.add("request line", "a bare LF first", may, "\n"+line("GET / HTTP/1.1"))
	c.add("request line", "a bare CR first", refuse, "\r"+line("GET / HTTP/1.1"))
	c.add("request line", "a NUL first", refuse, "\x00"+line("GET / HTTP/1.1"))
	c.add("request line", "a byte order mark first", refuse, "\xef\xbb\xbf"+line("GET / HTTP/1.1"))
	c.add("request line", "a TLS hello", refuse, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"+strings.Repeat("a", 64))
	c.add("request line", "an HTTP/2 preface", refuse, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	c.add("request line", "a PROXY header", refuse, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"+line("GET / HTTP/1.1"))
	c.add("request line", "HTTP/0.9", refuse, "GET /\r\n")
}

// lineBytes puts bytes into the method and the target that neither may have.
func lineBytes(c *corpus) {
	for _, b := range controls() {
		c.add("byte in the method", hex(b), refuse, line("GE"+string(rune(b))+"T / HTTP/1.1"))
		c.add("byte in the target", hex(b), refuse, line("GET /a"+string(rune(b))+"b HTTP/1.1"))
		c.add("byte behind the method", hex(b), refuse, line("GET"+string(rune(b))+" / HTTP/1.1"))
	}
	for _, b := range []byte{0x80, 0x85, 0xa0, 0xc0, 0xff} {
		c.add("byte in the target", hex(b), may, line("GET /a"+string([]byte{b})+"b HTTP/1.1"))
		c.add("byte in the method", hex(b), refuse, line("GE"+string([]byte{b})+"T / HTTP/1.1"))
	}
}

// versions are odd ones.
func versions(c *corpus) {
	for _, v := range []string{
		"HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/9.9", "HTTP/0.0",
	} {
		c.add("version", v, may, line("GET / "+v)) // a higher minor one may be taken for 1.1
	}
	for _, v := range []string{
		"HTTP/1.", "HTTP/.1", "HTTP/1", "HTTP/11", "HTTP/1.10", "HTTP/01.1", "HTTP/1.01", "HTTP/1.1.1", "HTTP/1,1", "HTTP/1.1x",
		"HTTP/-1.1", "HTTP/+1.1", "HTTP/1.+1", "HTTP/1.-1", "HTTP/ 1.1", "HTTP /1.1", "HTTP/1 .1", "HTTP/1. 1", "http/1.1", "Http/1.1",
		"HTTPS/1.1", "HTTP\\1.1", "HTTP//1.1", "HTTP1.1", "HTTP/a.b", "HTTP/1.x", "HTTP/", "HTTP", "ICE/1.1", "RTSP/1.0", "SHTTP/1.3",
		"HTTP/\xd9\xa1.1", "HTTP/1.1;", "HTTP/1.1#", "XHTTP/1.1", "HTTP/0x1.1", "HTTP/18446744073709551617.1", "HTTP/1.4294967297",
	} {
		c.add("version", v, refuse, line("GET / "+v))
	}
}

// lineEnds replace one line's end by what some readers take for one.
func lineEnds(c *corpus) {
	parts := []string{"POST /e HTTP/1.1", "Host: x", "Content-Length: 3", "X-A: b", "", ""}
	places := []string{"the request line", "Host", "Content-Length", "another field", "the head"}
	for i, place := range places {
		for name, e := range map[string]string{
			"LF": "\n", "CR": "\r", "LF CR": "\n\r", "CR CR LF": "\r\r\n", "NUL LF": "\x00\n", "CR NUL LF": "\r\x00\n",
			"CR space LF": "\r \n", "VT": "\x0b", "FF": "\x0c", "NEL": "\xc2\x85", "LS": "\xe2\x80\xa8",
		} {
			var b strings.Builder
			for j, p := range parts[:5] {
				b.WriteString(p)
				if j == i {
					b.WriteString(e)
				} else {
					b.WriteString("\r\n")
				}
			}
			t := refuse
			if name == "LF" {
				t = may // a recipient may take it for a line's end (RFC 9112, 2.2)
			}
			if place == "another field" && (name == "NEL" || name == "LS") || i == 4 && name != "LF" {
				continue // that is a value's text, or the head's end is to come still
			}
			c.add("line end", name+" behind "+place, t, b.String()+"abc"+next)
		}
	}
	// A bare LF or CR that hides a field from some readers.
	for name, e := range map[string]string{"LF": "\n", "CR": "\r", "LF LF": "\n\n", "CR CR": "\r\r"} {
		t := refuse
		if e[0] == '\n' {
			t = may
		}
		c.add("line end", "Transfer-Encoding behind "+name, t, te("X-A: b"+e+"Transfer-Encoding: chunked"))
		c.add("line end", "Content-Length behind "+name, t, cl("X-A: b"+e+"Content-Length: 3"))
		c.add("line end", "a request behind "+name+" in a value", t, field("X-A: b"+e+"GET /evil HTTP/1.1"))
	}
}

// blanks put white space where it may not be.
func blanks(c *corpus) {
	for name, w := range map[string]string{"space": " ", "tab": "\t", "VT": "\x0b", "FF": "\x0c", "NBSP": "\xa0", "two spaces": "  "} {
		for _, f := range []string{"Host: x", "Content-Length: 3", "Transfer-Encoding: chunked", "X-A: b", "Connection: close"} {
			n, v, _ := strings.Cut(f, ": ")
			body, h := "", host
			switch n {
			case "Host":
				h = ""
			case "Content-Length":
				body = "abc"
			case "Transfer-Encoding":
				body = "0\r\n\r\n"
			}
			c.add("white space", name+" before the colon of "+n, refuse, "POST /w HTTP/1.1\r\n"+h+n+w+": "+v+"\r\n\r\n"+body+next)
			c.add("white space", name+" before the first field, "+n, refuse, "POST /w HTTP/1.1\r\n"+w+f+"\r\n"+h+"\r\n"+body+next)
			if w != " " && w != "\t" && w != "  " && n != "X-A" {
				c.add("white space", name+" before the value of "+n, refuse, "POST /w HTTP/1.1\r\n"+h+n+":"+w+v+"\r\n\r\n"+body+next)
				c.add("white space", name+" behind the value of "+n, refuse, "POST /w HTTP/1.1\r\n"+h+n+": "+v+w+"\r\n\r\n"+body+next)
			}
		}
		c.add("white space", name+" on the last line", refuse, "GET /w HTTP/1.1\r\n"+host+w+"\r\n\r\n"+next)
	}
}
