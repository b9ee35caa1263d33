package pool

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// quick is an upstream that does as little as it can for an answer of size bytes.
func quick(t testing.TB, size int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, nc)
			mu.Unlock()
			wg.Go(func() { answerQuickly(nc, size) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, nc := range open {
			_ = nc.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

func answerQuickly(nc net.Conn, size int) {
	defer nc.Close()
	r := bufio.NewReaderSize(nc, 64<<10)
	if _, err := r.Discard(len(frames.Preface)); err != nil {
		return
	}
	out := frames.AppendHead(nil, 6, frames.Settings, 0, 0)
	out = frames.AppendSetting(out, frames.MaxConcurrentStreams, 1000)
	out = frames.AppendWindowUpdate(out, 0, 1<<30)
	var fields []byte
	fields = frames.AppendStatus(fields, 200)
	fields = frames.AppendField(fields, exchange.ContentType, []byte("content-type"), []byte("text/plain"))
	fields = frames.AppendLength(fields, int64(size))
	body := make([]byte, frames.MinFrame)
	window := map[uint32]int{}
	var head [frames.HeadSize]byte
	for {
		if r.Buffered() == 0 {
			if _, err := nc.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		h := frames.ParseHead(head[:])
		if h.Type == frames.WindowUpdate && h.Stream != 0 {
			if n := window[h.Stream]; n > 0 {
				// A large answer goes on as its window opens.
				p, err := r.Peek(4)
				if err != nil {
					return
				}
				k := min(n, int(p[0])<<24|int(p[1])<<16|int(p[2])<<8|int(p[3]))
				out = pieces(out, h.Stream, k, n == k, body)
				window[h.Stream] = n - k
			}
		}
		if h.Type == frames.Headers {
			out = frames.AppendSection(out, h.Stream, size == 0, frames.MinFrame, fields)
			if size > 0 {
				k := min(size, firstWindow)
				out = pieces(out, h.Stream, k, k == size, body)
				if k < size {
					window[h.Stream] = size - k
				}
			}
		}
		if _, err := r.Discard(h.Length); err != nil {
			return
		}
	}
}

func pieces(out []byte, id uint32, n int, end bool, body []byte) []byte {
	for n > 0 {
		k := min(n, len(body))
		var flags uint8
		if n -= k; n == 0 && end {
			flags = frames.EndStream
		}
		out = append(frames.AppendHead(out, k, frames.Data, flags, id), body[:k]...)
	}
	return out
}

func ask(t testing.TB, p *Pool, addr string, x *exchange.Exchange) int {
	if err := p.RoundTrip(x, addr); err != nil {
		t.Fatal(err)
	}
	n := 0
	for b := x.Response.Body; b != nil; {
		piece, err := b.Next()
		n += len(piece)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	x.Response.Drop()
	return n
}

// headed gives an exchange the fields that a client sends.
func headed() *exchange.Exchange {
	x := request("GET", "/api/catalog/items?page=2", nil)
	for _, f := range [][2]string{{"user-agent", "bench/1.0 (linux; amd64)"}, {"accept", "application/json, text/plain, */*"},
		{"accept-encoding", "gzip, br"}, {"cookie", "session=0123456789abcdef"}, {"x-request-id", "7f3c"}} {
		x.Request.Header.AddName(f[0], f[1])
	}
	return x
}

func TestRoundTripsAllocateLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	addr := quick(t, 100)
	p, _ := newPool(t, Options{})
	x := headed()
	for range 100 {
		ask(t, p, addr, x)
	}
	if n := testing.AllocsPerRun(500, func() { ask(t, p, addr, x) }); n > 1 {
		t.Errorf("%v allocations for an exchange", n)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range []struct{ size, streams int }{{100, 1}, {100, 32}, {1 << 20, 1}, {1 << 20, 8}} {
		b.Run(fmt.Sprintf("%d bytes, %d at a time", c.size, c.streams), func(b *testing.B) {
			addr := quick(b, c.size)
			p, _ := newPool(b, Options{})
			ask(b, p, addr, headed())
			b.SetBytes(int64(c.size))
			b.SetParallelism(max(1, c.streams/runtime.GOMAXPROCS(0)))
			b.ReportAllocs()
			b.ResetTimer()
			if c.streams == 1 {
				x := headed()
				for range b.N {
					ask(b, p, addr, x)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				x := headed()
				for pb.Next() {
					ask(b, p, addr, x)
				}
			})
		})
	}
}
