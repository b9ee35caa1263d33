package proxy

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"swell"
)

// TestLeave: an instance that is taken out by hand gets no more requests, and is
// waited for as long as it has one.
func TestLeave(t *testing.T) {
	b := newBed(t)
	began, end := make(chan bool, 100), make(chan bool)
	slow := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		began <- true
		<-end
		io.WriteString(w, "slow")
	})
	quick := newUpstream(t, nil)
	b.set(one(to("s", slow.addr)))
	c := client(t)
	answered := make(chan string, 1)
	go func() {
		r, err := c.Get("http://" + b.addr + "/")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer r.Body.Close()
		p, _ := io.ReadAll(r.Body)
		answered <- string(p)
	}()
	<-began
	b.set(one(to("s", slow.addr, quick.addr)))
	left := make(chan error, 1)
	go func() { left <- b.plane.Leave(t.Context(), "s-"+slow.addr) }()
	b.wait("it gets no more", func() bool {
		s := b.plane.table.Load().services["s"].service
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.endpoints) == 1
	})
	for range 10 {
		if status, body, _ := get(t, c, "http://"+b.addr+"/"); status != 200 || body != quick.addr {
			t.Fatalf("%d %q", status, body)
		}
	}
	select {
	case err := <-left:
		t.Fatalf("it has left with a request in flight: %v", err)
	default:
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := b.plane.Leave(ctx, "s-"+slow.addr); err == nil {
		t.Error("it has left with a request in flight")
	}
	close(end)
	if body := <-answered; body != "slow" {
		t.Error(body)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
	if err := b.plane.Leave(t.Context(), "nobody"); err != nil {
		t.Error(err)
	}
}

// TestHandOver: all listeners close at once, an idle connection is answered once more
// and closed, and what is in flight may take its time.
func TestHandOver(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Drain = 50 * time.Millisecond })
	began, finish := make(chan bool, 1), make(chan bool)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			began <- true
			<-finish
		}
		io.WriteString(w, "here")
	})
	edge := swell.Edge{Caller: "web", Callee: "s"}
	at, err := b.book.Address(edge)
	if err != nil {
		t.Fatal(err)
	}
	snap := one(to("s", u.addr))
	snap.Edges = []swell.EdgeAddr{{Edge: edge, Addr: at}}
	b.set(snap)
	idle, slow := client(t), client(t)
	if status, _, _ := get(t, idle, "http://"+b.addr+"/"); status != 200 {
		t.Fatal(status)
	}
	answered := make(chan string, 1)
	go func() {
		r, err := slow.Get("http://" + b.addr + "/slow")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer r.Body.Close()
		p, err := io.ReadAll(r.Body)
		if err != nil {
			answered <- err.Error()
			return
		}
		answered <- string(p)
	}()
	<-began
	b.plane.HandOver(time.Hour)
	ended := make(chan error, 1)
	go func() { ended <- b.end() }()
	for _, addr := range []string{b.addr, at} { // edges don't wait for the gateway
		b.wait("nobody listens on "+addr, func() bool {
			r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Get("http://" + addr + "/")
			if err == nil {
				r.Body.Close()
			}
			return err != nil
		})
	}
	r, err := idle.Get("http://" + b.addr + "/")
	if err != nil {
		t.Fatalf("an idle connection was closed under a request: %v", err)
	}
	r.Body.Close()
	if !r.Close {
		t.Error("the connection was not closed after it")
	}
	time.Sleep(100 * time.Millisecond) // longer than a drain may take otherwise
	select {
	case got := <-answered:
		t.Fatalf("the request in flight: %s", got)
	default:
	}
	close(finish)
	if got := <-answered; got != "here" {
		t.Error(got)
	}
	<-ended
}
