package h1

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"swell/internal/exchange"
)

// check is one requirement of RFC 9110 or 9112 on a server, as a conversation. A
// string that begins with ">" is sent; every other is what the next answer must be:
// its status, whether the connection is said to end ("close" or "keep"), then what
// its body holds, if that matters.
type check struct {
	section, name string
	method        string // of the requests, for reading answers; GET if ""
	steps         []string
	ends          bool // the connection ends after them
}

// TestRFC is the strict suite: each check is counted, and all must pass. Some proxy
// or server in wide use fails every second of them.
func TestRFC(t *testing.T) {
	const h = "Host: x\r\n"
	one := func(section, name, send, answer string) check {
		method, _, _ := strings.Cut(send, " ")
		return check{section, name, method, []string{">" + send, answer}, strings.Contains(answer, "close")}
	}
	post := func(fields, body string) string { return "POST / HTTP/1.1\r\n" + h + fields + "\r\n" + body }
	checks := []check{
		// Versions and request lines
		one("9112 2.3", "a higher minor version is not 1.1", "GET / HTTP/1.2\r\n"+h+"\r\n", "505 close"),
		one("9110 15.6.6", "HTTP/2.0 in text is 505", "GET / HTTP/2.0\r\n"+h+"\r\n", "505 close"),
		one("9110 15.6.6", "HTTP/0.9 is no request line", "GET /\r\n", "400 close"),
		one("9112 2.3", "the version's case counts", "GET / http/1.1\r\n"+h+"\r\n", "400 close"),
		one("9112 2.3", "a version has two digits", "GET / HTTP/1.01\r\n"+h+"\r\n", "400 close"),
		one("9112 2.2", "one empty line before is ignored", "\r\nGET / HTTP/1.1\r\n"+h+"\r\n", "200 keep"),
		one("9112 2.2", "white space before the first field is refused", "GET / HTTP/1.1\r\n "+h+"\r\n", "400 close"),
		one("9112 2.2", "a bare CR is refused", "GET / HTTP/1.1\r\n"+h+"A: b\rc\r\n\r\n", "400 close"),
		one("9112 3", "white space within the line is refused", "GET /a b HTTP/1.1\r\n"+h+"\r\n", "400 close"),
		one("9110 9.1", "an unknown method is a method", "BREW / HTTP/1.1\r\n"+h+"\r\n", "200 keep BREW /"),
		one("9110 9.1", "methods' case counts", "get / HTTP/1.1\r\n"+h+"\r\n", "200 keep get /"),
		one("9110 15.6.2", "a method longer than any is 501", strings.Repeat("A", 40)+" / HTTP/1.1\r\n"+h+"\r\n", "501 close"),
		one("9112 3", "a target too long is 414", "GET /"+strings.Repeat("a", 40<<10)+" HTTP/1.1\r\n"+h+"\r\n", "414 close"),
		one("6585 5", "fields too large are 431", "GET / HTTP/1.1\r\n"+h+"A: "+strings.Repeat("a", 80<<10)+"\r\n\r\n", "431 close"),
		one("6585 5", "too many fields are 431", "GET / HTTP/1.1\r\n"+h+strings.Repeat("A: b\r\n", 1000)+"\r\n", "431 close"),
		// Targets and Host
		one("9112 3.2", "a request without Host is refused", "GET / HTTP/1.1\r\n\r\n", "400 close"),
		one("9112 3.2", "two Hosts are refused", "GET / HTTP/1.1\r\n"+h+"Host: y\r\n\r\n", "400 close"),
		one("9112 3.2", "an invalid Host is refused", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 close"),
		one("9112 3.2", "HTTP/1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", "200 close"),
		one("9112 3.2.2", "the absolute form's host counts", "GET http://y/p HTTP/1.1\r\n"+h+"\r\n", "200 keep GET /p y"),
		one("9112 3.2.2", "the absolute form needs Host all the same", "GET http://y/p HTTP/1.1\r\n\r\n", "400 close"),
		one("9112 3.2.3", "the authority form is CONNECT's", "GET x:80 HTTP/1.1\r\n"+h+"\r\n", "400 close"),
		one("9112 3.2.3", "CONNECT has no other form", "CONNECT / HTTP/1.1\r\n"+h+"\r\n", "400 close"),
		one("9110 9.3.6", "CONNECT without a port is refused", "CONNECT x HTTP/1.1\r\n"+h+"\r\n", "400 close"),
		one("9112 3.2.4", "OPTIONS * is for the server", "OPTIONS * HTTP/1.1\r\n"+h+"\r\n", "200 keep"),
		one("9112 3.2.4", "the asterisk is OPTIONS'", "GET * HTTP/1.1\r\n"+h+"\r\n", "400 close"),
		one("9112 3.2", "a fragment is no part of a target", "GET /a#b HTTP/1.1\r\n"+h+"\r\n", "400 close"),
		// Fields
		one("9112 5.1", "white space before the colon is refused", "GET / HTTP/1.1\r\n"+h+"A : b\r\n\r\n", "400 close"),
		one("9112 5.2", "a folded field is refused", "GET / HTTP/1.1\r\n"+h+"A: b\r\n c\r\n\r\n", "400 close"),
		one("9110 5.1", "an empty name is refused", "GET / HTTP/1.1\r\n"+h+": b\r\n\r\n", "400 close"),
		one("9110 5.5", "NUL in a value is refused", "GET / HTTP/1.1\r\n"+h+"A: b\x00\r\n\r\n", "400 close"),
		one("9110 5.5", "octets over 127 in a value are text", "GET / HTTP/1.1\r\n"+h+"A: \xff\r\n\r\n", "200 keep"),
		one("9110 5.6.3", "white space around a value is optional", "POST / HTTP/1.1\r\nHost:x\r\nContent-Length:\t3 \t\r\n\r\nabc", `200 keep POST / x "abc"`),
		// Framing
		one("9112 6.1", "Transfer-Encoding and Content-Length are refused", post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400 close"),
		one("9112 6.1", "Transfer-Encoding with HTTP/1.0 is refused", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 close"),
		one("9112 6.1", "a coding that nobody knows is 501", post("Transfer-Encoding: foo, chunked\r\n", "0\r\n\r\n"), "501 close"),
		one("9112 6.3", "chunked that is not last is refused", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), "400 close"),
		one("9112 6.1", "chunked twice is refused", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), "400 close"),
		one("9112 6.1", "codings' case does not count", post("Transfer-Encoding: CHUNKED\r\n", "3\r\nabc\r\n0\r\n\r\n"), `200 keep POST / x "abc"`),
		one("9112 6.3", "two different lengths are refused", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"), "400 close"),
		one("9112 6.3", "a list of different lengths is refused", post("Content-Length: 3, 4\r\n", "abcd"), "400 close"),
		one("9110 8.6", "a length with a sign is refused", post("Content-Length: +3\r\n", "abc"), "400 close"),
		one("9110 8.6", "a length beyond all numbers is refused", post("Content-Length: 18446744073709551619\r\n", "abc"), "400 close"),
		one("9112 6.3", "no length is no body", post("", ""), `200 keep POST / x ""`),
		// Chunks
		one("9112 7.1", "a size that is no number is refused", post("Transfer-Encoding: chunked\r\n", "x\r\nabc\r\n0\r\n\r\n"), "400 close"),
		one("9112 7.1", "a size beyond all numbers is refused", post("Transfer-Encoding: chunked\r\n", "10000000000000003\r\nabc\r\n0\r\n\r\n"), "400 close"),
		one("9112 7.1", "data longer than its size is refused", post("Transfer-Encoding: chunked\r\n", "2\r\nabc\r\n0\r\n\r\n"), "400 close"),
		one("9112 7.1", "a chunk ends in CR LF", post("Transfer-Encoding: chunked\r\n", "3\r\nabc\n0\r\n\r\n"), "400 close"),
		one("9112 7.1.1", "unknown extensions are ignored", post("Transfer-Encoding: chunked\r\n", "3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n"), `200 keep POST / x "abc"`),
		one("9112 7.1.1", "a bare LF ends no extension", post("Transfer-Encoding: chunked\r\n", "3;a\nabc\r\n0\r\n\r\n"), "400 close"),
		one("9112 7.1", "sizes may be in capitals and have zeros", post("Transfer-Encoding: chunked\r\n", "000A\r\n0123456789\r\n0\r\n\r\n"), `200 keep POST / x "0123456789"`),
		one("9112 7.1.2", "a trailer is taken", post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\nX: y\r\n\r\n"), `200 keep POST / x "abc"`),
		one("9112 7.1.2", "a malformed trailer is refused", post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\nX y\r\n\r\n"), "400 close"),
		// Connections
		one("9112 9.3", "HTTP/1.1 keeps the connection", "GET / HTTP/1.1\r\n"+h+"\r\n", "200 keep"),
		one("9112 9.3", "HTTP/1.0 ends it", "GET / HTTP/1.0\r\n"+h+"\r\n", "200 close"),
		one("9112 9.3", "HTTP/1.0 may ask to keep it", "GET / HTTP/1.0\r\n"+h+"Connection: keep-alive\r\n\r\n", "200 keep"),
		one("9112 9.6", "Connection: close ends it", "GET / HTTP/1.1\r\n"+h+"Connection: close\r\n\r\n", "200 close"),
		one("9110 7.6.1", "the options' case does not count, nor what else is named", "GET / HTTP/1.1\r\n"+h+"Connection: x, CLOSE\r\n\r\n", "200 close"),
		{"9112 9.3.2", "pipelined requests are answered in order", "GET", []string{">GET /1 HTTP/1.1\r\n" + h + "\r\nGET /2 HTTP/1.1\r\n" + h + "\r\nGET /3 HTTP/1.1\r\n" + h + "\r\n", "200 keep GET /1", "200 keep GET /2", "200 keep GET /3"}, false},
		{"9112 9.6", "nothing is read behind Connection: close", "GET", []string{">GET /1 HTTP/1.1\r\n" + h + "Connection: close\r\n\r\nGET /2 HTTP/1.1\r\n" + h + "\r\n", "200 close GET /1"}, true},
		{"9112 9.3", "a body of a GET is not the next request", "GET", []string{">GET /1 HTTP/1.1\r\n" + h + "Content-Length: 27\r\n\r\nGET /evil HTTP/1.1\r\nHost: x" + "GET /2 HTTP/1.1\r\n" + h + "\r\n", "200 keep GET /1", "200 keep GET /2"}, false},
		{"9112 2.2", "an empty line behind a body is ignored", "POST", []string{">" + post("Content-Length: 3\r\n", "abc") + "\r\n" + "POST /2 HTTP/1.1\r\n" + h + "\r\n", "200 keep POST / x", "200 keep POST /2"}, false},
		// Methods and expectations
		{"9110 9.3.2", "HEAD has no body, whatever the length says", "HEAD", []string{">HEAD / HTTP/1.1\r\n" + h + "\r\n", "200 keep", ">HEAD / HTTP/1.1\r\n" + h + "\r\n", "200 keep"}, false},
		{"9110 10.1.1", "100 (Continue) comes before the body", "POST", []string{">" + post("Expect: 100-continue\r\nContent-Length: 3\r\n", ""), "100 keep", ">abc", `200 keep POST / x "abc"`}, false},
		{"9110 10.1.1", "100 (Continue) needs not come once the body did", "POST", []string{">" + post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"), `200 keep POST / x "abc"`}, false},
		{"9110 10.1.1", "HTTP/1.0 gets no 100 (Continue)", "POST", []string{">POST / HTTP/1.0\r\n" + h + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", ">abc", `200 close POST / x "abc"`}, true},
		one("9110 10.1.1", "another expectation is 417", post("Expect: wonders\r\nContent-Length: 3\r\n", "abc"), "417 close"),
		one("9110 9.3.8", "TRACE is a method like others", "TRACE / HTTP/1.1\r\n"+h+"\r\n", "200 keep TRACE"),
		one("9110 7.8", "an upgrade to HTTP/2 may be ignored", "GET / HTTP/1.1\r\n"+h+"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", "200 keep GET /"),
	}
	r := strictRig(t)
	passed := 0
	for _, ch := range checks {
		if t.Run(ch.section+" "+ch.name, func(t *testing.T) { ch.run(t, dial(t, r.addr)) }) {
			passed++
		}
	}
	t.Logf("%d of %d checks passed", passed, len(checks))
}

func (ch *check) run(t *testing.T, c *client) {
	method := strings.TrimSpace(ch.method)
	for _, s := range ch.steps {
		if send, ok := strings.CutPrefix(s, ">"); ok {
			c.send(send)
			continue
		}
		var status int
		var end, want string
		_, _ = fmt.Sscan(s, &status, &end)
		if p := strings.SplitN(s, " ", 3); len(p) == 3 {
			want = p[2]
		}
		res, body, err := c.reply(method)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != status || res.Close != (end == "close") || !strings.HasPrefix(body, want) {
			t.Errorf("answered %d (ends: %v) %.200q, want %s", res.StatusCode, res.Close, body, s)
		}
		if status != 100 && res.Header.Get("Date") == "" {
			t.Error("an answer without Date")
		}
	}
	if ch.ends {
		c.closed()
		return
	}
	c.send(get)
	c.want("GET", 200, "GET / x \"\"\n")
}

// TestAnswersAreFramed holds answers to what RFC 9112, 6 says of their framing.
func TestAnswersAreFramed(t *testing.T) {
	r := newRig(t, "", handled(func(x *exchange.Exchange) {
		switch string(x.Request.Path()) {
		case "/204":
			x.Response.Status, x.Response.Length, x.Response.Body = 204, 3, exchange.Bytes([]byte("abc"))
		case "/304":
			x.Response.Status, x.Response.Length = 304, 7
		case "/chunks":
			x.Response.Status, x.Response.Length, x.Response.Body = 200, -1, exchange.Bytes([]byte("abc"))
		default:
			x.Reply(200, "hi")
		}
	}))
	for _, tt := range []struct{ request, has, hasNot, body string }{
		{"GET /204 HTTP/1.1", "", "Content-Length:", ""},
		{"GET /304 HTTP/1.1", "Content-Length: 7\r\n", "Transfer-Encoding:", ""},
		{"GET /chunks HTTP/1.1", "Transfer-Encoding: chunked\r\n", "Content-Length:", "abc"},
		{"GET /chunks HTTP/1.0", "Connection: close\r\n", "Transfer-Encoding:", "abc"},
		{"HEAD / HTTP/1.1", "Content-Length: 3\r\n", "Transfer-Encoding:", ""},
		{"HEAD /chunks HTTP/1.1", "", "Content-Length:", ""},
		{"GET / HTTP/1.1", "Content-Length: 3\r\n", "Transfer-Encoding:", "hi\n"},
	} {
		t.Run(tt.request, func(t *testing.T) {
			c := dial(t, r.addr)
			c.send(tt.request + "\r\nHost: x\r\nConnection: close\r\n\r\n")
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			head := c.head()
			if tt.has != "" && !strings.Contains(head, "\r\n"+tt.has) || strings.Contains(head, tt.hasNot) {
				t.Errorf("the head is %q", head)
			}
			rest, _ := io.ReadAll(c.r)
			method, _, _ := strings.Cut(tt.request, " ")
			res, err := http.ReadResponse(newReader(head+string(rest)), &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(res.Body); string(b) != tt.body || err != nil || tt.body == "" && len(rest) > 0 {
				t.Errorf("the body is %q, %v; %q came", b, err, rest)
			}
		})
	}
}
