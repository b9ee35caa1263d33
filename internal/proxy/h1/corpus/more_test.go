package corpus

import (
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestJudge shows the origin what must not come through, each without a proxy in
// between.
func TestJudge(t *testing.T) {
	o, err := newOrigin("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	for _, tt := range []struct {
		raw  string
		want string // a part of the hazard; "" is none
	}{
		{line("GET / HTTP/1.1"), ""},
		{cl("Content-Length: 3"), ""},
		{chunked("3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"), ""},
		{field("X-Text: \xc3\xa9\xff\t"), ""},
		{field("Connection: Upgrade\r\nUpgrade: websocket"), ""},
		{line("GET / HTTP/1.2"), "version"},
		{line("GET /a#b HTTP/1.1"), "target"},
		{line("GET http://y/ HTTP/1.1"), "target"},
		{line("GET  / HTTP/1.1"), "request line"},
		{"GET / HTTP/1.1\r\n\r\n", "0 Hosts"},
		{"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "2 Hosts"},
		{"GET / HTTP/1.1\r\nHost: x y\r\n\r\n", "Host"},
		{"GET / HTTP/1.1\nHost: x\r\n\r\n", "bare LF"},
		{field("X-A: b\n"), "bare LF"},
		{field("X-A: b\rc"), "field"},
		{field("X-A: b\x00c"), "field"},
		{field("X-A : b"), "field"},
		{field("X-A: b\r\n c"), "field"},
		{cl("Content-Length: +3"), "Content-Length"},
		{cl("Content-Length: 3\r\nContent-Length: 3"), "Content-Length"},
		{cl("Content-Length: 18446744073709551619"), "Content-Length"},
		{te("Transfer-Encoding: chunked,"), "Transfer-Encoding"},
		{te("Transfer-Encoding: chunked\r\nContent-Length: 5"), "two framings"},
		{field("HTTP2-Settings: AAMAAABk"), "hop by hop"},
		{field("Proxy-Connection: close"), "hop by hop"},
		{field("Connection: X-Named\r\nX-Named: 1"), "Connection names"},
		{field("TE: gzip"), "TE"},
		{field("Connection: Upgrade\r\nUpgrade: h2c"), "foreign Upgrade"},
		{field("Upgrade: websocket"), "Connection does not name"},
		{chunked("3 \r\nabc\r\n0\r\n\r\n"), "chunk size"},
		{chunked("3;a\nb\r\nabc\r\n0\r\n\r\n"), "chunk size"},
		{chunked("3\r\nabcd\r\n0\r\n\r\n"), "chunk data end"},
		{chunked("3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n"), "trailer"},
	} {
		if _, err := listen(o.l.Addr().String(), tt.raw); err != nil {
			t.Fatal(err)
		}
		var got []*record
		for end := time.Now().Add(10 * time.Second); len(got) == 0 && time.Now().Before(end); {
			got = o.take() // the connection has ended; its record comes at once
		}
		if len(got) == 0 {
			t.Fatalf("%q: nothing came", tt.raw)
		}
		h := strings.Join(got[0].hazards, "; ")
		if (h == "") != (tt.want == "") || !strings.Contains(h, tt.want) {
			t.Errorf("%q: judged %q, want %q", tt.raw, h, tt.want)
		}
	}
}

// namesIt finds a Connection field that names X-Named, which the judge takes for hop
// by hop.
var namesIt = regexp.MustCompile(`(?im)^connection:.*x-named`)

// FuzzProxy sends whatever it is to this module's proxy: what comes out on the other
// side must never be a hazard.
func FuzzProxy(f *testing.F) {
	for i, m := range all(f) {
		if i%7 == 0 && len(m.raw) < 2000 {
			f.Add([]byte(m.raw))
		}
	}
	p, err := newOwn()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(p.stop)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			return
		}
		p.origin.take()
		b, err := talk(p.addr, string(raw))
		if err != nil {
			t.Fatal(err)
		}
		var r result
		r.answered(b)
		for _, rec := range p.origin.take() {
			if rec.complete {
				r.records = append(r.records, rec)
			}
		}
		r.judge()
		if !namesIt.Match(raw) { // then X-Named is a field like any other
			r.hazards = slices.DeleteFunc(r.hazards, func(h string) bool { return strings.HasSuffix(h, "x-named") })
		}
		if len(r.hazards) > 0 {
			t.Fatalf("%q: forwarded as %q: %v", raw, r.records[0].raw, r.hazards)
		}
	})
}

// freePort returns a port of the loopback interface that was free just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
