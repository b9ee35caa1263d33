package h1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"swell/internal/exchange"
)

// strictRig answers by itself: 200, with what it understood as the body.
func strictRig(t *testing.T) *rig {
	return newRig(t, "", func(r *rig, _ *PoolOptions) {
		r.server.Handle = func(x *exchange.Exchange) {
			var body []byte
			if b := x.Request.Body; b != nil {
				for {
					p, err := b.Next()
					body = append(body, p...)
					if err == io.EOF {
						break
					}
					if err != nil {
						x.Reply(400, err.Error())
						x.Response.Close = true
						return
					}
				}
			}
			x.Reply(200, fmt.Sprintf("%s %s %s %q", x.Request.Method, x.Request.Target, x.Request.Host, body))
		}
	})
}

// TestStrict checks the requirements of RFC 9110 and 9112 on what a server
// accepts, each by the status that it must answer and whether the connection ends.
func TestStrict(t *testing.T) {
	r := strictRig(t)
	const h = "Host: x\r\n"
	long := strings.Repeat("a", 70<<10)
	tests := []struct {
		name, send string
		status     int
		ends       bool
	}{
		{"simple GET", "GET / HTTP/1.1\r\n" + h + "\r\n", 200, false},
		{"simple HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 200, true},
		{"HTTP/1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 200, false},
		{"Connection: close", "GET / HTTP/1.1\r\n" + h + "Connection: close\r\n\r\n", 200, true},
		{"Connection: close in a list", "GET / HTTP/1.1\r\n" + h + "Connection: x, CLOSE\r\n\r\n", 200, true},
		{"one empty line before", "\r\nGET / HTTP/1.1\r\n" + h + "\r\n", 200, false},
		{"two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, true},
		{"two Hosts", "GET / HTTP/1.1\r\n" + h + h + "\r\n", 400, true},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, true},
		{"Host with a path", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400, true},
		{"Host with user", "GET / HTTP/1.1\r\nHost: a@x\r\n\r\n", 400, true},
		{"Host with a bad port", "GET / HTTP/1.1\r\nHost: x:66000\r\n\r\n", 400, true},
		{"Host with an IPv6 address", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, false},
		{"Host with half an IPv6 address", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, true},
		{"two Hosts with HTTP/1.0", "GET / HTTP/1.0\r\n" + h + h + "\r\n", 400, true},
		{"absolute form", "GET http://y/p HTTP/1.1\r\n" + h + "\r\n", 200, false},
		{"absolute form without a path", "GET HTTP://y?q HTTP/1.1\r\n" + h + "\r\n", 200, false},
		{"absolute form, other scheme", "GET ftp://y/ HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"absolute form with user", "GET http://u@y/ HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"absolute form without Host", "GET http://y/ HTTP/1.1\r\n\r\n", 400, true},
		{"authority form", "GET y:80 HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" + h + "\r\n", 200, false},
		{"GET *", "GET * HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"CONNECT without a tunnel", "CONNECT x:443 HTTP/1.1\r\n" + h + "\r\n", 500, true},
		{"CONNECT without a port", "CONNECT x HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"CONNECT with a path", "CONNECT / HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"CONNECT with a URL", "CONNECT http://x:80/ HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"CONNECT with a body", "CONNECT x:443 HTTP/1.1\r\n" + h + "Content-Length: 3\r\n\r\nabc", 400, true},
		{"fragment", "GET /a#b HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"unknown method", "BREW / HTTP/1.1\r\n" + h + "\r\n", 200, false},
		{"method in lower case", "get / HTTP/1.1\r\n" + h + "\r\n", 200, false},
		{"method that is no token", "G(T / HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"HTTP/1.2", "GET / HTTP/1.2\r\n" + h + "\r\n", 505, true},
		{"HTTP/2.0", "GET / HTTP/2.0\r\n" + h + "\r\n", 505, true},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, true},
		{"http/1.1", "GET / http/1.1\r\n" + h + "\r\n", 400, true},
		{"HTTP/1.10", "GET / HTTP/1.10\r\n" + h + "\r\n", 400, true},
		{"HTTP/0.9", "GET /\r\n\r\n", 400, true},
		{"two spaces", "GET  / HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"space behind the version", "GET / HTTP/1.1 \r\n" + h + "\r\n", 400, true},
		{"tab for space", "GET\t/\tHTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"space before colon", "GET / HTTP/1.1\r\n" + h + "A : b\r\n\r\n", 400, true},
		{"space in a name", "GET / HTTP/1.1\r\n" + h + "A b: c\r\n\r\n", 400, true},
		{"empty name", "GET / HTTP/1.1\r\n" + h + ": c\r\n\r\n", 400, true},
		{"no colon", "GET / HTTP/1.1\r\n" + h + "abc\r\n\r\n", 400, true},
		{"folded field", "GET / HTTP/1.1\r\n" + h + "A: b\r\n c\r\n\r\n", 400, true},
		{"space before the first field", "GET / HTTP/1.1\r\n " + h + "\r\n", 400, true},
		{"NUL in a value", "GET / HTTP/1.1\r\n" + h + "A: b\x00c\r\n\r\n", 400, true},
		{"bare CR in a value", "GET / HTTP/1.1\r\n" + h + "A: b\rc\r\n\r\n", 400, true},
		{"bare LF ends a line", "GET / HTTP/1.1\n" + h + "\r\n", 400, true},
		{"bare LF ends a field", "GET / HTTP/1.1\r\nHost: x\n\r\n", 400, true},
		{"bare LF ends the head", "GET / HTTP/1.1\r\n" + h + "\n", 400, true},
		{"octets over 127 in a value", "GET / HTTP/1.1\r\n" + h + "A: \xc3\xbc\r\n\r\n", 200, false},
		{"empty value", "GET / HTTP/1.1\r\n" + h + "A:\r\n\r\n", 200, false},
		{"TLS hello", "\x16\x03\x01\x02\x00", 400, true},
		{"long target", "GET /" + long[:40<<10] + " HTTP/1.1\r\n" + h + "\r\n", 414, true},
		{"long head", "GET / HTTP/1.1\r\n" + h + "A: " + long + "\r\n\r\n", 431, true},
		{"many fields", "GET / HTTP/1.1\r\n" + h + strings.Repeat("A: b\r\n", 200) + "\r\n", 431, true},
		{"long method", long[:100] + " / HTTP/1.1\r\n" + h + "\r\n", 501, true},
		{"Content-Length and Transfer-Encoding", "POST / HTTP/1.1\r\n" + h + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true},
		{"Transfer-Encoding with HTTP/1.0", "POST / HTTP/1.0\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true},
		{"chunked not last", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, true},
		{"chunked twice", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, true},
		{"unknown coding", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, true},
		{"Content-Length twice", "POST / HTTP/1.1\r\n" + h + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, true},
		{"Content-Length with a sign", "POST / HTTP/1.1\r\n" + h + "Content-Length: +3\r\n\r\nabc", 400, true},
		{"Content-Length negative", "POST / HTTP/1.1\r\n" + h + "Content-Length: -1\r\n\r\n", 400, true},
		{"Content-Length too large", "POST / HTTP/1.1\r\n" + h + "Content-Length: 18446744073709551619\r\n\r\nabc", 400, true},
		{"other expectation", "POST / HTTP/1.1\r\n" + h + "Expect: wonders\r\nContent-Length: 1\r\n\r\na", 417, true},
		{"chunked body", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n", 200, false},
		{"chunk size no number", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\nx\r\n", 400, true},
		{"chunk size too large", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n", 400, true},
		{"chunk longer than it says", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400, true},
		{"bad escape in the path", "GET /%zz HTTP/1.1\r\n" + h + "\r\n", 400, true},
		{"control byte in the target", "GET /\x01 HTTP/1.1\r\n" + h + "\r\n", 400, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, r.addr)
			c.send(tt.send)
			method, _, _ := strings.Cut(strings.TrimLeft(tt.send, "\r\n"), " ")
			res, body, err := c.reply(method)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tt.status {
				t.Errorf("status %d (%s), want %d", res.StatusCode, body, tt.status)
			}
			if res.Close != tt.ends {
				t.Errorf("announces the end: %v, want %v", res.Close, tt.ends)
			}
			if tt.ends {
				c.closed()
				return
			}
			c.send(get)
			c.want("GET", 200, "GET / x \"\"\n")
		})
	}
}

// TestAbsoluteFormCounts checks whose host counts, and what becomes the target.
func TestAbsoluteFormCounts(t *testing.T) {
	c := dial(t, strictRig(t).addr)
	for send, want := range map[string]string{
		"GET http://y:8/p?q HTTP/1.1\r\nHost: x\r\n\r\n": "GET /p?q y:8 \"\"\n",
		"GET https://y?q HTTP/1.1\r\nHost: x\r\n\r\n":    "GET /?q y \"\"\n",
		"GET http://y HTTP/1.1\r\nHost: x\r\n\r\n":       "GET / y \"\"\n",
	} {
		c.send(send)
		c.want("GET", 200, want)
	}
}

func TestSlowHead(t *testing.T) {
	r := newRig(t, "", func(r *rig, _ *PoolOptions) { r.server.Limits.HeadTime = 50 * time.Millisecond })
	c := dial(t, r.addr)
	c.send("GET / HTTP/1.1\r\nHo")
	if res, _, err := c.reply("GET"); err != nil || res.StatusCode != 408 {
		t.Error(res, err)
	}
	c.closed()
	c = dial(t, r.addr) // that says nothing at all is closed without a word
	c.closed()
}

// judge is an upstream that reads what is forwarded with a paranoid eye. It
// answers each request and keeps what is wrong with what came.
type judge struct {
	mu    sync.Mutex
	wrong []string
	heads []string
}

func (j *judge) serve(c *client) {
	for {
		h := c.head()
		if h == "" {
			return
		}
		j.mu.Lock()
		j.heads = append(j.heads, h)
		j.wrong = append(j.wrong, hazards(h)...)
		j.mu.Unlock()
		req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(h), c.r)))
		if err != nil {
			j.mu.Lock()
			j.wrong = append(j.wrong, err.Error())
			j.mu.Unlock()
			return
		}
		if req.Body != http.NoBody {
			_, err := io.ReadAll(req.Body)
			if err != nil {
				return // the proxy broke off, as it should
			}
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return // our reader has read ahead
		}
		c.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
}

// hazards lists what two readers could understand differently in a head.
func hazards(h string) (bad []string) {
	count := map[string]int{}
	lines := strings.Split(strings.TrimSuffix(h, "\r\n\r\n"), "\r\n")
	for _, l := range lines {
		for i := range len(l) {
			if c := l[i]; c < 0x20 && c != '\t' || c == 0x7f {
				bad = append(bad, fmt.Sprintf("control byte in %q", l))
			}
		}
	}
	if p := strings.Split(lines[0], " "); len(p) != 3 || p[2] != "HTTP/1.1" || strings.Contains(p[1], "#") {
		bad = append(bad, fmt.Sprintf("request line %q", lines[0]))
	}
	for _, l := range lines[1:] {
		n, v, ok := strings.Cut(l, ":")
		if !ok || !isToken([]byte(n)) {
			bad = append(bad, fmt.Sprintf("field %q", l))
		}
		n, v = strings.ToLower(n), strings.TrimSpace(v)
		count[n]++
		switch n {
		case "content-length":
			if _, ok := length([]byte(v)); !ok {
				bad = append(bad, l)
			}
		case "transfer-encoding":
			if v != "chunked" {
				bad = append(bad, l)
			}
		case "upgrade":
			if !strings.Contains(h, "Connection: Upgrade\r\n") {
				bad = append(bad, l)
			}
		case "keep-alive", "proxy-connection", "http2-settings", "x-named":
			bad = append(bad, l)
		}
	}
	if count["host"] != 1 || count["content-length"] > 1 || count["transfer-encoding"] > 1 ||
		count["content-length"]+count["transfer-encoding"] > 1 {
		bad = append(bad, fmt.Sprintf("framing or Host in %q", h))
	}
	return bad
}

// TestSmuggling sends what proxies have been fooled with. Whatever is forwarded
// must be unambiguous, and no more requests than the one that counts (or none).
func TestSmuggling(t *testing.T) {
	const evil = "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
	te := func(f string) string { // a body that one reader takes for chunked
		return "POST / HTTP/1.1\r\nHost: x\r\n" + f + "\r\n\r\n0\r\n\r\n" + evil
	}
	cl := func(f string) string {
		return "POST / HTTP/1.1\r\nHost: x\r\n" + f + "\r\n\r\nabc"
	}
	line := func(l string) string { return l + "\r\nHost: x\r\n\r\n" }
	field := func(f string) string { return "GET / HTTP/1.1\r\nHost: x\r\n" + f + "\r\n\r\n" }
	chunk := func(b string) string {
		return "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b
	}
	tests := []struct {
		name, send string
		refused    bool // else one request or more must pass, cleanly
	}{
		{"CL.TE", cl("Content-Length: 3\r\nTransfer-Encoding: chunked"), true},
		{"TE.CL", te("Transfer-Encoding: chunked\r\nContent-Length: 5"), true},
		{"CL 0 and TE", te("Content-Length: 0\r\nTransfer-Encoding: chunked"), true},
		{"TE xchunked", te("Transfer-Encoding: xchunked"), true},
		{"TE chunkedx", te("Transfer-Encoding: chunkedx"), true},
		{"TE quoted", te("Transfer-Encoding: \"chunked\""), true},
		{"TE chunked comma", te("Transfer-Encoding: chunked,"), true},
		{"TE comma chunked", te("Transfer-Encoding: ,chunked"), true},
		{"TE with parameter", te("Transfer-Encoding: chunked;a=b"), true},
		{"TE identity", te("Transfer-Encoding: identity"), true},
		{"TE identity, chunked", te("Transfer-Encoding: identity, chunked"), true},
		{"TE twice", te("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), true},
		{"TE chunked then identity", te("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), true},
		{"TE cow then chunked", te("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked"), true},
		{"TE empty", te("Transfer-Encoding:"), true},
		{"TE space before colon", te("Transfer-Encoding : chunked"), true},
		{"TE tab before colon", te("Transfer-Encoding\t: chunked"), true},
		{"TE leading space", te(" Transfer-Encoding: chunked"), true},
		{"TE folded", te("Transfer-Encoding:\r\n chunked"), true},
		{"TE folded behind another", te("X: y\r\n Transfer-Encoding: chunked"), true},
		{"TE vertical tab", te("Transfer-Encoding: \x0bchunked"), true},
		{"TE NUL", te("Transfer-Encoding: chunked\x00"), true},
		{"TE behind bare CR", te("X: y\rTransfer-Encoding: chunked"), true},
		{"TE behind bare LF", te("X: y\nTransfer-Encoding: chunked"), true},
		{"TE name with NUL", te("Transfer-Encoding\x00: chunked"), true},
		{"TE with underscore", "POST / HTTP/1.1\r\nHost: x\r\nTransfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", false},
		{"TE in HTTP/1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true},
		{"CL twice, different", cl("Content-Length: 3\r\nContent-Length: 30"), true},
		{"CL twice, equal", cl("Content-Length: 3\r\nContent-Length: 3"), true},
		{"CL list", cl("Content-Length: 3, 3"), true},
		{"CL plus", cl("Content-Length: +3"), true},
		{"CL minus", cl("Content-Length: -3"), true},
		{"CL hexadecimal", cl("Content-Length: 0x3"), true},
		{"CL with underscore", cl("Content-Length: 3_0"), true},
		{"CL decimal point", cl("Content-Length: 3.0"), true},
		{"CL empty", cl("Content-Length:"), true},
		{"CL 2^64+3", cl("Content-Length: 18446744073709551619"), true},
		{"CL 2^63", cl("Content-Length: 9223372036854775808"), true},
		{"CL space inside", cl("Content-Length: 3 3"), true},
		{"CL letters behind", cl("Content-Length: 3abc"), true},
		{"CL space before colon", cl("Content-Length : 3"), true},
		{"CL leading zeros", cl("Content-Length: 003"), false},
		{"CL named by Connection", cl("Connection: Content-Length\r\nContent-Length: 3"), false},
		{"Host twice", field("Host: y"), true},
		{"Host with space", "GET / HTTP/1.1\r\nHost: x y\r\n\r\n", true},
		{"Host with comma", "GET / HTTP/1.1\r\nHost: x,y\r\n\r\n", true},
		{"Host with CR", "GET / HTTP/1.1\r\nHost: x\ry\r\n\r\n", true},
		{"Host before colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", true},
		{"Host named by Connection", field("Connection: Host"), false},
		{"absolute form with another Host", line("GET http://y/ HTTP/1.1"), false},
		{"absolute form with bad authority", line("GET http://y:80:80/ HTTP/1.1"), true},
		{"absolute form, empty authority", line("GET http:///p HTTP/1.1"), true},
		{"backslash", line("GET http://y\\@z/ HTTP/1.1"), true},
		{"version 1.2", line("GET / HTTP/1.2"), true},
		{"version 2.0", line("GET / HTTP/2.0"), true},
		{"version with blanks", line("GET / HTTP/ 1.1"), true},
		{"version odd", line("GET / HTTP/1.1x"), true},
		{"no version", line("GET /"), true},
		{"space in the target", line("GET /a b HTTP/1.1"), true},
		{"request in the target", line("GET /\rX: HTTP/1.1"), true},
		{"form feed in the line", line("GET\x0c/ HTTP/1.1"), true},
		{"NUL in the target", line("GET /\x00 HTTP/1.1"), true},
		{"fragment", line("GET /a#b HTTP/1.1"), true},
		{"high octet in the target", line("GET /\xff HTTP/1.1"), true},
		{"name with slash", field("A/B: c"), true},
		{"name with NUL", field("A\x00: c"), true},
		{"name with high octet", field("\xffA: c"), true},
		{"value with DEL", field("A: b\x7fc"), true},
		{"value with ESC", field("A: \x1b[0m"), true},
		{"value with bare LF", field("A: b\nEvil: c"), true},
		{"line of a lone CR", "GET / HTTP/1.1\r\nHost: x\r\n\r\r\n\r\n", true},
		{"HTTP2-Settings", field("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"), false},
		{"Upgrade unnamed", field("Upgrade: websocket"), false},
		{"Proxy-Connection", field("Proxy-Connection: keep-alive"), false},
		{"Connection names a field", field("Connection: X-Named\r\nX-Named: 1"), false},
		{"Connection names itself", field("Connection: Connection"), false},
		{"Connection no token", field("Connection: a b"), true},
		{"chunk size with 0x", chunk("0x3\r\nabc\r\n0\r\n\r\n"), true},
		{"chunk size with sign", chunk("+3\r\nabc\r\n0\r\n\r\n"), true},
		{"chunk size with leading space", chunk(" 3\r\nabc\r\n0\r\n\r\n"), true},
		{"chunk size with space behind", chunk("3 \r\nabc\r\n0\r\n\r\n"), true},
		{"chunk size overflow", chunk("ffffffffffffffff3\r\nabc\r\n0\r\n\r\n"), true},
		{"chunk size empty", chunk("\r\nabc\r\n0\r\n\r\n"), true},
		{"chunk ends in LF", chunk("3\nabc\r\n0\r\n\r\n"), true},
		{"chunk data ends in LF", chunk("3\r\nabc\n0\r\n\r\n"), true},
		{"chunk extension with LF", chunk("3;a\nb\r\nabc\r\n0\r\n\r\n"), true},
		{"chunk extension with CR", chunk("3;a\rb\r\nabc\r\n0\r\n\r\n"), true},
		{"chunk extension too long", chunk("3;" + strings.Repeat("a", 300) + "\r\nabc\r\n0\r\n\r\n"), true},
		{"last chunk ends in LF", chunk("0\n\n"), true},
		{"trailer with bare LF", chunk("0\r\nX: y\n\r\n"), true},
		{"trailer malformed", chunk("0\r\nX y\r\n\r\n"), true},
		{"trailer Content-Length", chunk("0\r\nContent-Length: 3\r\n\r\n"), false},
		{"trailer Transfer-Encoding", chunk("0\r\nTransfer-Encoding: chunked\r\n\r\n"), false},
		{"trailer Host", chunk("0\r\nHost: evil\r\n\r\n"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j := &judge{}
			r := newRig(t, origin(t, j.serve))
			c := dial(t, r.addr)
			c.send(tt.send)
			passed := 0
			for first := true; ; first = false {
				res, _, err := c.reply("GET")
				if first { // not before: to end one's side early is to leave
					_ = c.Conn.(*net.TCPConn).CloseWrite()
				}
				if err != nil {
					if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Log(err)
					}
					break
				}
				if res.StatusCode == 200 {
					passed++
				}
			}
			_ = r.stop()
			j.mu.Lock()
			defer j.mu.Unlock()
			for _, w := range j.wrong {
				t.Errorf("forwarded: %s", w)
			}
			for _, h := range j.heads {
				if strings.Contains(h, "evil") {
					t.Errorf("smuggled: %q", h)
				}
			}
			if tt.refused && passed > 0 {
				t.Errorf("it was answered 200; the upstream got %q", j.heads)
			}
			if !tt.refused && passed != 1 {
				t.Errorf("%d requests passed; the upstream got %q", passed, j.heads)
			}
		})
	}
}
