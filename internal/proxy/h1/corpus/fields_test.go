package corpus

import (
	"fmt"
	"strings"
)

// fieldBytes puts bytes into names and values that may not be there.
func fieldBytes(c *corpus) {
	for _, b := range controls() {
		s := string(rune(b))
		c.add("byte in a field's name", hex(b), refuse, field("X"+s+"A: b"))
		c.add("byte in a field's value", hex(b), refuse, field("X-A: b"+s+"c"))
		c.add("byte at a value's end", hex(b), refuse, field("X-A: b"+s))
	}
	for _, b := range []byte("\"(),/;<=>?@[\\]{} \t\x80\xa0\xff") {
		c.add("byte in a field's name", hex(b), refuse, field("X"+string([]byte{b})+"A: b"))
	}
	for _, f := range []string{"", ":", ": b", "X-A", "X-A b", "X-A; b", "X-A=b", "=: b", "\"X-A\": b", " : b", "\x00: b", "X-A\x00", "(X-A): b"} {
		if f == "" {
			continue
		}
		c.add("field", fmt.Sprintf("%q", f), refuse, field(f))
	}
	c.add("field", "a NUL between Transfer- and Encoding", refuse, te("Transfer-\x00Encoding: chunked"))
	c.add("field", "underscores for hyphens", may, cl("Content_Length: 30\r\nContent-Length: 3"))
	c.add("field", "Transfer_Encoding", may, "POST /u HTTP/1.1\r\n"+host+"Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc")
	c.add("field", "the Kelvin sign", refuse, field("X-\xe2\x84\xaaey: b"))
	c.add("field", "Transfer-Encoding with a long s", refuse, te("Tran\xc5\xbffer-Encoding: chunked"))
}

// folds are values continued on another line (obsolete since RFC 7230).
func folds(c *corpus) {
	for name, w := range map[string]string{"space": " ", "tab": "\t", "many": "   \t "} {
		c.add("fold", "a value, by "+name, may, field("X-A: b\r\n"+w+"c"))
		c.add("fold", "Host, by "+name, may, "GET /o HTTP/1.1\r\nHost:\r\n"+w+"x\r\n\r\n")
		c.add("fold", "Host goes on, by "+name, may, "GET /o HTTP/1.1\r\nHost: x\r\n"+w+"y\r\n\r\n")
		c.add("fold", "Content-Length, by "+name, may, cl("Content-Length:\r\n"+w+"3"))
		c.add("fold", "Content-Length goes on, by "+name, refuse, cl("Content-Length: 3\r\n"+w+"0"))
		c.add("fold", "Transfer-Encoding, by "+name, may, te("Transfer-Encoding:\r\n"+w+"chunked"))
		c.add("fold", "Transfer-Encoding goes on, by "+name, may, te("Transfer-Encoding: identity,\r\n"+w+"chunked"))
		c.add("fold", "a field in the value, by "+name, may, te("X-A: b\r\n"+w+"Transfer-Encoding: chunked"))
		c.add("fold", "an empty line, by "+name, may, field("X-A: b\r\n"+w))
		c.add("fold", "Connection, by "+name, may, field("Connection: X-A,\r\n"+w+"close\r\nX-A: b"))
	}
}

