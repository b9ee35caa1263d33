package pool

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"swell/internal/exchange"
)

func TestAnExchange(t *testing.T) {
	var seen *http.Request
	var body string
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen, body = r, string(b)
		w.Header().Set("X-Up", "1")
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(201)
		io.WriteString(w, "made")
		w.Header().Set("X-Sum", "7")
	})
	p, dials := newPool(t, Options{})
	for i := range 3 {
		x := request("POST", "/a%2Fb?x=1", exchange.Bytes([]byte("data")))
		x.Request.Length = 4
		x.Request.Header.AddName("X-A", "b")
		x.Request.Header.Set(exchange.TE, "trailers")
		if err := p.RoundTrip(x, addr); err != nil {
			t.Fatal(err)
		}
		got, err := readAll(x.Response.Body)
		if err != nil || got != "made" || x.Response.Status != 201 {
			t.Fatalf("%d %q %v", x.Response.Status, got, err)
		}
		if v, _ := x.Response.Header.Lookup("X-Up"); string(v) != "1" {
			t.Errorf("header %q", v)
		}
		if v, _ := x.Response.Trailer.Lookup("X-Sum"); string(v) != "7" {
			t.Errorf("trailer %q", v)
		}
		if seen.Method != "POST" || seen.RequestURI != "/a%2Fb?x=1" || seen.Host != "shop.example" || body != "data" ||
			seen.ContentLength != 4 || seen.Header.Get("X-A") != "b" || seen.Header.Get("Te") != "trailers" {
			t.Errorf("%d: the upstream got %v with %q", i, seen, body)
		}
		x.Reset()
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections", dials.Load())
	}
}

func TestBodiesOfAllSizes(t *testing.T) {
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	p, _ := newPool(t, Options{})
	for _, n := range []int{1, 100, 16384, 16385, 40 << 10, 64 << 10, 70 << 10, 300 << 10, 3 << 20} {
		for _, known := range []bool{true, false} {
			text := strings.Repeat("0123456789abcdef", n/16+1)[:n]
			x := request("POST", "/", exchange.Bytes([]byte(text)))
			if known {
				x.Request.Length = int64(n)
			}
			within(t, "an echo", func() {
				if err := p.RoundTrip(x, addr); err != nil {
					t.Error(n, err)
					return
				}
				if got, err := readAll(x.Response.Body); got != text || err != nil {
					t.Errorf("%d bytes: %d came back, %v", n, len(got), err)
				}
			})
			x.Reset()
		}
	}
}

func TestHeadAndNoContent(t *testing.T) {
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.WriteHeader(304)
		default:
			w.Header().Set("Content-Length", "1000")
		}
	})
	p, _ := newPool(t, Options{})
	for _, c := range []struct {
		method, target string
		status         int
		length         int64
	}{{"HEAD", "/", 200, 1000}, {"GET", "/204", 204, 0}, {"GET", "/304", 304, -1}} {
		x := request(c.method, c.target, nil)
		if err := p.RoundTrip(x, addr); err != nil {
			t.Fatal(err)
		}
		if r := &x.Response; r.Status != c.status || r.Length != c.length || r.Body != nil {
			t.Errorf("%s %s: status %d, length %d, body %v", c.method, c.target, r.Status, r.Length, r.Body)
		}
		x.Reset()
	}
}

