package h1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"swell/internal/exchange"
)

// scripted is a connection that gives what it holds, a few bytes at a time.
type scripted struct {
	net.Conn
	b    []byte
	step int
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.b)
	s.b = s.b[n:]
	return n, nil
}

var testLimits = Limits{Head: headSize, Target: 32 << 10, Fields: 128}

// readBody reads the body that m announces, behind n bytes of in.
func readBody(in []byte, n int, m *meta, trailer *exchange.Header, step int) ([]byte, []byte, error) {
	head := max(n, len(in[:min(len(in), n+step)]))
	r := reader{nc: &scripted{b: in[head:], step: step}, head: slices.Clone(in[:head]), r: n, w: head}
	r.b = r.head
	r.begin(m, trailer, 128)
	var body []byte
	for {
		ready := r.ready()
		p, err := r.next()
		if err == nil && len(p) == 0 {
			panic("an empty piece")
		}
		_ = ready
		body = append(body, p...)
		if err != nil {
			rest := append(slices.Clone(r.rest()), r.nc.(*scripted).b...)
			return body, rest, err
		}
	}
}

// FuzzRequest holds the parser to net/http's: what we accept, it must accept and
// understand alike. It differs with reason in what it reads targets as: URLs, so
// that it refuses some that are fine byte for byte, and leaves absolute ones as
// they came; and TE and Trailer are ours to change.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		get, "POST /a?b HTTP/1.1\r\nHost: x:80\r\nContent-Length: 3\r\n\r\nabcGET",
		"PUT http://y/p?q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;e\r\nabc\r\n0\r\nX: y\r\n\r\nrest",
		"GET / HTTP/1.0\r\nConnection: keep-alive, foo\r\nFoo: bar\r\n\r\n",
		"CONNECT [::1]:443 HTTP/1.1\r\nHost: x:1\r\n\r\nabc",
		"\r\nOPTIONS * HTTP/1.1\r\nhost: [::1]\r\nA:\t b \r\nTE: trailers\r\n\r\n",
	} {
		f.Add([]byte(s), byte(1))
		f.Add([]byte(s), byte(100))
	}
	f.Fuzz(func(t *testing.T, in []byte, step byte) {
		var q exchange.Request
		var m meta
		n, bad := request(in, &q, &m, &testLimits)
		// Less must never be understood differently from more.
		for _, cut := range []int{len(in) / 2, len(in) - 1} {
			if cut < 0 {
				continue
			}
			var q2 exchange.Request
			var m2 meta
			k, early := request(in[:cut], &q2, &m2, &testLimits)
			if k > 0 && k != n {
				t.Fatalf("%d of %d bytes: head of %d, then %d", cut, len(in), k, n)
			}
			if early != nil && bad == nil && n > 0 {
				t.Fatalf("%d of %d bytes are refused (%v), all are not", cut, len(in), early)
			}
		}
		if bad != nil || n == 0 {
			return
		}
		body, rest, err := readBody(in, n, &m, &q.Trailer, int(step)+1)

		br := bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(in, []byte("\r\n"))))
		std, serr := http.ReadRequest(br)
		if serr != nil {
			if strings.Contains(serr.Error(), "parse") || strings.Contains(serr.Error(), "URI") {
				return // the target, as a URL
			}
			t.Fatalf("accepted, and net/http says %v", serr)
		}
		if std.Method != q.Method || std.ProtoMinor != q.Minor {
			t.Fatalf("method %q %q, minor %d %d", q.Method, std.Method, q.Minor, std.ProtoMinor)
		}
		if q.Method != "CONNECT" && std.RequestURI != string(q.Target) && !bytes.HasPrefix(bytes.ToLower([]byte(std.RequestURI)), []byte("http")) {
			t.Fatalf("target %q %q", q.Target, std.RequestURI)
		}
		if std.Host != string(q.Host) {
			t.Fatalf("host %q %q", q.Host, std.Host)
		}
		for _, h := range q.Header.Fields() {
			got := std.Header[http.CanonicalHeaderKey(string(h.Name))]
			if !slices.Contains(got, string(h.Value)) && h.ID != exchange.TE && h.ID != exchange.Trailer {
				t.Fatalf("field %s: %q, net/http has %q", h.Name, h.Value, got)
			}
		}
		sbody, sberr := io.ReadAll(std.Body)
		if err == io.EOF {
			if sberr != nil || !bytes.Equal(body, sbody) {
				t.Fatalf("body %q, net/http has %q, %v", body, sbody, sberr)
			}
			if after, _ := io.ReadAll(br); !bytes.Equal(rest, after) {
				t.Fatalf("what follows is %q, for net/http %q", rest, after)
			}
		} else if sberr == nil && m.framing == byLength {
			t.Fatalf("body broke with %v, for net/http it is %q", err, sbody)
		}

		// What is made of it is understood by ourselves, alike.
		q.Body = nil
		if m.framing != none {
			q.Body = exchange.Bytes(body)
		}
		out := appendRequest(nil, &q, "a:1", nil)
		var q3 exchange.Request
		var m3 meta
		k, bad := request(out, &q3, &m3, &Limits{Head: 1 << 20, Target: 64 << 10, Fields: 140})
		if bad != nil || k != len(out) {
			t.Fatalf("made %q: %v", out, bad)
		}
		if !bytes.Equal(q3.Target, q.Target) || len(q.Host) > 0 && !bytes.Equal(q3.Host, q.Host) || q3.Method != q.Method || q3.Header.Len() != q.Header.Len() {
			t.Fatalf("made %q of %q", out, in[:n])
		}
		if h := hazards(string(out)); len(h) > 0 {
			t.Fatalf("made %q: %v", out, h)
		}
	})
}

