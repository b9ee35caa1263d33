package corpus

import (
	"fmt"
	"strings"
)

// targets are what stands for one and is none, or two.
func targets(c *corpus) {
	for _, t := range []string{
		"a", "a/b", "?a", "x:80", "//", "*", "**", "/*", "\\", "http:", "http:/", "http://", "http:///", "http:///p", "http://?q", "ftp://x/",
		"file:///etc/passwd", "javascript:0", "mailto:a@b", "http:x/", "http:/x/", "http//x/", "://x/", "//x/", "http://x:80:80/", "http://x:/",
		"http://x:a/", "http://x:99999/", "http://x:-1/", "http://u@x/", "http://u:p@x/", "http://x@/", "http://x\\@y/", "http://x/y#z", "http://[::1/",
		"http://::1/", "http://[x]/", "http://x y/", "http://x,y/", "http://x%00/", "http://x%2f/", "http://(x)/", "http://*/", "http:// x/", "HTTP:\\\\x\\", "h\tttp://x/",
		"gopher://x:70/_GET%20/", "unix:/run/x", "ws://x/", "http://x\x80/", "http://.../", "http://x../",
	} {
		tier := refuse
		switch t {
		case "//", "/*", "//x/", "http://x:/", "ws://x/", "http://u@x/", "http://u:p@x/", "http://*/", "http://.../", "http://x../", "http://(x)/", "http://x%2f/", "http://x%00/", "http://x,y/", "http://x\x80/", "http://[x]/", "http://x\\@y/", "*", "\\":
			tier = may
		}
		if t == "*" || t == "\\" {
			tier = refuse
		}
		c.add("target", fmt.Sprintf("%q", t), tier, line("GET "+t+" HTTP/1.1"))
	}
	for _, t := range []string{"/a#b", "/#", "/a?b#c", "#", "/a%23#", "*#"} {
		c.add("fragment", t, refuse, line("GET "+t+" HTTP/1.1"))
	}
	for _, t := range []string{"/%zz", "/%", "/%1", "/%u0041", "/a%00b", "/a%0d%0aX:%20y", "/%2e%2e/", "/../a", "/a/../../b", "/a\\b", "/a;b/../c", "/%2F%2f", "/a%20HTTP/1.1", "/\"<>^`{|}"} {
		c.add("odd path", t, may, line("GET "+t+" HTTP/1.1"))
	}
	for _, f := range [][3]string{
		{"GET http://y/p HTTP/1.1", "Host: x", "GET /p y "}, {"GET http://y:8080/p?q HTTP/1.1", "Host: x:80", "GET /p?q y:8080 "},
		{"GET http://y HTTP/1.1", "Host: x", "GET / y "}, {"GET http://y?q HTTP/1.1", "Host: x", "GET /?q y "},
		{"GET HTTP://Y/p HTTP/1.1", "Host: x", "GET /p Y "}, {"GET https://y/p HTTP/1.1", "Host: x", "GET /p y "},
	} {
		c.add("absolute against Host", f[0], may, f[0]+"\r\n"+f[1]+"\r\n\r\n", f[2])
	}
	c.add("absolute against Host", "no Host", may, "GET http://y/p HTTP/1.1\r\n\r\n")
	c.add("absolute against Host", "two Hosts", refuse, "GET http://y/p HTTP/1.1\r\nHost: y\r\nHost: y\r\n\r\n")
	c.add("absolute against Host", "malformed Host", refuse, "GET http://y/p HTTP/1.1\r\nHost: x y\r\n\r\n")
	c.add("absolute against Host", "HTTP/1.0", may, "GET http://y/p HTTP/1.0\r\n\r\n", "GET /p y ")
	for _, m := range []string{"GET", "POST", "HEAD", "PUT"} {
		if m != "GET" {
			c.add("asterisk", m, refuse, line(m+" * HTTP/1.1"))
		}
	}
	c.add("asterisk", "OPTIONS **", refuse, line("OPTIONS ** HTTP/1.1"))
	c.add("asterisk", "OPTIONS *?a", refuse, line("OPTIONS *?a HTTP/1.1"))
}