func TestBothWaysAtOnce(t *testing.T) {
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		in := bufio.NewScanner(r.Body)
		for in.Scan() {
			fmt.Fprintf(w, "got %s\n", in.Text())
			w.(http.Flusher).Flush()
		}
		fmt.Fprintf(w, "bye %s\n", r.Trailer.Get("X-End"))
	})
	p, _ := newPool(t, Options{})
	body := newPipe()
	x := request("POST", "/", body)
	x.Request.Header.AddName("Trailer", "X-End")
	x.Codec = body
	defer x.Reset()
	within(t, "a conversation", func() {
		if err := p.RoundTrip(x, addr); err != nil {
			t.Error(err)
			return
		}
		for i := range 20 {
			body.write(fmt.Sprintf("line %d\n", i))
			b, err := x.Response.Body.Next()
			if want := fmt.Sprintf("got line %d\n", i); string(b) != want || err != nil {
				t.Errorf("%q, %v, want %q", b, err, want)
				return
			}
		}
		x.Request.Trailer.AddName("X-End", "now")
		body.end(io.EOF)
		if rest, err := readAll(x.Response.Body); rest != "bye now\n" || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
}

func TestAnEarlyAnswerEndsTheUpload(t *testing.T) {
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(413) })
	p, dials := newPool(t, Options{})
	for range 3 {
		body := newPipe()
		body.write("some")
		x := request("POST", "/", body)
		x.Codec = body
		within(t, "an early answer", func() {
			if err := p.RoundTrip(x, addr); err != nil {
				t.Error(err)
				return
			}
			_, err := readAll(x.Response.Body)
			if x.Response.Status != 413 || err != nil {
				t.Errorf("status %d, %v", x.Response.Status, err)
			}
			x.Reset()
		})
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections", dials.Load())
	}
}

func TestInterimAnswersAndExpect(t *testing.T) {
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(417)
			return
		}
		if r.URL.Path == "/hints" {
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(103)
		}
		b, _ := io.ReadAll(r.Body) // says 100 Continue
		fmt.Fprintf(w, "%s", b)
	})
	p, _ := newPool(t, Options{ExpectTime: patience})
	var informed []int
	for _, target := range []string{"/hints", "/"} {
		body := newPipe()
		body.write("data")
		body.end(io.EOF)
		x := request("POST", target, body)
		x.Codec, x.Request.Expect = body, target == "/"
		x.Inform = func(status int, h *exchange.Header) error {
			informed = append(informed, status)
			if v, _ := h.Lookup("Link"); status == 103 && string(v) != "</a.css>" {
				t.Errorf("link %q", v)
			}
			return nil
		}
		within(t, "an answer", func() {
			if err := p.RoundTrip(x, addr); err != nil {
				t.Error(err)
				return
			}
			if got, err := readAll(x.Response.Body); got != "data" || err != nil {
				t.Errorf("%q %v", got, err)
			}
		})
		x.Reset()
	}
	if fmt.Sprint(informed) != "[103 100]" {
		t.Errorf("informed %v", informed)
	}

	body := newPipe()
	x := request("POST", "/no", body)
	x.Codec, x.Request.Expect = body, true
	within(t, "a refused expectation", func() {
		if err := p.RoundTrip(x, addr); err != nil || x.Response.Status != 417 {
			t.Errorf("%v, status %d", err, x.Response.Status)
		}
		x.Reset()
	})
}

func TestTimeoutsAndLeavingResetTheStream(t *testing.T) {
	for _, c := range []struct {
		name, target string
		set          func(*exchange.Exchange)
		want         error
		phase        exchange.Phase
	}{
		{"deadline before the head", "/", func(x *exchange.Exchange) { x.Deadline = time.Now().Add(50 * time.Millisecond) }, exchange.ErrTimeout, exchange.PhaseWait},
		{"deadline in the body", "/body", func(x *exchange.Exchange) { x.Deadline = time.Now().Add(300 * time.Millisecond) }, exchange.ErrTimeout, exchange.PhaseBody},
		{"silence before the head", "/", func(x *exchange.Exchange) { x.IdleTimeout = 50 * time.Millisecond }, exchange.ErrTimeout, exchange.PhaseWait},
		{"silence in the body", "/body", func(x *exchange.Exchange) { x.IdleTimeout = 100 * time.Millisecond }, exchange.ErrTimeout, exchange.PhaseBody},
		{"the client leaves before the head", "/", func(x *exchange.Exchange) {
			time.AfterFunc(50*time.Millisecond, x.Leash.Leave)
		}, exchange.ErrGone, exchange.PhaseWait},
		{"the client leaves in the body", "/body", func(x *exchange.Exchange) {
			time.AfterFunc(300*time.Millisecond, x.Leash.Leave)
		}, exchange.ErrGone, exchange.PhaseBody},
	} {
		t.Run(c.name, func(t *testing.T) {
			ended := make(chan struct{}, 4)
			addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/ok" {
					return
				}
				if r.URL.Path == "/body" {
					io.WriteString(w, "some")
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
				ended <- struct{}{}
			})
			p, dials := newPool(t, Options{})
			if _, _, err := get(p, addr, "/ok"); err != nil {
				t.Fatal(err)
			}
			x := request("GET", c.target, nil)
			c.set(x)
			within(t, "the end", func() {
				err := p.RoundTrip(x, addr)
				if err == nil {
					_, err = readAll(x.Response.Body)
				}
				e := attempt(t, err)
				if !errors.Is(err, c.want) || e.Phase != c.phase && c.phase != exchange.PhaseBody || e.Safe {
					t.Errorf("%+v, want %v in %s", e, c.want, c.phase)
				}
				<-ended
			})
			x.Reset()
			if s, _, err := get(p, addr, "/ok"); err != nil || s != 200 || dials.Load() != 1 {
				t.Errorf("afterwards %d %v, %d connections", s, err, dials.Load())
			}
		})
	}
}

