package h3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"swell/internal/exchange"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

func TestRequests(t *testing.T) {
	type seen struct {
		method, target, host, caller, fields string
		major                                int
		length                               int64
		body, tls, codec                     bool
	}
	var mu sync.Mutex
	var last seen
	r := newRig(t, func(x *exchange.Exchange) {
		q := &x.Request
		mu.Lock()
		last = seen{q.Method, string(q.Target), string(q.Host), x.Caller, "", q.Major, q.Length, q.Body != nil, x.TLS != nil && x.TLS.Version == tls.VersionTLS13, x.Codec != nil && x.Leash != nil}
		for _, f := range q.Header.Fields() {
			if n := strings.ToLower(string(f.Name)); n != "user-agent" && n != "accept-encoding" {
				last.fields += n + "=" + string(f.Value) + ";"
			}
		}
		mu.Unlock()
		echo(x)
	})
	for _, c := range []struct {
		method, path string
		body         io.Reader
		header       []string
		want         seen
	}{
		{"GET", "/a%2Fb/../c?x=1&y=%zz", nil, nil, seen{target: "/a%2Fb/../c?x=1&y=%zz"}},
		{"HEAD", "/", nil, nil, seen{target: "/"}},
		{"DELETE", "/x", nil, []string{"X-A", "1"}, seen{target: "/x", fields: "x-a=1;"}},
		{"POST", "/p", strings.NewReader("abc"), nil, seen{target: "/p", length: 3, body: true}},
		{"POST", "/empty", http.NoBody, nil, seen{target: "/empty"}},
		{"PUT", "/u", struct{ io.Reader }{strings.NewReader("abc")}, nil, seen{target: "/u", length: -1, body: true}},
		{"GET", "/te", nil, []string{"Te", "trailers"}, seen{target: "/te", fields: "te=trailers;"}},
		{"PATCH", "/c", strings.NewReader("x"), []string{"Cookie", "a=1", "Cookie", "b=2"}, seen{target: "/c", length: 1, body: true, fields: "cookie=a=1; b=2;"}},
	} {
		rq, err := http.NewRequest(c.method, r.url("/"), c.body)
		if err != nil {
			t.Fatal(err)
		}
		rq.URL.Opaque = c.path
		if i := strings.IndexByte(c.path, '?'); i >= 0 {
			rq.URL.Opaque, rq.URL.RawQuery = c.path[:i], c.path[i+1:]
		}
		rq.Host = "shop.example:8443"
		for i := 0; i < len(c.header); i += 2 {
			rq.Header.Add(c.header[i], c.header[i+1])
		}
		rs, err := r.client.Do(rq)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		b, err := io.ReadAll(rs.Body)
		rs.Body.Close()
		if err != nil || rs.StatusCode != 200 {
			t.Errorf("%s %s: %d, %v", c.method, c.path, rs.StatusCode, err)
		}
		if c.want.length == 3 && string(b) != "abc" {
			t.Errorf("%s %s: body %q", c.method, c.path, b)
		}
		w := c.want
		w.method, w.host, w.caller, w.major, w.tls, w.codec = c.method, "shop.example:8443", "gateway", 3, true, true
		mu.Lock()
		got := last
		mu.Unlock()
		if c.path == "/empty" { // quic-go's client does not say that there is none
			got.length, got.body = 0, false
		}
		if got != w {
			t.Errorf("%s %s: %+v\nwant %+v", c.method, c.path, got, w)
		}
	}
}

