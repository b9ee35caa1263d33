package h2_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"swell/internal/exchange"
	"swell/internal/proxy/h2"
)

// client is net/http's, by HTTP/2 in the clear.
func client(t testing.TB) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// origin is an HTTP/1.1 upstream by net/http.
func origin(t testing.TB, h http.HandlerFunc) string {
	o := httptest.NewServer(h)
	t.Cleanup(o.Close)
	return o.Listener.Addr().String()
}

func body(t testing.TB, r *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSameAsHTTP1 asks net/http's origin by HTTP/1.1 and through the server by
// HTTP/2, and wants the same.
func TestSameAsHTTP1(t *testing.T) {
	up := origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		w.Header().Set("X-Saw", fmt.Sprintf("%s %s %s %d %v %q %q", r.Method, r.RequestURI, r.Host, r.ContentLength, r.TransferEncoding, r.Header["X-A"], r.Header["Cookie"]))
		w.Header()["X-Many"] = []string{"1", "2", ""}
		w.Header().Set("Trailer", "X-Sum")
		switch {
		case err != nil:
			w.WriteHeader(500)
		case r.URL.Path == "/204":
			w.WriteHeader(204)
		case r.URL.Path == "/304":
			w.WriteHeader(304)
		case r.URL.Path == "/404":
			http.Error(w, "no", 404)
		case r.URL.Path == "/big":
			for range 300 {
				_, _ = w.Write(bytes.Repeat([]byte("big "), 1000))
			}
		default:
			_, _ = fmt.Fprintf(w, "%x", sha256.Sum256(b))
		}
		w.Header().Set("X-Sum", fmt.Sprint(len(b), r.Trailer))
	})
	addr := listen(t, relay(t, up), nil)
	two, one := client(t), &http.Client{}
	defer one.CloseIdleConnections()
	for _, c := range []struct {
		method, path string
		size         int
		chunked      bool
	}{
		{"GET", "/", 0, false}, {"HEAD", "/", 0, false}, {"GET", "/a%2Fb?x=%zz&y;z", 0, false},
		{"GET", "/204", 0, false}, {"GET", "/304", 0, false}, {"GET", "/404", 0, false}, {"HEAD", "/404", 0, false},
		{"GET", "/big", 0, false}, {"HEAD", "/big", 0, false}, {"DELETE", "/x", 0, false}, {"OPTIONS", "/x", 0, false},
		{"POST", "/", 1, false}, {"POST", "/", 5000, false}, {"PUT", "/", 3 << 20, false},
		{"POST", "/", 5000, true}, {"POST", "/big", 3 << 20, true}, {"PURGE", "/x", 10, true}, {"POST", "/", 0, false},
	} {
		ask := func(cl *http.Client, addr string) string {
			var rd io.Reader
			if c.size > 0 {
				rd = bytes.NewReader(bytes.Repeat([]byte("x"), c.size))
				if c.chunked {
					rd = io.MultiReader(rd)
				}
			}
			r, err := http.NewRequest(c.method, "http://"+addr+c.path, rd)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = "shop.example:99"
			r.Header["X-A"] = []string{"1", "2"}
			r.Header.Set("Cookie", "a=b; c=d")
			if c.chunked {
				r.Trailer = http.Header{"X-End": {"tail"}}
			}
			res, err := cl.Do(r)
			b := body(t, res, err)
			for _, h := range []string{"Date", "Connection", "Transfer-Encoding", "Trailer"} {
				res.Header.Del(h)
			}
			for n, v := range res.Trailer { // announced, and never sent
				if len(v) == 0 {
					delete(res.Trailer, n)
				}
			}
			if len(b) > 100 {
				b = fmt.Sprintf("%x", sha256.Sum256([]byte(b)))
			}
			return fmt.Sprint(res.StatusCode, res.Header, res.ContentLength, " ", b, res.Trailer)
		}
		a, b := ask(one, up), ask(two, addr)
		// net/http's HTTP/1.1 server knows no length of a large answer to HEAD, either.
		if a != b {
			t.Errorf("%s %s %d\nHTTP/1.1: %s\nHTTP/2:   %s", c.method, c.path, c.size, a, b)
		}
	}
}