func TestTheStreamsAreBounded(t *testing.T) {
	var now, most atomic.Int64
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(5 * time.Millisecond)
		now.Add(-1)
	}, func(s *http.Server) { s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 7} })
	p, dials := newPool(t, Options{Conns: 2, DialTime: patience})
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() {
			for range 3 {
				if s, _, err := get(p, addr, "/"); err != nil || s != 200 {
					t.Error(s, err)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > 14 || most.Load() < 8 || dials.Load() != 2 {
		t.Errorf("%d at a time on %d connections", most.Load(), dials.Load())
	}
}

func TestWhoWaitsForAStreamIsBounded(t *testing.T) {
	hold := make(chan struct{})
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { <-hold },
		func(s *http.Server) { s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1} })
	p, _ := newPool(t, Options{Conns: 1, Pending: 1, DialTime: patience})
	var wg sync.WaitGroup
	wg.Go(func() { get(p, addr, "/") })
	h := p.host(addr)
	wait(t, "the stream is taken", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.conns) == 1 && len(h.waiters) == 0 })
	x := request("GET", "/", nil)
	wg.Go(func() {
		err := p.RoundTrip(x, addr)
		if e := attempt(t, err); !errors.Is(err, exchange.ErrGone) {
			t.Errorf("who left gets %+v", e)
		}
	})
	wait(t, "one waits", func() bool { return h.waiting.Load() == 1 })
	_, _, err := get(p, addr, "/")
	if e := attempt(t, err); !errors.Is(err, exchange.ErrBusy) || !e.Safe || e.Phase != exchange.PhaseDial {
		t.Errorf("too many waiting: %+v", e)
	}
	x.Leash.Leave()
	wait(t, "nobody waits", func() bool { return h.waiting.Load() == 0 })
	y := request("GET", "/", nil)
	y.Deadline = time.Now().Add(50 * time.Millisecond)
	err = p.RoundTrip(y, addr)
	if e := attempt(t, err); !errors.Is(err, exchange.ErrTimeout) || !e.Safe {
		t.Errorf("waited in vain: %+v", e)
	}
	close(hold)
	wg.Wait()
}

func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

func TestDialFailures(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	p, _ := newPool(t, Options{DialTime: 200 * time.Millisecond})
	_, _, err = get(p, dead, "/")
	if e := attempt(t, err); !e.Refused() || !e.Safe {
		t.Errorf("nobody listens: %+v", e)
	}
	h1 := httptest.NewServer(http.NotFoundHandler())
	defer h1.Close()
	_, _, err = get(p, strings.TrimPrefix(h1.URL, "http://"), "/")
	if e := attempt(t, err); e.Phase != exchange.PhaseDial || !e.Safe {
		t.Errorf("HTTP/1.1: %+v", e)
	}
	mute := script(t, func(q *peer) { q.linger() })
	_, _, err = get(p, mute, "/")
	if e := attempt(t, err); e.Phase != exchange.PhaseDial || !errors.Is(err, exchange.ErrTimeout) || !e.Safe {
		t.Errorf("no settings: %+v", e)
	}
}