func TestAnswers(t *testing.T) {
	r := newRig(t, func(x *exchange.Exchange) {
		a := &x.Response
		path := string(x.Request.Target)
		a.Status = 200
		switch path {
		case "/fields":
			a.Header.AddName("x-multi", "1")
			a.Header.AddName("X-Multi", "2")
			a.Header.AddName("Connection", "close")
			a.Header.AddName("date", "Mon, 01 Jan 2024 00:00:00 GMT")
			a.Header.AddName("content-type", "text/x")
			a.Length, a.Body = 3, exchange.Bytes([]byte("abc"))
		case "/unknown":
			a.Length, a.Body = -1, exchange.Bytes([]byte("<html>abc"))
		case "/none":
		case "/204":
			a.Status = 204
		case "/304":
			a.Status = 304
			a.Length = 77
		case "/head-length":
			a.Length = 1234
		case "/head-unknown":
			a.Length, a.Body = -1, exchange.Bytes([]byte("abc"))
		case "/no-answer":
			a.Status = 0
		case "/101":
			a.Status = 101
		case "/trailers":
			a.Length, a.Body = -1, &steps{next: func() ([]byte, error) {
				if x.Response.Trailer.Len() > 0 {
					return nil, io.EOF
				}
				x.Response.Trailer.AddName("grpc-status", "0")
				x.Response.Trailer.AddName("X-Sum", "7")
				return []byte("data"), nil
			}}
		case "/trailers-only":
			x.Response.Trailer.AddName("X-Sum", "8")
			a.Length, a.Body = -1, exchange.Bytes(nil)
		}
	})
	rs, body := r.do("GET", "/fields", nil)
	if body != "abc" || rs.ContentLength != 3 || strings.Join(rs.Header.Values("X-Multi"), "") != "12" || rs.Header.Get("Connection") != "" ||
		len(rs.Header.Values("Date")) != 1 || rs.Header.Get("Content-Type") != "text/x" || rs.ProtoMajor != 3 {
		t.Errorf("%+v %q", rs, body)
	}
	rs, body = r.do("GET", "/unknown", nil)
	if body != "<html>abc" || rs.Header.Get("Content-Type") != "" || rs.Header.Get("Date") == "" {
		t.Errorf("%+v %q", rs, body)
	}
	for path, want := range map[string][2]int64{"/none": {200, 0}, "/204": {204, -2}, "/304": {304, 77}, "/no-answer": {500, -2}, "/101": {500, -2}} {
		if rs, _ := r.do("GET", path, nil); int64(rs.StatusCode) != want[0] || want[1] != -2 && rs.ContentLength != want[1] {
			t.Errorf("%s: %d, length %d", path, rs.StatusCode, rs.ContentLength)
		}
	}
	if rs, _ := r.do("HEAD", "/head-length", nil); rs.ContentLength != 1234 {
		t.Errorf("%+v", rs)
	}
	if rs, body := r.do("HEAD", "/head-unknown", nil); rs.ContentLength != -1 || body != "" {
		t.Errorf("%+v %q", rs, body)
	}
	if rs, body := r.do("GET", "/trailers", nil); body != "data" || rs.Trailer.Get("Grpc-Status") != "0" || rs.Trailer.Get("X-Sum") != "7" {
		t.Errorf("%q, trailers %v", body, rs.Trailer)
	}
	if rs, body := r.do("GET", "/trailers-only", nil); body != "" || rs.Trailer.Get("X-Sum") != "8" {
		t.Errorf("%q, trailers %v", body, rs.Trailer)
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	r := newRig(t, echo)
	data := make([]byte, 8<<20)
	_, _ = rand.Read(data)
	want := sha256.Sum256(data)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			var body io.Reader = bytes.NewReader(data)
			if i == 1 {
				body = struct{ io.Reader }{body} // of unknown length
			}
			rs, err := r.client.Post(r.url("/"), "x/y", body)
			if err != nil {
				t.Error(err)
				return
			}
			defer rs.Body.Close()
			h := sha256.New()
			n, err := io.Copy(h, rs.Body)
			if err != nil || n != int64(len(data)) || !bytes.Equal(h.Sum(nil), want[:]) {
				t.Errorf("%d bytes of %d came back, %v", n, len(data), err)
			}
		})
	}
	wg.Wait()
}

func TestRequestTrailers(t *testing.T) {
	r := newRig(t, func(x *exchange.Exchange) {
		for {
			if _, err := x.Request.Body.Next(); err != nil {
				break
			}
		}
		v, _ := x.Request.Trailer.Lookup("x-sum")
		x.Reply(200, string(v))
	})
	rq, _ := http.NewRequest("POST", r.url("/"), struct{ io.Reader }{strings.NewReader("data")})
	rq.Trailer = http.Header{"X-Sum": {"42"}}
	rs, err := r.client.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	defer rs.Body.Close()
	if b, _ := io.ReadAll(rs.Body); string(b) != "42\n" {
		t.Errorf("trailer %q", b)
	}
}