func TestManyStreamsAtOnce(t *testing.T) {
	up := origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
		_, _ = fmt.Fprint(w, len(b))
	})
	addr := listen(t, relay(t, up), nil)
	cl := client(t)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 10 {
				n := (i * j * 997) % 200000
				r, err := cl.Post("http://"+addr+"/", "text/plain", io.MultiReader(strings.NewReader(strings.Repeat("x", n))))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(r.Body)
				_ = r.Body.Close()
				if err != nil || len(b) != n+len(fmt.Sprint(n)) {
					t.Errorf("%d bytes of %d: %v", len(b), n, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestFullDuplex has the answer begin before the request's body ended, each piece
// answered before the next one is sent.
func TestFullDuplex(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length, x.Response.Body = 200, -1, x.Request.Body
	}}
	addr := listen(t, s, nil)
	pr, pw := io.Pipe()
	res, err := client(t).Post("http://"+addr+"/", "x/y", pr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b := make([]byte, 100)
	for i := range 50 {
		msg := fmt.Sprintf("message %d", i)
		if _, err := io.WriteString(pw, msg); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(res.Body, b[:len(msg)]); err != nil || string(b[:len(msg)]) != msg {
			t.Fatal(string(b), err)
		}
	}
	_ = pw.Close()
	if n, err := res.Body.Read(b); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
}

func TestInterimAnswersAndTrailers(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		var h exchange.Header
		h.AddName("Link", "</a>; rel=preload")
		_ = x.Inform(103, &h)
		for {
			if _, err := x.Request.Body.Next(); err != nil {
				break
			}
		}
		end, _ := x.Request.Trailer.Lookup("x-end")
		x.Reply(200, "hello")
		x.Response.Length = -1
		x.Response.Trailer.AddName("X-Sum", "42 "+string(end))
	}}
	addr := listen(t, s, nil)
	var got []string
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			got = append(got, fmt.Sprint(code, h.Get("Link")))
			return nil
		},
	})
	r, _ := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/", io.MultiReader(strings.NewReader("body")))
	r.Trailer = http.Header{"X-End": {"tail"}}
	res, err := client(t).Do(r)
	if b := body(t, res, err); b != "hello\n" || res.Trailer.Get("X-Sum") != "42 tail" {
		t.Errorf("%q, trailer %v", b, res.Trailer)
	}
	if s := fmt.Sprint(got); !strings.Contains(s, "103</a>; rel=preload") {
		t.Error(s)
	}
}

// TestClientLeaves: the exchange knows at once, what is under way is cut.
func TestClientLeaves(t *testing.T) {
	began := make(chan bool, 1)
	left := make(chan error, 1)
	up := origin(t, func(w http.ResponseWriter, r *http.Request) {
		began <- true
		<-r.Context().Done()
	})
	s := relay(t, up)
	s.Done = func(x *exchange.Exchange, err error) {
		if !x.Gone() {
			err = errors.New("not gone")
		}
		left <- err
	}
	addr := listen(t, s, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-began
		cancel()
	}()
	r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/", nil)
	if _, err := client(t).Do(r); err == nil {
		t.Error("answered")
	}
	if err := <-left; !errors.Is(err, exchange.ErrGone) {
		t.Error(err)
	}
}

// TestBrokenBody: an answer that breaks off never looks whole.
func TestBrokenBody(t *testing.T) {
	up := origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	addr := listen(t, relay(t, up), nil)
	res, err := client(t).Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	var se http2.StreamError
	if string(b) != "part" || !errors.As(err, &se) || se.Code != http2.ErrCodeInternal {
		t.Errorf("%q, %v", b, err)
	}
}

func TestEarlyAnswer(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) { x.Reply(413, "too much") }}
	addr := listen(t, s, nil)
	pr, pw := io.Pipe()
	defer pw.Close()
	go func() {
		for {
			if _, err := pw.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	}()
	cl := client(t)
	res, err := cl.Post("http://"+addr+"/", "x/y", pr)
	if b := body(t, res, err); res.StatusCode != 413 || b != "too much\n" {
		t.Errorf("%d %q", res.StatusCode, b)
	}
	res, err = cl.Get("http://" + addr + "/") // the connection goes on
	if body(t, res, err); res.StatusCode != 413 {
		t.Error(res.StatusCode)
	}
}

func TestPanics(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) { panic("oh") }, Log: quiet()}
	addr := listen(t, s, nil)
	res, err := client(t).Get("http://" + addr + "/")
	if body(t, res, err); res.StatusCode != 500 {
		t.Error(res.StatusCode)
	}
}