func TestKeepAndClose(t *testing.T) {
	hold := make(chan struct{})
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			<-hold
			io.WriteString(w, "late")
		}
	})
	p, dials := newPool(t, Options{})
	x := request("GET", "/hold", nil)
	if err := p.RoundTrip(x, addr); err != nil {
		t.Fatal(err)
	}
	p.Keep(nil)
	if _, _, err := get(p, addr, "/"); err != nil {
		t.Fatal(err)
	}
	if dials.Load() != 2 {
		t.Errorf("%d connections", dials.Load())
	}
	p.Close()
	_, _, err := get(p, addr, "/")
	if e := attempt(t, err); !errors.Is(err, exchange.ErrPoolClosed) || !e.Safe {
		t.Errorf("after Close: %+v", e)
	}
	close(hold)
	if got, err := readAll(x.Response.Body); got != "late" || err != nil {
		t.Errorf("what was under way: %q %v", got, err)
	}
	x.Reset()
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	addr, _ := serve(t, nil2)
	p, dials := newPool(t, Options{IdleTime: 20 * time.Millisecond})
	get(p, addr, "/")
	wait(t, "it is closed", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.conns) == 0 })
	if s, _, err := get(p, addr, "/"); s != 200 || err != nil || dials.Load() != 2 {
		t.Errorf("%d %v %d", s, err, dials.Load())
	}
}

func nil2(w http.ResponseWriter, r *http.Request) {}

func TestTLS(t *testing.T) {
	var scheme string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		scheme = r.Proto
		w.Write(b)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	p, _ := newPool(t, Options{Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}}
		return d.DialContext(ctx, "tcp", addr)
	}})
	text := strings.Repeat("x", 500<<10)
	for range 5 {
		x := request("POST", "/", exchange.Bytes([]byte(text)))
		if err := p.RoundTrip(x, s.Listener.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(x.Response.Body); got != text || err != nil || scheme != "HTTP/2.0" {
			t.Errorf("%d bytes, %v, %s", len(got), err, scheme)
		}
		x.Reset()
	}
}

func TestManyAtATime(t *testing.T) {
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	})
	p, _ := newPool(t, Options{})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 40 {
				text := strings.Repeat(fmt.Sprintf("%d-%d ", i, j), 1+(i*j*37)%3000)
				x := request("POST", "/", exchange.Bytes([]byte(text)))
				if err := p.RoundTrip(x, addr); err != nil {
					t.Error(err)
					return
				}
				if got, err := readAll(x.Response.Body); got != text || err != nil {
					t.Errorf("%d of %d bytes, %v", len(got), len(text), err)
				}
				x.Reset()
			}
		})
	}
	within(t, "all", wg.Wait)
}

func TestAnUpstreamThatLeavesInOrderLosesNothing(t *testing.T) {
	var at atomic.Pointer[string]
	echo := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	}
	start := func() *http.Server {
		addr, srv := serve(t, echo)
		at.Store(&addr)
		return srv
	}
	old := start()
	p, dials := newPool(t, Options{Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", *at.Load())
	}})
	stop := make(chan struct{})
	var sent atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				x := request("POST", "/", exchange.Bytes([]byte("precious")))
				err := p.RoundTrip(x, "service")
				if err == nil {
					var got string
					if got, err = readAll(x.Response.Body); got != "precious" {
						t.Errorf("%q, %v", got, err)
					}
				}
				if err != nil {
					t.Error(err)
				}
				x.Reset()
				sent.Add(1)
			}
		})
	}
	for i := range 5 {
		wait(t, "some were sent", func() bool { return sent.Load() > int64(300*(i+1)) })
		next := start()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := old.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		old = next
	}
	close(stop)
	wg.Wait()
	t.Logf("%d were sent over %d connections", sent.Load(), dials.Load())
}