// FuzzResponse is the same for answers.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP", "HTTP/1.0 200\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA : b\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
	} {
		f.Add([]byte(s), byte(3), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, step byte, head bool) {
		var h, trailer exchange.Header
		var m meta
		n, bad := answerHead(in, &h, &m, 128, head)
		if bad != nil || n == 0 {
			return
		}
		method := "GET"
		if head {
			method = "HEAD"
		}
		spaced := bytes.Contains(in[:n], []byte(" :")) || bytes.Contains(in[:n], []byte("\t:"))
		br := bufio.NewReader(bytes.NewReader(in))
		std, serr := http.ReadResponse(br, &http.Request{Method: method})
		if serr != nil {
			if spaced { // RFC 9112 has a proxy take such spaces away; net/http refuses
				return
			}
			t.Fatalf("accepted, and net/http says %v", serr)
		}
		if std.StatusCode != m.status {
			t.Fatalf("status %d %d", m.status, std.StatusCode)
		}
		body, _, err := readBody(in, n, &m, &trailer, int(step)+1)
		sbody, sberr := io.ReadAll(std.Body)
		if m.status < 200 {
			return
		}
		if err == io.EOF && (sberr != nil || !bytes.Equal(body, sbody)) {
			t.Fatalf("body %q, net/http has %q, %v", body, sbody, sberr)
		}
	})
}

// FuzzChunked reads a chunked body whole and in pieces: both must agree, and with
// net/http where it is accepted.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"), byte(0))
	f.Add([]byte("3;a=\"b\"\r\nabc\r\n00\r\nX: y\r\nETag: z\r\n\r\nrest"), byte(2))
	f.Fuzz(func(t *testing.T, in []byte, step byte) {
		m := meta{framing: chunked}
		var t1, t2 exchange.Header
		whole, rest, err := readBody(in, 0, &m, &t1, len(in)+1)
		parts, rest2, err2 := readBody(in, 0, &m, &t2, int(step)+1)
		if (err == io.EOF) != (err2 == io.EOF) || t1.Len() != t2.Len() || err == io.EOF && (!bytes.Equal(whole, parts) || !bytes.Equal(rest, rest2)) {
			t.Fatalf("whole: %q, %q, %v; in parts: %q, %q, %v", whole, rest, err, parts, rest2, err2)
		}
		if err != io.EOF {
			return
		}
		head := "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		std, serr := http.ReadRequest(bufio.NewReader(strings.NewReader(head + string(in))))
		if serr != nil {
			t.Fatal(serr)
		}
		sbody, serr := io.ReadAll(std.Body)
		if serr != nil && !strings.Contains(serr.Error(), "trailer") || serr == nil && !bytes.Equal(whole, sbody) {
			t.Fatalf("%q, for net/http %q, %v", whole, sbody, serr)
		}
		again := appendChunkHead(nil, len(whole))
		again = append(append(again, whole...), '\r', '\n')
		if len(whole) == 0 {
			again = nil
		}
		again = appendChunkEnd(again, &t1)
		if b, _, err := readBody(again, 0, &m, &exchange.Header{}, 7); err != io.EOF || !bytes.Equal(b, whole) {
			t.Fatalf("made %q: %q, %v", again, b, err)
		}
	})
}
