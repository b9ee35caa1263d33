package h2_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"swell/internal/proxy/h2"
)

const benchAnswer = "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Type: application/json\r\n" +
	"Cache-Control: no-store\r\nContent-Length: 55\r\n\r\n0123456789012345678901234567890123456789012345678901234"

// bare is an upstream that answers each read with one write.
func bare(t testing.TB, answer string) (addr string) {
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
				b, out := make([]byte, 4096), []byte(answer)
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
	return l.Addr().String()
}

// load asks for n streams at a time, and waits for their ends.
func load(t testing.TB, s *h2.Server, n int) (ask func()) {
	nc, err := net.Dial("tcp", listen(t, s, nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	head := func() []byte {
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "shop.example:8080"}, {":path", "/api/catalog/items?page=2"},
			{"user-agent", "bench/1.0 (linux; amd64)"}, {"accept", "application/json, text/plain, */*"}, {"cookie", "session=0123456789abcdef"}} {
			_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		return []byte(block.String())
	}
	fr := http2.NewFramer(nc, nil)
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	_ = fr.WriteWindowUpdate(0, 1<<31-1-65535)
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head(), EndStream: true, EndHeaders: true})
	h := head() // all of it in the table now
	var one []byte
	one = append(one, 0, 0, byte(len(h)), byte(http2.FrameHeaders), byte(http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream), 0, 0, 0, 0)
	one = append(one, h...)
	var out []byte
	in := bufio.NewReaderSize(nc, 64<<10)
	id, taken := uint32(1), 0
	var b [9]byte
	await := func(n int) {
		for n > 0 {
			if _, err := io.ReadFull(in, b[:]); err != nil {
				t.Fatal(err)
			}
			size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
			if ty := http2.FrameType(b[3]); ty == http2.FrameData || ty == http2.FrameHeaders {
				taken += size
				if b[4]&1 != 0 {
					n--
				}
			} else if ty == http2.FrameRSTStream || ty == http2.FrameGoAway {
				t.Fatal(ty)
			}
			_, _ = in.Discard(size)
		}
		if taken > 1<<29 {
			_ = fr.WriteWindowUpdate(0, uint32(taken))
			taken = 0
		}
	}
	await(1)
	return func() {
		out = out[:0]
		for range n {
			id += 2
			i := len(out)
			out = append(out, one...)
			binary.BigEndian.PutUint32(out[i+5:], id)
		}
		if _, err := nc.Write(out); err != nil {
			t.Fatal(err)
		}
		await(n)
	}
}

// BenchmarkRelay is 16 streams at a time, in by HTTP/2 and out by HTTP/1.1.
func BenchmarkRelay(b *testing.B) {
	ask := load(b, relay(b, bare(b, benchAnswer)), 16)
	ask()
	b.ReportAllocs()
	for i := 0; i < b.N; i += 16 {
		ask()
	}
}

func BenchmarkRelayAlone(b *testing.B) {
	ask := load(b, relay(b, bare(b, benchAnswer)), 1)
	ask()
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
}

func BenchmarkRelayMiB(b *testing.B) {
	ask := load(b, relay(b, bare(b, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"+strings.Repeat("x", 1<<20))), 4)
	b.SetBytes(1 << 20)
	for i := 0; i < b.N; i += 4 {
		ask()
	}
}

// TestRelayAllocates nothing for an exchange in the steady state. Two passes of
// the garbage collector may empty the pools now and then.
func TestRelayAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget at random")
	}
	ask := load(t, relay(t, bare(t, benchAnswer)), 16)
	for range 100 {
		ask()
	}
	runtime.GC()
	if n := testing.AllocsPerRun(500, ask); n > 4 {
		t.Errorf("%v allocations for 16 exchanges", n)
	}
}

// TestIdleConnections measures what a connection costs between exchanges, both
// ends' sockets and goroutines included.
func TestIdleConnections(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector costs memory of its own")
	}
	const n = 300
	s := relay(t, bare(t, benchAnswer))
	addr := listen(t, s, nil)
	var before, after runtime.MemStats
	measure := func(m *runtime.MemStats) {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(m)
	}
	var hello bytes.Buffer
	hello.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&hello, nil)
	_ = fr.WriteSettings()
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82, 0x84, 0x86, 0x41, 1, 'a'}, EndStream: true, EndHeaders: true})
	measure(&before)
	b := make([]byte, 4096)
	conns := make([]net.Conn, 0, n)
	for range n {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, nc)
		if _, err := nc.Write(hello.Bytes()); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < 120; {
			k, err := nc.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got += k
		}
	}
	measure(&after)
	heap := (int64(after.HeapInuse) - int64(before.HeapInuse)) / n
	stack := (int64(after.StackInuse) - int64(before.StackInuse)) / n
	t.Logf("%d bytes of heap and %d of stack for a connection", heap, stack)
	if heap+stack > 20<<10 {
		t.Errorf("%d bytes for an idle connection", heap+stack)
	}
	for _, nc := range conns {
		_ = nc.Close()
	}
}
