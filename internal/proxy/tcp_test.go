package proxy

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"swell"
)

// tcpServer serves each connection with handle, until the test ends.
func tcpServer(t testing.TB, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// tcpOnly is a snapshot of one TCP service behind one listener.
func tcpOnly(u swell.Upstream, listen string) *swell.Snapshot {
	u.Protocol = swell.TCP
	return &swell.Snapshot{App: "t", Gateway: swell.Gateway{TCP: []swell.TCPRoute{{Listen: listen, Service: u.Service}}}, Upstreams: []swell.Upstream{u}}
}

func dialTCP(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

func TestTCPListener(t *testing.T) {
	echo := tcpServer(t, func(c *net.TCPConn) {
		fmt.Fprint(c, "220 hello\r\n") // the server speaks first
		b, _ := io.ReadAll(c)          // until the client is done
		_, _ = c.Write(b)
	})
	b := newBed(t)
	listen := freeAddr(t)
	b.set(tcpOnly(to("db", echo), listen))
	c := dialTCP(t, listen)
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || line != "220 hello\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	data := make([]byte, 4<<20)
	_, _ = rand.Read(data)
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil { // half close: the answer comes after it
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes of %d came back, %v", len(got), len(data), err)
	}
	b.wait("the connection is counted", func() bool {
		for _, s := range b.hub.Services() {
			if s.Service == "db" && s.Inflight == 0 {
				return true
			}
		}
		return false
	})
}

func TestTCPFailsOverAndResets(t *testing.T) {
	dead := freeAddr(t)
	alive := tcpServer(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	b := newBed(t)
	listen := freeAddr(t)
	b.set(tcpOnly(to("db", dead, alive), listen))
	for range 20 {
		c := dialTCP(t, listen)
		fmt.Fprint(c, "ping")
		got := make([]byte, 4)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "ping" {
			t.Fatalf("%q, %v", got, err)
		}
		c.Close()
	}
	gone := to("db", dead)
	gone.Hold.Timeout = 300 * time.Millisecond
	b.set(tcpOnly(gone, listen))
	c := dialTCP(t, listen)
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("read %d, %v from a service that isn't there", n, err)
	}
}

func TestTCPEdgeAndIdle(t *testing.T) {
	echo := tcpServer(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	b := newBed(t)
	edge := swell.Edge{Caller: "web", Callee: "db"}
	at, err := b.book.Address(edge)
	if err != nil {
		t.Fatal(err)
	}
	u := to("db", echo)
	u.Protocol = swell.TCP
	u.Use = []swell.Use{{Name: "timeout", Options: []byte(`{"idle":"300ms"}`)}}
	b.set(&swell.Snapshot{App: "t", Edges: []swell.EdgeAddr{{Edge: edge, Addr: at}}, Upstreams: []swell.Upstream{u}})
	c := dialTCP(t, at)
	for range 5 {
		fmt.Fprint(c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // less than the idle time
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatal("a silent connection goes on")
	}
}

func TestTCPSurvivesReloadsAndDrains(t *testing.T) {
	echo := tcpServer(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	b := newBed(t)
	listen := freeAddr(t)
	b.set(tcpOnly(to("db", echo), listen))
	c := dialTCP(t, listen)
	ping := func() {
		t.Helper()
		fmt.Fprint(c, "ping")
		got := make([]byte, 4)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "ping" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	ping()
	for i := range 20 {
		u := to("db", echo)
		u.Use = []swell.Use{{Name: "timeout", Options: []byte(fmt.Sprintf(`{"request":"%dm"}`, i+1))}}
		u.Pool.Connections = 10 + i // another transport each time
		b.set(tcpOnly(u, listen))
		ping()
	}
	ended := make(chan error, 1)
	go func() { ended <- b.end() }()
	b.wait("nobody is accepted any more", func() bool {
		c, err := net.DialTimeout("tcp", listen, time.Second)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	ping() // what is under way goes on
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil && !strings.Contains(err.Error(), "canceled") {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the drain does not end with its last connection")
	}
}