// lengths are odd Content-Lengths.
func lengths(c *corpus) {
	for _, v := range []string{
		"", "+3", "-3", "-0", "+0", "- 3", "0x3", "0X3", "3x", "x3", "3.0", "3,0", "3e0", "3_0", "3 3", "3\t3", "3;", "3;a=b", "\"3\"", "'3'",
		"3,", ",3", "3,,3", "3, 4", "4, 3", "three", "0b11", "0o3", "3L", "3\x00", "\x003", "3\x0b", "\x0b3", "3\xa0", "\xef\xbc\x93",
		"\xd9\xa3", "NaN", "inf", "null", "true", "~3", "!3", "3%", "3a", "a", "=3", "(3)", "1e0", "0x", "3\r", "\r3",
		"18446744073709551619", // 2^64+3
		"18446744073709551616", // 2^64
		"18446744073709551615", // 2^64-1
		"9223372036854775808",  // 2^63
		"36893488147419103235", // 2^65+3
		"99999999999999999999",
		"340282366920938463463374607431768211459", // 2^128+3
		strings.Repeat("9", 200), "-18446744073709551613",
	} {
		c.add("Content-Length", fmt.Sprintf("%.40q", v), refuse, cl("Content-Length: "+v))
	}
	for _, v := range []string{"3, 3", "3,3", "3 , 3", "3,3,3"} {
		c.add("Content-Length", "the list "+v, may, cl("Content-Length: "+v))
	}
	for _, v := range []string{"03", "0003", "00000000000000000000000000000003"} {
		c.add("Content-Length", "leading zeros "+v, may, cl("Content-Length: "+v))
	}
	c.add("Content-Length", "4294967299 for 3", may, cl("Content-Length: 4294967299")) // a length that never comes
	for _, p := range [][2]string{{"3", "30"}, {"30", "3"}, {"3", "0"}, {"0", "3"}, {"3", ""}, {"", "3"}, {"3", "+3"}, {"3", "-1"}, {"3", "x"}, {"3", "18446744073709551619"}} {
		c.add("Content-Length", fmt.Sprintf("twice, %q and %q", p[0], p[1]), refuse, cl("Content-Length: "+p[0]+"\r\nContent-Length: "+p[1]))
		c.add("Content-Length", fmt.Sprintf("apart, %q and %q", p[0], p[1]), refuse, cl("Content-Length: "+p[0]+"\r\nX-A: b\r\ncontent-length: "+p[1]))
	}
	c.add("Content-Length", "twice the same", may, cl("Content-Length: 3\r\nContent-Length: 3"))
	c.add("Content-Length", "twice the same but for a zero", may, cl("Content-Length: 3\r\nContent-Length: 03"))
	c.add("Content-Length", "named by Connection", may, cl("Connection: Content-Length\r\nContent-Length: 3"))
	c.add("Content-Length", "of a GET", may, "GET /cl HTTP/1.1\r\n"+host+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(next))+next)
	c.add("Content-Length", "longer than what comes", may, "POST /cl HTTP/1.1\r\n"+host+"Content-Length: 10\r\n\r\nabc")
}

