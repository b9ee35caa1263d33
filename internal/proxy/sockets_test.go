package proxy

import (
	"errors"
	"net"
	"testing"

	"swell"
	"swell/internal/inherit"
)

// TestSocketsLiveOn hands all sockets of a book to another, which listens on the
// same ports while the first one still does.
func TestSocketsLiveOn(t *testing.T) {
	old := new(TCP)
	edges := []swell.Edge{{Caller: "a", Callee: "b"}, {Caller: "a", Callee: "c"}, {Caller: "b", Callee: "c"}}
	where := map[swell.Edge]string{}
	for _, e := range edges {
		addr, err := old.Address(e)
		if err != nil {
			t.Fatal(err)
		}
		where[e] = addr
	}
	var listeners []net.Listener
	for _, addr := range []string{"127.0.0.1:0", where[edges[0]], where[edges[1]]} {
		l, err := old.Listen("test", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		listeners = append(listeners, l)
	}
	udp, err := old.ListenPacket("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	gone, err := old.Listen("test", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	listeners[2].Close() // of an edge that is no more

	list, err := old.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 4 {
		t.Errorf("%d sockets, want 4: %v", len(list), list)
	}
	next := &TCP{Inherited: inherit.NewSockets(list)}
	for _, e := range []swell.Edge{edges[0], edges[2]} {
		if addr, err := next.Address(e); err != nil || addr != where[e] {
			t.Errorf("%v is at %s instead of %s: %v", e, addr, where[e], err)
		}
	}
	l, err := next.Listen("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Addr().String() != listeners[0].Addr().String() {
		t.Errorf("listens on %s instead of %s", l.Addr(), listeners[0].Addr())
	}
	again, err := next.ListenPacket("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.LocalAddr().String() != udp.LocalAddr().String() {
		t.Errorf("packets at %s instead of %s", again.LocalAddr(), udp.LocalAddr())
	}
	// The old one closes; the port lives on.
	listeners[0].Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = c.Close()
		}
		served <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if left := next.Inherited.Close(); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	if err := errors.Join(old.Close(), next.Close()); err != nil {
		t.Error(err)
	}
}