// hosts are odd ones, or not one.
func hosts(c *corpus) {
	get := func(h string) string { return "GET /h HTTP/1.1\r\n" + h + "\r\n" }
	c.add("Host", "none", refuse, get(""))
	c.add("Host", "none, with other fields", refuse, get("X-A: b\r\n"))
	for _, p := range [][2]string{{"x", "x"}, {"x", "y"}, {"", "x"}, {"x", ""}, {"x", "x:80"}, {"X", "x"}} {
		c.add("Host", fmt.Sprintf("twice, %q and %q", p[0], p[1]), refuse, get("Host: "+p[0]+"\r\nHost: "+p[1]+"\r\n"))
		c.add("Host", fmt.Sprintf("apart, %q and %q", p[0], p[1]), refuse, get("Host: "+p[0]+"\r\nX-A: b\r\nhost: "+p[1]+"\r\n"))
	}
	for _, v := range []string{
		"x y", "x,y", "x, y", "x/y", "/x", "x?y", "x#y", "u@x", "u:p@x", "@x", "x\\y", "x\ty", "x;y", "x\"y", "<x>", "x|y", "x^y", "x`y", "{x}",
		"x:y", "x:80:80", "x:-1", "x:+80", "x:99999", "x:80x", "x:0x50", "x: 80", "x :80", ":80", "http://x", "[::1", "::1]", "[x]", "[::1]x", "[::1]:x", "[]",
		"x%", "x%zz", "x%00y", "x%0d%0ay", "%78", "(x)", "x=y", "x&y", "x$y", "x!y", "x'y", "x*", "*", "x~y", "x+y", "x..y", ".x", "..", "-x", "_", "1", "x:0", "x:", "[::1%25eth0]", "[v1.x]",
		"\xc3\xbc", "x\x80",
	} {
		// A registered name may hold more than a host's name does (RFC 3986, 3.2.2).
		t := may
		for _, bad := range []string{" ", ",", "/", "?", "#", "@", "\\", "\t", "\"", "<", "x:y", "x:80:80", "x:-1", "[::1", "::1]", "x: 80"} {
			if strings.Contains(v, bad) && v != "[::1]:x" && v != "[::1]x" {
				t = refuse
			}
		}
		if v == "[::1%25eth0]" || v == "x,y" {
			t = may
		}
		c.add("Host", fmt.Sprintf("%q", v), t, get("Host: "+v+"\r\n"))
	}
	for _, b := range controls() {
		c.add("byte in Host", hex(b), refuse, get("Host: x"+string(rune(b))+"y\r\n"))
	}
	c.add("Host", "empty", may, get("Host:\r\n"))
	c.add("Host", "empty and no other, a space", may, get("Host: \r\n"))
	c.add("Host", "of 1,000 bytes", may, get("Host: "+strings.Repeat("a.", 500)+"\r\n"))
	c.add("Host", "twice with HTTP/1.0", refuse, "GET /h HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n")
	c.add("Host", "malformed with HTTP/1.0", refuse, "GET /h HTTP/1.0\r\nHost: x y\r\n\r\n")
}

// chunkSizes are those that are none.
func chunkSizes(c *corpus) {
	for _, s := range []string{
		"", "x", "g", "0x3", "0X3", "+3", "-3", "- 3", "3x", "3h", "3g", "3_", "_3", "3.0", "3,", "3 3", " 3", "\t3", "\x0b3", "\x003", "3\x00", "3\x0b",
		"\"3\"", "'3'", "(3)", "3:", "3=", "#3", "3#", "%33", "\xef\xbc\x93", "\xd9\xa3", "three", "0b11", "1e0", "3L", "3u", "\\x3", "&#51;", "~3", "!3", "\r3",
		"10000000000000003",               // 2^64+3
		"fffffffffffffffd", "-0xfffffffd", // -3
		"ffffffffffffffff", "8000000000000003", "7fffffffffffffff", "100000000000000000000000000000003",
		strings.Repeat("f", 17), strings.Repeat("f", 100), "00000001000000000000000000000000003",
	} {
		c.add("chunk size", fmt.Sprintf("%.40q", s), refuse, chunked(s+"\r\nabc\r\n0\r\n\r\n"+next))
		if s != "" && strings.Trim(s, "0123456789abcdef") != "" {
			c.add("last chunk's size", fmt.Sprintf("%.40q", s), refuse, chunked("3\r\nabc\r\n"+strings.ReplaceAll(s, "3", "0")+"\r\n\r\n"+next))
		}
	}
	for _, s := range []string{"3\t", "3  ;a", "3 ;a", "3; a", "3;a =b", "100000003"} {
		c.add("chunk size", fmt.Sprintf("%q", s), may, chunked(s+"\r\nabc\r\n0\r\n\r\n"+next))
	}
	c.add("chunk size", "more than the data", refuse, chunked("4\r\nabc\r\n0\r\n\r\n"+next))
	c.add("chunk size", "less than the data", refuse, chunked("2\r\nabc\r\n0\r\n\r\n"+next))
	c.add("chunk size", "an empty line before", refuse, chunked("\r\n3\r\nabc\r\n0\r\n\r\n"+next))
	c.add("chunk size", "no last chunk", refuse, chunked("3\r\nabc\r\n\r\n"+next))
	c.add("chunk size", "no chunk at all", refuse, chunked("\r\n"+next))
	c.add("chunk size", "the end comes early", refuse, chunked("3\r\nab"))
	c.add("chunk size", "no empty line at the end", refuse, chunked("3\r\nabc\r\n0\r\n"))
}