// What comes is passed on at once, both ways, while both go on.
func TestStreaming(t *testing.T) {
	r := newRig(t, echo)
	in, out := io.Pipe()
	rq, _ := http.NewRequest("POST", r.url("/"), in)
	rs := make(chan *http.Response, 1)
	go func() {
		a, err := r.client.Do(rq)
		if err != nil {
			t.Error(err)
		}
		rs <- a
	}()
	if _, err := io.WriteString(out, "data: 0\n\n"); err != nil {
		t.Fatal(err)
	}
	a := <-rs
	if a == nil {
		return
	}
	defer a.Body.Close()
	b := make([]byte, 9)
	for i := range 10 {
		if _, err := io.ReadFull(a.Body, b); err != nil || string(b) != fmt.Sprintf("data: %d\n\n", i) {
			t.Fatalf("%q, %v", b, err)
		}
		if i < 9 {
			fmt.Fprintf(out, "data: %d\n\n", i+1)
		}
	}
	out.Close()
	if n, err := a.Body.Read(b); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

func TestInterimAnswers(t *testing.T) {
	r := newRig(t, func(x *exchange.Exchange) {
		var h exchange.Header
		h.AddName("Link", "</a.css>; rel=preload")
		if err := x.Inform(103, &h); err != nil {
			t.Error(err)
		}
		if x.Request.Body != nil {
			for {
				if _, err := x.Request.Body.Next(); err != nil {
					break
				}
			}
		}
		x.Reply(200, "ok")
	})
	var mu sync.Mutex
	var got []string
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(code, h.Get("Link")))
			return nil
		},
	})
	rq, _ := http.NewRequestWithContext(ctx, "POST", r.url("/"), strings.NewReader("x"))
	rq.Header.Set("Expect", "100-continue")
	rs, err := r.client.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	rs.Body.Close()
	mu.Lock()
	defer mu.Unlock()
	if rs.Header.Get("Link") != "" || len(got) == 0 || got[0] != "103</a.css>; rel=preload" {
		t.Errorf("interim %v, then %v", got, rs.Header)
	}
}

// A body that breaks off never looks like a whole one.
func TestBrokenAnswers(t *testing.T) {
	cut := errors.New("cut")
	r := newRig(t, func(x *exchange.Exchange) {
		n := 0
		size := 100
		if strings.HasPrefix(string(x.Request.Target), "/large") {
			size = 100_000
		}
		x.Response.Status = 200
		x.Response.Length = -1
		end := cut
		switch {
		case strings.HasSuffix(string(x.Request.Target), "/short"):
			x.Response.Length, end = int64(size)+1, io.EOF
		case strings.HasSuffix(string(x.Request.Target), "/long"):
			x.Response.Length, end = int64(size)-1, io.EOF
		}
		x.Response.Body = &steps{ready: true, next: func() ([]byte, error) {
			if n++; n > 1 {
				if strings.HasSuffix(string(x.Request.Target), "/panic") {
					panic("broken body")
				}
				return nil, end
			}
			return make([]byte, size), nil
		}}
	})
	want := []error{cut, exchange.ErrShort, exchange.ErrLong, cut, exchange.ErrShort, exchange.ErrLong}
	for i, path := range []string{"/small", "/small/short", "/small/long", "/large", "/large/short", "/large/long"} {
		rs, err := r.client.Get(r.url(path))
		if err == nil {
			_, err = io.ReadAll(rs.Body)
			rs.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: a broken answer looks whole", path)
		}
		if got := r.last(i + 1); !errors.Is(got, want[i]) {
			t.Errorf("%s ended with %v, want %v", path, got, want[i])
		}
	}
}

