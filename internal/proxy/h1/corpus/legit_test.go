package corpus

import (
	"fmt"
	"strings"
)

// ordinary are requests that nobody should refuse.
func ordinary(c *corpus) {
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "REPORT", "PURGE", "M-SEARCH", "BREW", "get", "!#$%&'*+-.^_`|~"} {
		c.add("method", m, legit, line(m+" /m HTTP/1.1"), m+" /m x ")
	}
	c.add("version", "HTTP/1.0 without Host", legit, "GET /v HTTP/1.0\r\n\r\n")
	c.add("version", "HTTP/1.0 with Host", legit, "GET /v HTTP/1.0\r\nHost: x\r\n\r\n", "GET /v x ")
	c.add("version", "HTTP/1.0 kept alive", legit, "GET /v HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\nGET /w HTTP/1.0\r\nHost: x\r\n\r\n", "GET /v x ", "GET /w x ")
	c.add("version", "HTTP/1.0 with a body", legit, "POST /v HTTP/1.0\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "POST /v x abc")
	c.add("pipeline", "two", legit, line("GET /1 HTTP/1.1")+line("GET /2 HTTP/1.1"), "GET /1 x ", "GET /2 x ")
	c.add("pipeline", "an empty line between", legit, "POST /1 HTTP/1.1\r\n"+host+"Content-Length: 3\r\n\r\nabc\r\n"+line("GET /2 HTTP/1.1"), "POST /1 x abc", "GET /2 x ")
	c.add("pipeline", "behind chunks", legit, chunked("3\r\nabc\r\n0\r\n\r\n")+line("GET /2 HTTP/1.1"), "POST /ch x abc", "GET /2 x ")
	c.add("pipeline", "behind Connection: close", legit, "GET /1 HTTP/1.1\r\n"+host+"Connection: close\r\n\r\n"+line("GET /2 HTTP/1.1"), "GET /1 x ")
	c.add("pipeline", "ten", legit, strings.Repeat(line("GET /t HTTP/1.1"), 10))
	c.add("request line", "one empty line first", legit, "\r\n"+line("GET /e HTTP/1.1"), "GET /e x ")
	for _, h := range []string{"x", "X.Example", "a.b.c.example:8080", "192.0.2.1", "192.0.2.1:80", "[::1]", "[2001:db8::1]:8443", "xn--bcher-kva.example", "a_b.example", "example.", "a-b.c", "x:65535", "0x7f.1"} {
		c.add("Host", h, legit, "GET /h HTTP/1.1\r\nHost: "+h+"\r\n\r\n", "GET /h "+h+" ")
	}
	c.add("asterisk", "OPTIONS *", legit, line("OPTIONS * HTTP/1.1"))
}