// codings are odd Transfer-Encodings.
func codings(c *corpus) {
	for _, v := range []string{
		"xchunked", "chunkedx", "x-chunked", "chunked-x", "\"chunked\"", "'chunked'", "chunked,", ",chunked", ", chunked", "chunked, ", "chunked,,",
		",", "", "chunked;a=b", "chunked;", "chunked ;a", "chunked identity", "identity chunked", "chunked chunked", "chunked, chunked", "chunked,chunked",
		"chunked, identity", "chunked, gzip", "chunked, x", "identity", "gzip", "deflate", "compress", "x", "cow", "null", "none", "c hunked", "chunk",
		"chunked/1.0", "chunked=1", "(chunked)", "chunked()", "ch\tunked", "chunked\\", "\\chunked", "chunked.", ".chunked", "chunked:", ":chunked", "chunked: x",
		"\x00chunked", "chunked\x00", "chu\x00nked", "\x0bchunked", "chunked\x0b", "\x0cchunked", "chunked\x0c", "\x1fchunked", "\x7fchunked", "chunked\x7f",
		"\xa0chunked", "chunked\xa0", "\xc2\x85chunked", "chun\xe2\x84\xaaed", "\xef\xbd\x83hunked", "\rchunked", "chunked\r", "ch\runked", "gzip;q=1", "identity;chunked", "trailers",
	} {
		c.add("Transfer-Encoding", fmt.Sprintf("%q", v), refuse, te("Transfer-Encoding: "+v))
	}
	for _, v := range []string{"gzip, chunked", "identity, chunked", "gzip,chunked", "deflate, chunked", "x, chunked", "gzip, deflate, chunked"} {
		c.add("Transfer-Encoding", v, may, te("Transfer-Encoding: "+v))
	}
	for _, p := range [][2]string{{"chunked", "identity"}, {"chunked", "gzip"}, {"chunked", "x"}, {"chunked", "chunked"}, {"chunked", ""}, {"identity", "x"}} {
		c.add("Transfer-Encoding", fmt.Sprintf("twice, %q and %q", p[0], p[1]), refuse, te("Transfer-Encoding: "+p[0]+"\r\nTransfer-Encoding: "+p[1]))
	}
	for _, p := range [][2]string{{"identity", "chunked"}, {"gzip", "chunked"}, {"", "chunked"}, {"x", "chunked"}} {
		c.add("Transfer-Encoding", fmt.Sprintf("twice, %q and %q", p[0], p[1]), may, te("Transfer-Encoding: "+p[0]+"\r\nTransfer-Encoding: "+p[1]))
	}
	c.add("Transfer-Encoding", "with HTTP/1.0", may, "POST /te HTTP/1.0\r\n"+host+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+next)
	c.add("Transfer-Encoding", "with HTTP/1.0 kept alive", may, "POST /te HTTP/1.0\r\n"+host+"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+next)
	c.add("Transfer-Encoding", "named by Connection", may, te("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked"))
	c.add("Transfer-Encoding", "of a GET", may, "GET /te HTTP/1.1\r\n"+host+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+next)
	c.add("Transfer-Encoding", "of a GET, not last", refuse, "GET /te HTTP/1.1\r\n"+host+"Transfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n"+next)
}

// both have two ways to find the body's end.
func both(c *corpus) {
	for _, coding := range []string{"chunked", "Chunked", "chunked ", "\tchunked", "identity", "xchunked", "chunked, identity", "gzip, chunked", "chunked\x0b", "\x00chunked", "", "chunked;a"} {
		for _, n := range []string{"0", "3", "5", "6", "1000"} {
			for _, first := range []bool{true, false} {
				l, e := "Content-Length: "+n, "Transfer-Encoding: "+coding
				t, order := may, "CL.TE"
				if !first {
					l, e, order = e, l, "TE.CL"
				}
				if k := strings.TrimSpace(strings.ToLower(coding)); k != "chunked" && k != "gzip, chunked" {
					t = refuse
				}
				c.add("both", fmt.Sprintf("%s of %s with %q", order, n, coding), t, te(l+"\r\n"+e))
			}
		}
	}
	c.add("both", "a bad length", may, te("Content-Length: x\r\nTransfer-Encoding: chunked"))
	c.add("both", "twice each", may, te("Content-Length: 3\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\nTransfer-Encoding: identity"))
	c.add("both", "with HTTP/1.0", may, "POST / HTTP/1.0\r\n"+host+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+next)
}

// hopByHop are fields that concern one connection alone.
func hopByHop(c *corpus) {
	for _, f := range []string{
		"Proxy-Connection: keep-alive", "Proxy-Connection: close", "Keep-Alive: timeout=5", "Keep-Alive: 300\r\nConnection: Keep-Alive",
		"Connection: X-Named\r\nX-Named: 1", "X-Named: 1\r\nConnection: X-Named", "Connection: x-nAmEd\r\nX-Named: 1",
		"Connection: close, X-Named\r\nX-Named: 1", "Connection: X-Named\r\nConnection: X-Other\r\nX-Named: 1\r\nX-Other: 2",
		"Connection: X-Named\r\nX-Named: 1\r\nX-Named: 2", "Connection: , ,X-Named,\r\nX-Named: 1", "Connection: Connection",
		"Connection: keep-alive, Proxy-Connection\r\nProxy-Connection: x", "TE: gzip", "TE: trailers", "TE: trailers, deflate;q=0.5\r\nConnection: TE",
		"TE: gzip\r\nTE: trailers", "Connection: TE", "Proxy-Authorization: Basic eDp5", "Proxy-Authenticate: Basic",
		"Connection: keep-alive\r\nConnection: close", "Trailer: X-A", "Connection: Trailer\r\nTrailer: X-A",
	} {
		c.add("hop by hop", fmt.Sprintf("%q", f), legit, field(f))
	}
	for _, f := range []string{
		"Connection: Host", "Connection: Content-Length", "Connection: Transfer-Encoding", "Connection: Authorization\r\nAuthorization: Basic eDp5",
		"Connection: Cookie\r\nCookie: a=b", "Connection: X-Forwarded-For\r\nX-Forwarded-For: 192.0.2.1", "Connection: Via\r\nVia: 1.1 x", "Connection: Expect",
		"Connection: \"close\"", "Connection: a b", "Connection: close;", "Connection: close=1", "Connection: (x)", "Connection: x/y",
	} {
		c.add("hop by hop", fmt.Sprintf("%q", f), may, field(f))
	}
}

// upgrades ask for other protocols than a proxy can vouch for.
func upgrades(c *corpus) {
	for _, f := range []string{
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", "Connection: Upgrade\r\nUpgrade: h2c",
		"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk", "Connection: HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
		"Upgrade: websocket", "Upgrade: websocket\r\nConnection: keep-alive", "Connection: Upgrade", "Connection: Upgrade\r\nUpgrade: TLS/1.2",
		"Connection: Upgrade\r\nUpgrade: HTTP/2.0", "Connection: Upgrade\r\nUpgrade: websocket, h2c", "Connection: Upgrade\r\nUpgrade: h2c, websocket",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c", "Connection: upgrade\r\nUpgrade: H2C",
	} {
		c.add("upgrade", fmt.Sprintf("%q", f), legit, field(f)) // it is a GET, whatever is offered besides
	}
	for _, f := range []string{"Connection: Upgrade\r\nUpgrade:", "Connection: Upgrade\r\nUpgrade: ,", "Connection: Upgrade\r\nUpgrade: \"websocket\"", "Connection: Upgrade\r\nUpgrade: web socket"} {
		c.add("upgrade", fmt.Sprintf("%q", f), may, field(f))
	}
	c.add("upgrade", "with a body", may, "POST /up HTTP/1.1\r\n"+host+"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc")
	c.add("upgrade", "h2c with a body", may, "POST /up HTTP/1.1\r\n"+host+"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 3\r\n\r\nabc")
	c.add("upgrade", "with HTTP/1.0", may, "GET /up HTTP/1.0\r\n"+host+"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
}

// expectations are those of Expect.
func expectations(c *corpus) {
	for _, v := range []string{"wonders", "100-continue, wonders", "100-continue;a=b", "100", "", "200-ok"} {
		c.add("Expect", fmt.Sprintf("%q", v), may, "POST /x HTTP/1.1\r\n"+host+"Expect: "+v+"\r\nContent-Length: 3\r\n\r\nabc")
	}
	c.add("Expect", "twice", may, "POST /x HTTP/1.1\r\n"+host+"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
	c.add("Expect", "with HTTP/1.0", may, "POST /x HTTP/1.0\r\n"+host+"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
	c.add("Expect", "folded", may, "POST /x HTTP/1.1\r\n"+host+"Expect:\r\n 100-continue\r\nContent-Length: 3\r\n\r\nabc")
	c.add("Expect", "with two framings", may, "POST /x HTTP/1.1\r\n"+host+"Expect: 100-continue\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+next)
}

// sizes go beyond what anybody reads.
func sizes(c *corpus) {
	long := strings.Repeat("a", 100<<10)
	c.add("size", "target of 100 KiB", refuse, line("GET /"+long+" HTTP/1.1"))
	c.add("size", "method of 100 KiB", refuse, line(long+" / HTTP/1.1"))
	c.add("size", "value of 2 MiB", refuse, field("X-A: "+strings.Repeat(long, 20)))
	c.add("size", "name of 2 MiB", refuse, field(strings.Repeat(long, 20)+": b"))
	c.add("size", "100,000 fields", refuse, field(strings.Repeat("X-A: b\r\n", 100000)+"X-A: b"))
	c.add("size", "version of 100 KiB", refuse, line("GET / HTTP/1.1"+long))
	c.add("size", "host of 100 KiB", refuse, "GET / HTTP/1.1\r\nHost: "+long+"\r\n\r\n")
	c.add("size", "chunk extension of 2 MiB", may, chunked("3;"+strings.Repeat(long, 20)+"\r\nabc\r\n0\r\n\r\n"))
	c.add("size", "trailer of 2 MiB", may, chunked("3\r\nabc\r\n0\r\nX-A: "+strings.Repeat(long, 20)+"\r\n\r\n"))
	c.add("size", "a million zeros before a chunk's size", may, chunked(strings.Repeat("0", 1<<20)+"3\r\nabc\r\n0\r\n\r\n"))
}