func TestPanics(t *testing.T) {
	r := newRig(t, func(x *exchange.Exchange) {
		if string(x.Request.Target) == "/body" {
			x.Response.Status, x.Response.Length = 200, -1
			x.Response.Body = &steps{next: func() ([]byte, error) { panic("body") }}
			return
		}
		panic("handle")
	})
	if rs, _ := r.do("GET", "/", nil); rs.StatusCode != 500 {
		t.Errorf("%d", rs.StatusCode)
	}
	rs, err := r.client.Get(r.url("/body"))
	if err == nil {
		_, err = io.ReadAll(rs.Body)
		rs.Body.Close()
	}
	if err == nil {
		t.Error("a broken answer looks whole")
	}
	if n := strings.Count(r.log.String(), "panic="); n != 2 {
		t.Errorf("%d panics logged: %s", n, r.log)
	}
	if rs, _ := r.do("GET", "/", nil); rs.StatusCode != 500 {
		t.Errorf("after it: %d", rs.StatusCode)
	}
}

// cutter notes that it was cut.
type cutter chan struct{}

func (c cutter) Cut() { close(c) }

// A client that leaves while its answer is awaited, or sent, is noticed at once.
func TestClientsThatLeave(t *testing.T) {
	begun := make(chan struct{}, 8)
	r := newRig(t, func(x *exchange.Exchange) {
		if string(x.Request.Target) == "/wait" {
			c := make(cutter)
			if !x.Leash.Hold(c) {
				t.Error("gone already")
			}
			begun <- struct{}{}
			select {
			case <-c:
			case <-time.After(patience):
				t.Error("nobody cut it")
			}
			x.Leash.Release()
			x.Reply(499, "")
			return
		}
		x.Response.Status, x.Response.Length = 200, -1
		n := 0
		x.Response.Body = &steps{next: func() ([]byte, error) {
			if n++; n == 1 {
				begun <- struct{}{}
			}
			return make([]byte, 10_000), nil
		}}
	})
	for i, path := range []string{"/wait", "/endless"} {
		ctx, cancel := context.WithCancel(context.Background())
		rq, _ := http.NewRequestWithContext(ctx, "GET", r.url(path), nil)
		left := make(chan struct{})
		go func() {
			defer close(left)
			rs, err := r.client.Do(rq)
			if err == nil {
				_, err = io.Copy(io.Discard, rs.Body)
				rs.Body.Close()
			}
			if err == nil {
				t.Error("an answer came")
			}
		}()
		<-begun
		cancel()
		<-left
		err := r.last(i + 1)
		if path == "/endless" && !errors.Is(err, exchange.ErrGone) {
			t.Errorf("%s ended with %v", path, err)
		}
	}
}