// ordinaryFraming are bodies as anybody may send them.
func ordinaryFraming(c *corpus) {
	c.add("body", "of length 0", legit, "POST /b HTTP/1.1\r\n"+host+"Content-Length: 0\r\n\r\n", "POST /b x ")
	c.add("body", "none of a POST", legit, "POST /b HTTP/1.1\r\n"+host+"X-A: b\r\n\r\n", "POST /b x ")
	for _, m := range []string{"GET", "DELETE", "PUT", "PATCH", "OPTIONS", "BREW"} {
		c.add("body", "of "+m, legit, m+" /b HTTP/1.1\r\n"+host+"Content-Length: 3\r\n\r\nabc", m+" /b x abc")
		c.add("chunks", "of "+m, legit, m+" /b HTTP/1.1\r\n"+host+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", m+" /b x abc")
	}
	for name, f := range map[string]string{"lower case": "content-length: 3", "upper case": "CONTENT-LENGTH: 3", "no space": "Content-Length:3", "tabs": "Content-Length:\t3\t", "many spaces": "Content-Length:    3   "} {
		c.add("body", name, legit, "POST /b HTTP/1.1\r\n"+host+f+"\r\n\r\nabc", "POST /b x abc")
	}
	for name, f := range map[string]string{"lower case": "transfer-encoding: chunked", "upper case": "TRANSFER-ENCODING: CHUNKED", "capital": "Transfer-Encoding: Chunked", "no space": "Transfer-Encoding:chunked", "tabs": "Transfer-Encoding:\tchunked\t", "spaces": "Transfer-Encoding:   chunked  "} {
		c.add("chunks", name, legit, "POST /b HTTP/1.1\r\n"+host+f+"\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "POST /b x abc")
	}
	for name, b := range map[string]string{
		"several": "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "none": "0\r\n\r\n", "upper-case size": "A\r\n0123456789\r\n0\r\n\r\n", "lower-case size": "a\r\n0123456789\r\n0\r\n\r\n",
		"leading zeros": "0003\r\nabc\r\n0\r\n\r\n", "many zeros at the end": "3\r\nabc\r\n0000\r\n\r\n", "an extension": "3;a\r\nabc\r\n0\r\n\r\n",
		"an extension with a value": "3;a=b\r\nabc\r\n0\r\n\r\n", "a quoted extension": "3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n", "two extensions": "3;a=b;c=d\r\nabc\r\n0\r\n\r\n",
		"an extension at the end": "3\r\nabc\r\n0;a=b\r\n\r\n", "a trailer": "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", "two trailers": "3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n",
		"an empty trailer": "3\r\nabc\r\n0\r\nX-Sum:\r\n\r\n", "CR LF as data": "2\r\n\r\n\r\n0\r\n\r\n", "a last chunk as data": "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "NUL as data": "1\r\n\x00\r\n0\r\n\r\n",
	} {
		c.add("chunks", name, legit, chunked(b))
	}
	c.add("chunks", "with Trailer", legit, "POST /b HTTP/1.1\r\n"+host+"Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", "POST /b x abc")
	c.add("body", "a request as data", legit, fmt.Sprintf("POST /b HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", host, len(next), next), "POST /b x "+next)
	c.add("body", "every byte as data", legit, "POST /b HTTP/1.1\r\n"+host+"Content-Length: 256\r\n\r\n"+everyByte())
	c.add("body", "of 100 KiB", legit, "POST /b HTTP/1.1\r\n"+host+"Content-Length: 102400\r\n\r\n"+strings.Repeat("a", 102400))
	for _, v := range []string{"100-continue", "100-Continue"} {
		c.add("Expect", v, legit, "POST /b HTTP/1.1\r\n"+host+"Expect: "+v+"\r\nContent-Length: 3\r\n\r\nabc", "POST /b x abc")
	}
	c.add("Expect", "with chunks", legit, "POST /b HTTP/1.1\r\n"+host+"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "POST /b x abc")
	c.add("Expect", "without a body", legit, field("Expect: 100-continue"))
}

func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// ordinaryTargets are forms of targets that are in use.
func ordinaryTargets(c *corpus) {
	for _, t := range []string{
		"/", "/a", "/a/b/c", "/a?", "/?a", "/a?b=c&d=e", "/a?b?c", "/a?/b//c", "/a%20b", "/a%2Fb", "/%E2%82%AC", "/a;b=c", "/a:b", "/a@b", "/a,b", "/a!$&'()*+,;=:@-._~b",
		"/a?b=%00", "/a?b=%", "/a?b[]=c", "/a?b={c}", "/a?b=c|d", "/a?b=\"c\"", "/a?b=<c>", "/a?b^c`d", "/a?b\\c", "/.well-known/acme-challenge/x", "/a//b", "/a/./b", "/a?http://y/", "/http://y/",
	} {
		c.add("target", t, legit, line("GET "+t+" HTTP/1.1"), "GET "+t+" x ")
	}
	c.add("target", "of 4 KiB", legit, line("GET /"+strings.Repeat("a", 4<<10)+" HTTP/1.1"))
	c.add("target", "http://x/p", legit, line("GET http://x/p HTTP/1.1"), "GET /p x ")
	c.add("target", "https://x/p?q", legit, line("GET https://x/p?q HTTP/1.1"), "GET /p?q x ")
	c.add("target", "http://x", legit, line("GET http://x HTTP/1.1"), "GET / x ")
	c.add("target", "http://x:80/", legit, line("GET http://x:80/ HTTP/1.1"), "GET / x:80 ")
	c.add("target", "OPTIONS http://x", legit, line("OPTIONS http://x HTTP/1.1"))
}

// ordinaryFields are fields that are in use.
func ordinaryFields(c *corpus) {
	for _, f := range []string{
		"X-Empty:", "X-Empty: ", "X-Empty:\t", "X:y", "X: y\t", "X:  y  z  ", "x-lower: a", "X_Under: a", "X.Dot: a", "X!#$%&'*+-.^_`|~: a", "X-Text: \xc3\xa9\xff", "1: 2",
		"Cookie: a=b; c=\"d e\"; f", "Cookie: a=b\r\nCookie: c=d", "Accept: */*\r\nAccept: text/html;q=0.5", "User-Agent: Mozilla/5.0 (X11; Linux) \"x\" {y}", "Authorization: Bearer a.b-c_d~e+f/g==",
		"Connection: close", "Connection: Close", "Connection: keep-alive", "Connection: keep-alive, TE\r\nTE: trailers", "Connection:", "Connection: close,", "Via: 1.1 a, 1.0 b (c)",
		"X-Forwarded-For: 192.0.2.1, [::1]", "Forwarded: for=\"[::1]\";proto=http", "If-None-Match: W/\"a\", *", "Range: bytes=0-,-5", "Date: Mon, 02 Jan 2006 15:04:05 GMT", "Max-Forwards: 0",
		"Referer: http://y/?a#b", "Origin: null", "Upgrade-Insecure-Requests: 1", "X-Colons: a:b::c", "X-Json: {\"a\": [1, 2]}", "Content-Type: text/plain; charset=\"utf-8\"", "Content-Encoding: gzip",
		"X-Long: " + strings.Repeat("v", 3000), strings.TrimSuffix(strings.Repeat("X-Many: v\r\n", 80), "\r\n"), "Upgrade-Not: websocket", "Sec-Fetch-Mode: cors", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13",
	} {
		c.add("field", fmt.Sprintf("%.60q", f), legit, field(f), "GET /f x ")
	}
	c.add("field", "Host last", legit, "GET /f HTTP/1.1\r\nX-A: b\r\nHost: x\r\n\r\n", "GET /f x ")
	c.add("field", "Host without a space", legit, "GET /f HTTP/1.1\r\nHost:x\r\n\r\n", "GET /f x ")
	c.add("field", "host in lower case", legit, "GET /f HTTP/1.1\r\nhost: x \r\n\r\n", "GET /f x ")
}
