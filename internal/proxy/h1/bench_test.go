package h1

import (
	"io"
	"net"
	"runtime"
	"testing"

	"swell/internal/exchange"
)

const (
	benchRequest = "GET /api/catalog/items?page=2 HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: bench/1.0 (linux; amd64)\r\n" +
		"Accept: application/json, text/plain, */*\r\nAccept-Encoding: gzip, br\r\nCookie: session=0123456789abcdef\r\nX-Request-Id: 7f3c\r\n\r\n"
	benchAnswer = "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Type: application/json\r\n" +
		"Cache-Control: no-store\r\nContent-Length: 55\r\n\r\n0123456789012345678901234567890123456789012345678901234"
)

func BenchmarkParseRequest(b *testing.B) {
	in := []byte(benchRequest)
	var q exchange.Request
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		var m meta
		q.Header.Reset()
		if n, bad := request(in, &q, &m, &testLimits); n != len(in) {
			b.Fatal(n, bad)
		}
	}
}

func BenchmarkParseAnswer(b *testing.B) {
	in := []byte(benchAnswer)
	var h exchange.Header
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		var m meta
		h.Reset()
		if n, bad := answerHead(in, &h, &m, 128, false); n != len(in)-55 {
			b.Fatal(n, bad)
		}
	}
}

// bare is an upstream that answers each read with one write, and a client that
// does one write and reads as much as the answer is long.
func bare(t testing.TB) (ask func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				b, out := make([]byte, 4096), []byte(benchAnswer)
				for {
					if _, err := nc.Read(b); err != nil {
						return
					}
					if _, err := nc.Write(out); err != nil {
						return
					}
				}
			}()
		}
	}()
	r := newRig(t, l.Addr().String(), func(r *rig, _ *PoolOptions) { r.server.Done = nil })
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	in, out := make([]byte, len(benchAnswer)), []byte(benchRequest)
	return func() {
		if _, err := nc.Write(out); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, in); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkRelay(b *testing.B) {
	ask := bare(b)
	ask()
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
}

// TestRelayAllocates nothing for an exchange in the steady state. Two passes of
// the garbage collector may empty the pools now and then.
func TestRelayAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget at random")
	}
	ask := bare(t)
	for range 100 {
		ask()
	}
	runtime.GC()
	if n := testing.AllocsPerRun(2000, ask); n > 1 {
		t.Errorf("%v allocations for an exchange", n)
	}
}

// TestIdleConnections measures what a connection costs between exchanges, both
// ends' sockets and goroutine included.
func TestIdleConnections(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector costs memory of its own")
	}
	const n = 500
	up := origin(t, okAll)
	r := newRig(t, up)
	var before, after runtime.MemStats
	measure := func(m *runtime.MemStats) {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(m)
	}
	conns := make([]net.Conn, 0, n)
	measure(&before)
	b := make([]byte, 4096)
	for range n {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, nc)
		if _, err := io.WriteString(nc, get); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	measure(&after)
	heap := (int64(after.HeapInuse) - int64(before.HeapInuse)) / n
	stack := (int64(after.StackInuse) - int64(before.StackInuse)) / n
	t.Logf("%d bytes of heap and %d of stack for a connection", heap, stack)
	if heap+stack > 16<<10 {
		t.Errorf("%d bytes for an idle connection", heap+stack)
	}
	for _, nc := range conns {
		_ = nc.Close()
	}
}