// A request whose body the client breaks off is not taken for a whole one.
func TestBrokenRequests(t *testing.T) {
	begun, got := make(chan struct{}), make(chan error, 1)
	r := newRig(t, func(x *exchange.Exchange) {
		close(begun)
		for {
			if _, err := x.Request.Body.Next(); err != nil {
				got <- err
				break
			}
		}
		x.Reply(400, "")
	})
	in, out := io.Pipe()
	rq, _ := http.NewRequest("POST", r.url("/"), in)
	rq.ContentLength = 10
	done := make(chan struct{})
	go func() {
		defer close(done)
		if rs, err := r.client.Do(rq); err == nil {
			rs.Body.Close()
		}
	}()
	if _, err := io.WriteString(out, "some"); err != nil {
		t.Fatal(err)
	}
	<-begun
	out.CloseWithError(errors.New("the disk broke"))
	select {
	case err := <-got:
		if err == nil || err == io.EOF {
			t.Errorf("the body ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("the body does not end")
	}
	<-done
}

// An upload is read no faster than it is taken, an early answer ends it, and both
// leave the connection as it was.
func TestBackPressureAndEarlyAnswers(t *testing.T) {
	release := make(chan struct{})
	r := newRig(t, func(x *exchange.Exchange) {
		if string(x.Request.Target) == "/early" {
			x.Reply(413, "too much")
			return
		}
		<-release
		echo(x)
		x.Response.Length = -1
	}, func(s *Server, _ *tls.Config) { s.Limits.Window, s.Limits.Buffer = 64<<10, 64<<10 })
	var sent atomic.Int64
	data := bytes.Repeat([]byte("x"), 4<<20)
	slow := make(chan string, 1)
	go func() {
		rs, err := r.client.Post(r.url("/slow"), "x/y", counted{bytes.NewReader(data), &sent})
		if err != nil {
			slow <- err.Error()
			return
		}
		b, err := io.ReadAll(rs.Body)
		rs.Body.Close()
		slow <- fmt.Sprint(len(b), err)
	}()
	r.wait("the upload begins", func() bool { return sent.Load() > 0 })
	time.Sleep(100 * time.Millisecond)
	if n := sent.Load(); n > 1<<20 {
		t.Errorf("%d bytes were sent that nobody took", n)
	}
	close(release)
	if got := <-slow; got != fmt.Sprint(len(data), nil) {
		t.Errorf("of %d bytes came back %s", len(data), got)
	}
	rs, err := r.client.Post(r.url("/early"), "x/y", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(rs.Body)
	rs.Body.Close()
	if rs.StatusCode != 413 || string(b) != "too much\n" {
		t.Errorf("%d %q", rs.StatusCode, b)
	}
}

type counted struct {
	r io.Reader
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// Interrupt ends a wait for the body, of which nothing is lost.
func TestInterrupt(t *testing.T) {
	waiting := make(chan struct{})
	r := newRig(t, func(x *exchange.Exchange) {
		p, err := x.Request.Body.Next()
		text := string(p)
		if err != nil {
			t.Error(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := x.Request.Body.Next()
			done <- err
		}()
		close(waiting)
		x.Codec.Interrupt()
		if err := <-done; err == nil || err == io.EOF {
			t.Errorf("an interrupted wait ended with %v", err)
		}
		x.Codec.Resume()
		for {
			p, err := x.Request.Body.Next()
			if err != nil {
				break
			}
			text += string(p)
		}
		x.Reply(200, text)
	})
	in, out := io.Pipe()
	go func() {
		io.WriteString(out, "one ")
		<-waiting
		time.Sleep(20 * time.Millisecond)
		io.WriteString(out, "two")
		out.Close()
	}()
	if _, body := r.do("POST", "/", in); body != "one two\n" {
		t.Errorf("%q", body)
	}
}

func TestManyStreams(t *testing.T) {
	r := newRig(t, func(x *exchange.Exchange) {
		x.Reply(200, string(x.Request.Target))
	}, func(s *Server, _ *tls.Config) { s.Limits.Streams = 20 })
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 10 {
				path := fmt.Sprintf("/%d/%d", i, j)
				rs, err := r.client.Get(r.url(path))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(rs.Body)
				rs.Body.Close()
				if string(b) != path+"\n" || err != nil {
					t.Errorf("%s: %q, %v", path, b, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestLimits(t *testing.T) {
	r := newRig(t, echo, func(s *Server, _ *tls.Config) {
		s.Limits = Limits{Head: 4096, Target: 100, Fields: 20}
	})
	many := []string{}
	for i := range 30 {
		many = append(many, fmt.Sprintf("X-%d", i), "1")
	}
	for _, c := range []struct {
		path   string
		header []string
		want   int
		slug   string
	}{
		{"/" + strings.Repeat("a", 98), nil, 200, ""},
		{"/" + strings.Repeat("a", 100), nil, 414, "target-length"},
		{"/", []string{"X-Long", strings.Repeat("a", 5000)}, 431, "head-length"},
		{"/", many, 431, "head-length"},
		{"/", []string{"X-Long", strings.Repeat("a", 50_000)}, 431, ""}, // quic-go says it by itself
	} {
		r.mu.Lock()
		r.refused = nil
		r.mu.Unlock()
		rs, _ := r.do("GET", c.path, nil, c.header...)
		if rs.StatusCode != c.want || r.refusals() != c.slug {
			t.Errorf("%.20s %d headers: %d and %q, want %d and %q", c.path, len(c.header)/2, rs.StatusCode, r.refusals(), c.want, c.slug)
		}
	}
}

// What quic-go lets through and nobody may forward is refused here.
func TestPlacing(t *testing.T) {
	limits := Limits{}.complete()
	for _, c := range []struct {
		method, proto, host, target string
		want                        *refusal
	}{
		{"GET", "HTTP/3.0", "a:1", "/x?y#", badTarget}, {"GET", "HTTP/3.0", "a", "/%zz", badTarget}, {"GET", "HTTP/3.0", "a", "/a b", badTarget},
		{"GET", "HTTP/3.0", "a", "/\u00e4", badTarget}, {"GET", "HTTP/3.0", "a", "x", badTarget}, {"GET", "HTTP/3.0", "a", "", badTarget}, {"GET", "HTTP/3.0", "a", "*", badTarget},
		{"GET", "HTTP/3.0", "a b", "/", badHost}, {"GET", "HTTP/3.0", "a:99999", "/", badHost}, {"GET", "HTTP/3.0", "", "/", badHost}, {"CONNECT", "HTTP/3.0", "a/b", "a/b", badHost},
		{strings.Repeat("A", 40), "HTTP/3.0", "a", "/", badMethod}, {"OPTIONS", "HTTP/3.0", "a", "*", nil}, {"CONNECT", "HTTP/3.0", "a:1", "a:1", nil},
		{"CONNECT", "websocket", "a", "/chat", nil}, {"CONNECT", "websocket", "a", "*", badTarget},
	} {
		s := newStream()
		s.c = &conn{limits: limits}
		s.r = &http.Request{Method: c.method, Proto: c.proto, Host: c.host, RequestURI: c.target, ContentLength: 0}
		if got := s.place(); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	r := newRig(t, echo, func(s *Server, _ *tls.Config) { s.Limits.PerAddress = 2 })
	r.do("GET", "/", nil)
	second, tr2 := r.newClient()
	rs, err := second.Get(r.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	rs.Body.Close()
	third, tr3 := r.newClient()
	defer tr3.Close()
	if rs, err := third.Get(r.url("/")); err == nil {
		rs.Body.Close()
		t.Error("a third connection of two was taken")
	}
	if got := r.refusals(); !strings.HasPrefix(got, "address-connections") {
		t.Errorf("refused %q", got)
	}
	tr2.Close()
	r.wait("there is room again", func() bool {
		c, tr := r.newClient()
		defer tr.Close()
		rs, err := c.Get(r.url("/"))
		if err == nil {
			rs.Body.Close()
		}
		return err == nil
	})
}

func TestSlowClients(t *testing.T) {
	r := newRig(t, func(x *exchange.Exchange) {
		if x.Request.Body != nil {
			for {
				if _, err := x.Request.Body.Next(); err != nil {
					break
				}
			}
			x.Reply(400, "")
			return
		}
		x.Response.Status, x.Response.Length = 200, -1
		x.Response.Body = &steps{ready: true, next: func() ([]byte, error) { return make([]byte, 64<<10), nil }}
	}, func(s *Server, _ *tls.Config) {
		s.Limits.ReadTime, s.Limits.WriteTime = 100*time.Millisecond, 100*time.Millisecond
	})
	in, out := io.Pipe()
	defer out.Close()
	rq, _ := http.NewRequest("POST", r.url("/"), in)
	rq.ContentLength = 10
	rs, err := r.client.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	rs.Body.Close()
	if rs.StatusCode != 408 {
		t.Errorf("%d", rs.StatusCode)
	}
	rs, err = r.client.Get(r.url("/")) // and nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	defer rs.Body.Close()
	if err := r.last(2); !errors.Is(err, exchange.ErrGone) {
		t.Errorf("ended with %v", err)
	}
	if got := r.refusals(); got != "slow-body,slow-reader" {
		t.Errorf("refused %q", got)
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	r := newRig(t, echo, func(s *Server, _ *tls.Config) { s.Limits.IdleTime = 50 * time.Millisecond })
	conn, err := quic.DialAddr(context.Background(), r.addr, &tls.Config{RootCAs: r.roots, ServerName: "localhost", NextProtos: []string{"h3"}}, &quic.Config{KeepAlivePeriod: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-conn.Context().Done():
	case <-time.After(patience):
		t.Error("it lives on")
	}
}

// What is under way when draining begins ends as it would; nothing new is begun.
func TestDrain(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	r := newRig(t, func(x *exchange.Exchange) {
		close(begun)
		<-release
		n := 0
		x.Response.Status, x.Response.Length = 200, 1<<20
		x.Response.Body = &steps{next: func() ([]byte, error) {
			if n++; n > 16 {
				return nil, io.EOF
			}
			return make([]byte, 64<<10), nil
		}}
	})
	got := make(chan string, 1)
	go func() {
		rs, err := r.client.Get(r.url("/"))
		if err != nil {
			got <- err.Error()
			return
		}
		n, err := io.Copy(io.Discard, rs.Body)
		rs.Body.Close()
		got <- fmt.Sprint(n, err)
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	other, tr := r.newClient()
	defer tr.Close()
	r.wait("new connections are refused", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		rq, _ := http.NewRequestWithContext(ctx, "GET", r.url("/"), nil)
		rs, err := other.Do(rq)
		if err == nil {
			rs.Body.Close()
		}
		return err != nil
	})
	close(release)
	if s := <-got; s != fmt.Sprint(1<<20, nil) {
		t.Errorf("the answer under way: %s", s)
	}
	r.tr.CloseIdleConnections()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDrainIsBounded(t *testing.T) {
	begun := make(chan struct{})
	r := newRig(t, func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length = 200, -1
		n := 0
		x.Response.Body = &steps{next: func() ([]byte, error) {
			if n++; n == 1 {
				close(begun)
				return []byte("x"), nil
			}
			for !x.Gone() {
				time.Sleep(time.Millisecond)
			}
			return nil, exchange.ErrGone
		}}
	}, func(s *Server, _ *tls.Config) { s.DrainFor = func() time.Duration { return 50 * time.Millisecond } })
	rs, err := r.client.Get(r.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer rs.Body.Close()
	<-begun
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(rs.Body); err == nil {
		t.Error("a cut answer looks whole")
	}
}

// A new certificate is shown to the next connection; the old ones go on.
func TestCertificatesChange(t *testing.T) {
	second, roots2, _ := certificate(t, "second")
	var now atomic.Pointer[tls.Config]
	r := newRig(t, echo, func(_ *Server, c *tls.Config) {
		now.Store(&tls.Config{Certificates: c.Certificates})
		c.Certificates = nil
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return now.Load(), nil }
	})
	name := func(c *http.Client) string {
		rs, err := c.Get(r.url("/"))
		if err != nil {
			return err.Error()
		}
		rs.Body.Close()
		return rs.TLS.PeerCertificates[0].Subject.CommonName
	}
	if got := name(r.client); got != "first" {
		t.Fatal(got)
	}
	now.Store(&tls.Config{Certificates: []tls.Certificate{second}})
	if got := name(r.client); got != "first" {
		t.Errorf("the old connection: %s", got)
	}
	c, tr := r.newClient()
	defer tr.Close()
	tr.TLSClientConfig.RootCAs = roots2
	if got := name(c); got != "second" {
		t.Errorf("a new connection: %s", got)
	}
}

func TestEarlyDataIsNotTaken(t *testing.T) {
	r := newRig(t, echo)
	config := &tls.Config{RootCAs: r.roots, ServerName: "localhost", NextProtos: []string{"h3"}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for i := range 3 {
		conn, err := quic.DialAddrEarly(context.Background(), r.addr, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-conn.HandshakeComplete()
		if conn.ConnectionState().Used0RTT {
			t.Errorf("connection %d used 0-RTT", i)
		}
		_ = conn.CloseWithError(0, "")
	}
}

// tunnelled is the upstream's side of a tunnel, which echoes.
func tunnelled(x *exchange.Exchange) {
	near, far := net.Pipe()
	go func() {
		b := make([]byte, 1024)
		for {
			n, err := far.Read(b)
			if err != nil {
				far.Close()
				return
			}
			if _, err := far.Write(bytes.ToUpper(b[:n])); err != nil {
				return
			}
		}
	}()
	x.Response.Status, x.Response.Tunnel = 101, near
	if x.Request.Upgrade == nil {
		x.Response.Status = 200
	}
}

func TestTunnels(t *testing.T) {
	var upgrade, target, method atomic.Value
	r := newRig(t, func(x *exchange.Exchange) {
		upgrade.Store(string(x.Request.Upgrade))
		target.Store(string(x.Request.Target) + " " + string(x.Request.Host))
		method.Store(x.Request.Method)
		tunnelled(x)
	})
	conn, err := quic.DialAddr(context.Background(), r.addr, &tls.Config{RootCAs: r.roots, ServerName: "localhost", NextProtos: []string{"h3"}}, &quic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	cc := (&http3.Transport{}).NewClientConn(conn)
	select {
	case <-cc.ReceivedSettings():
	case <-time.After(patience):
		t.Fatal("no settings")
	}
	if !cc.Settings().EnableExtendedConnect {
		t.Error("extended CONNECT is not offered")
	}
	for i, c := range []struct{ proto, url, upgrade, target, method string }{
		{"websocket", "https://shop.example/chat?x=1", "websocket", "/chat?x=1 shop.example", "GET"},
		{"", "https://db.example:5432", "", "/ db.example:5432", "CONNECT"},
	} {
		st, err := cc.OpenRequestStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		rq, _ := http.NewRequest("CONNECT", c.url, nil)
		if c.proto != "" {
			rq.Proto = c.proto
		}
		if err := st.SendRequestHeader(rq); err != nil {
			t.Fatal(err)
		}
		rs, err := st.ReadResponse()
		if err != nil {
			t.Fatal(err)
		}
		if rs.StatusCode != 200 || upgrade.Load() != c.upgrade || target.Load() != c.target || method.Load() != c.method {
			t.Errorf("%d: upgrade %q, %s of %s", rs.StatusCode, upgrade.Load(), method.Load(), target.Load())
		}
		b := make([]byte, 5)
		for range 3 {
			if _, err := st.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(st, b); err != nil || string(b) != "HELLO" {
				t.Fatalf("%q, %v", b, err)
			}
		}
		st.Close()
		if n, err := st.Read(b); n != 0 || err == nil {
			t.Errorf("after the end: %d, %v", n, err)
		}
		_ = r.last(i + 1)
	}
}

func TestOptionsStar(t *testing.T) {
	r := newRig(t, func(*exchange.Exchange) { t.Error("it was forwarded") })
	rq, _ := http.NewRequest("OPTIONS", r.url("/"), nil)
	rq.URL.Opaque = "*"
	rs, err := r.client.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	rs.Body.Close()
	if rs.StatusCode != 200 || rs.Header.Get("Allow") == "" {
		t.Errorf("%d %v", rs.StatusCode, rs.Header)
	}
}

func TestValidHosts(t *testing.T) {
	for h, want := range map[string]bool{
		"a": true, "a.b:80": true, "a_b~c": true, "127.0.0.1:1": true, "[::1]": true, "[::1]:443": true, "a:": true,
		"": false, ":80": false, "a:b": false, "a:99999": false, "a b": false, "a/b": false, "a@b": false, "[::1": false, "[::1]x": false, "[1.2.3.4]": false,
		"[fe80::1%25eth0]": false, "a:1:2": false, strings.Repeat("a", 300): false, "ä": false, "a:000080": false,
	} {
		if got := validHost(h); got != want {
			t.Errorf("%q: %v", h, got)
		}
	}
}

func FuzzTargets(f *testing.F) {
	f.Add("/a%2F?x#", "h:80")
	f.Fuzz(func(t *testing.T, target, host string) {
		if validTarget(target) && strings.ContainsAny(target, " #\r\n\x00\x7f") {
			t.Errorf("%q is taken", target)
		}
		if validHost(host) && strings.ContainsAny(host, " /?#@\\\r\n\x00") {
			t.Errorf("%q is taken", host)
		}
	})
}

// BenchmarkGet is a small request and its answer, client included.
func BenchmarkGet(b *testing.B) {
	r := newRig(b, func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length, x.Response.Body = 200, 55, exchange.Bytes(make([]byte, 55))
	})
	r.do("GET", "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		rs, err := r.client.Get(r.url("/"))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, rs.Body)
		rs.Body.Close()
	}
}