// chunkBytes replaces what delimits chunks, and puts bytes into extensions.
func chunkBytes(c *corpus) {
	for name, e := range map[string]string{"LF": "\n", "CR": "\r", "LF CR": "\n\r", "CR CR LF": "\r\r\n", "nothing": "", "CR x": "\rx", "x LF": "x\n", "space CR LF": " \r\n", "NUL": "\x00"} {
		t := refuse
		if name == "space CR LF" {
			t = may
		}
		c.add("chunk end", name+" behind a size", t, chunked("3"+e+"abc\r\n0\r\n\r\n"+next))
		c.add("chunk end", name+" behind the data", refuse, chunked("3\r\nabc"+e+"0\r\n\r\n"+next))
		c.add("chunk end", name+" behind the last size", t, chunked("3\r\nabc\r\n0"+e+"\r\n"+next))
		if name != "nothing" {
			c.add("chunk end", name+" behind an extension", refuseIf(e != " \r\n"), chunked("3;a"+e+"abc\r\n0\r\n\r\n"+next))
			c.add("chunk end", name+" for the last line", refuse, chunked("3\r\nabc\r\n0\r\n"+e+next))
		}
	}
	for _, b := range controls() {
		c.add("byte in a chunk extension", hex(b), refuse, chunked("3;a"+string(rune(b))+"b\r\nabc\r\n0\r\n\r\n"+next))
	}
	for _, b := range "\r\n" {
		c.add("byte in a quoted chunk extension", hex(byte(b)), refuse, chunked("3;a=\""+string(b)+"\"\r\nabc\r\n0\r\n\r\n"+next))
	}
	for _, x := range []string{";", ";;", ";=", ";a=", ";=b", ";a=b;", ";a=\"", ";a=\"b", ";a b", ";\"a\"", ",a", ";a=\xff", ";" + strings.Repeat("a", 5000), strings.Repeat(";a=b", 5000)} {
		t := may
		if x == ",a" {
			t = refuse
		}
		c.add("chunk extension", fmt.Sprintf("%.40q", x), t, chunked("3"+x+"\r\nabc\r\n0\r\n\r\n"+next))
	}
}

func refuseIf(b bool) tier {
	if b {
		return refuse
	}
	return may
}

// trailers hold what may not be behind a body.
func trailers(c *corpus) {
	with := func(t string) string { return chunked("3\r\nabc\r\n0\r\n" + t + "\r\n\r\n" + next) }
	for _, f := range []string{
		"Content-Length: 3", "Content-Length: 300", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Host: evil", "Connection: close", "Connection: X-A",
		"Trailer: X-A", "TE: trailers", "Upgrade: h2c", "Expect: 100-continue", "Authorization: Basic eDp5", "Proxy-Authorization: x", "Cookie: a=b", "Set-Cookie: a=b",
		"Content-Encoding: gzip", "Content-Type: text/html", "Content-Range: bytes 0-1/2", "Cache-Control: no-store", "If-Match: *", "Range: bytes=0-1",
		"Max-Forwards: 1", "Keep-Alive: x", "Proxy-Connection: x", "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "Via: 1.1 x", "Location: /", "Vary: *",
	} {
		c.add("trailer", f, may, with(f)) // dropped or refused, but never forwarded
	}
	for _, f := range []string{"X", "X y", "X : y", " X: y", ": y", "X\x00: y", "X: y\x00", "X: y\rZ: z", "X: a\x0bb", "X(: y", "X: y\x7f", "\x00", "X: y\n", "X: y\nZ: z", "X;y"} {
		c.add("trailer", fmt.Sprintf("%q", f), refuseIf(!strings.Contains(f, "\n")), with(f))
	}
	c.add("trailer", "folded", may, with("X: y\r\n z"))
	c.add("trailer", "1,000 fields", may, with(strings.Repeat("X: y\r\n", 1000)+"X: y"))
	c.add("trailer", "a request in it", refuse, with("GET /evil HTTP/1.1"))
}

// tunnels ask for one.
func tunnels(c *corpus) {
	for _, t := range []string{"x:443", "x:80", "[::1]:443"} {
		c.add("CONNECT", t, may, "CONNECT "+t+" HTTP/1.1\r\nHost: "+t+"\r\n\r\n")
	}
	for _, t := range []string{"/", "*", "x", "x:", ":80", "x:a", "x:99999", "http://x/", "http://x:80/", "x:80/", "x:80?a", "u@x:80", "x:80:80", "[::1", "x y:80"} {
		c.add("CONNECT", t, refuseIf(t != "x:80/"), "CONNECT "+t+" HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	c.add("CONNECT", "with a length", may, "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\nContent-Length: 3\r\n\r\nabc")
	c.add("CONNECT", "with a coding", may, "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	c.add("CONNECT", "with bytes behind it", may, "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"+next)
}
