package corpus

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"swell/internal/exchange"
	"swell/internal/proxy/h1"
)

// mostRefused bounds the legitimate messages that are refused: as many as the best
// of the proxies refuses that stand beside this one.
const mostRefused = 26

// own is this module's proxy before an origin.
type own struct {
	addr   string
	stop   func()
	origin *origin
}

func newOwn() (*own, error) {
	o, err := newOrigin("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		o.close()
		return nil, err
	}
	pool, up := h1.NewPool(h1.PoolOptions{}), o.l.Addr().String()
	s := &h1.Server{
		Log:    slog.New(slog.DiscardHandler),
		Limits: h1.Limits{HalfTime: time.Minute}, // the client ends its half as soon as it has sent all
		Handle: func(x *exchange.Exchange) {
			if err := pool.RoundTrip(x, up); err != nil {
				x.Reply(exchange.Status(err), err.Error())
			}
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	return &own{addr: l.Addr().String(), origin: o, stop: func() {
		cancel()
		<-ended
		pool.Close()
		o.close()
	}}, nil
}

// result is what became of a message.
type result struct {
	message
	status  int // of the first final answer; 0 if there was none
	answers int // of the origin's that came to the client
	records []*record
	hazards []string
	err     error
}

// passed reports that something was forwarded whole.
func (r *result) passed() bool {
	return slices.ContainsFunc(r.records, func(rec *record) bool { return rec.complete })
}

// judge finds the hazards.
func (r *result) judge() {
	complete := 0
	var got []string
	for _, rec := range r.records {
		r.hazards = append(r.hazards, rec.hazards...)
		if rec.complete {
			complete++
			got = append(got, rec.String())
		}
	}
	if complete > r.answers {
		r.hazards = append(r.hazards, fmt.Sprintf("the origin saw %d requests, the client %d answers", complete, r.answers))
	}
	if r.want != nil && len(got) > 0 && !slices.Equal(got, r.want) {
		r.hazards = append(r.hazards, fmt.Sprintf("it was understood as %.300q, and means %.300q", got, r.want))
	}
}

// answered reads what the client got.
func (r *result) answered(b []byte) {
	s := string(b)
	r.answers = strings.Count(strings.ToLower(s), strings.ToLower(mark))
	for strings.HasPrefix(s, "HTTP/1.1 1") {
		_, s, _ = strings.Cut(s, "\r\n\r\n")
	}
	if len(s) > 12 && strings.HasPrefix(s, "HTTP/1.") {
		_, _ = fmt.Sscanf(s[9:12], "%d", &r.status)
	}
}

// run sends a message through a proxy of its own.
func run(m message) (r result) {
	r.message = m
	p, err := newOwn()
	if err != nil {
		r.err = err
		return r
	}
	b, err := talk(p.addr, m.raw)
	p.stop()
	r.err = err
	r.answered(b)
	r.records = p.origin.take()
	r.judge()
	return r
}

// talk sends all, ends its half, and reads until the other side ends.
func talk(addr, raw string) ([]byte, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if _, err := io.WriteString(nc, raw); err == nil {
			_ = nc.(*net.TCPConn).CloseWrite()
		}
	}()
	b, err := io.ReadAll(nc)
	_ = nc.Close()
	<-sent
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return b, fmt.Errorf("the connection did not end: %w", err)
	}
	return b, nil
}

// results is what becomes of the corpus at this module's proxy.
var results = sync.OnceValue(func() []result {
	var none quiet
	messages := all(&none)
	results := make([]result, len(messages))
	var wg sync.WaitGroup
	work := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range work {
				results[i] = run(messages[i])
			}
		})
	}
	for i := range messages {
		work <- i
	}
	close(work)
	wg.Wait()
	return results
})

// quiet is who is told of mistakes in the corpus where nobody is to be.
type quiet struct{ testing.TB }

func (*quiet) Helper()               {}
func (*quiet) Errorf(string, ...any) {}

// TestCorpus sends all messages through this module's proxy.
func TestCorpus(t *testing.T) {
	messages, results := all(t), results()
	legits, refused := 0, []string(nil)
	for i := range results {
		r := &results[i]
		name := r.family + ": " + r.name
		if r.err != nil {
			t.Errorf("%s: %v", name, r.err)
		}
		for _, h := range r.hazards {
			t.Errorf("%s: HAZARD: %s", name, h)
		}
		switch {
		case r.tier == legit:
			legits++
			if r.status/100 != 2 {
				refused = append(refused, fmt.Sprintf("%s: %d", name, r.status))
			}
		case r.tier == refuse && r.passed():
			t.Errorf("%s: it was forwarded as %.300q", name, r.records[0].raw)
		}
	}
	t.Logf("%d messages, of which %d are legitimate; %d of these are refused:\n%s", len(messages), legits, len(refused), strings.Join(refused, "\n"))
	if len(messages) < 500 || legits < 100 {
		t.Error("the corpus has become too small")
	}
	if len(refused) > mostRefused {
		t.Errorf("%d legitimate messages are refused", len(refused))
	}
}

var (
	proxyAddr  = flag.String("proxy", "", "judge the proxy that listens at this host:port")
	originAddr = flag.String("origin", "", "and forwards to this one, where the origin is to listen")
)

// TestPeer counts what another proxy does with the corpus; it asserts nothing, and
// is run by hand.
func TestPeer(t *testing.T) {
	if *proxyAddr == "" {
		t.Skip("no -proxy: it is run by hand, to see how others do")
	}
	o, err := newOrigin(*originAddr)
	if err != nil {
		t.Fatal(err)
	}
	messages := all(t)
	type count struct{ n, hazards, passed, refused int }
	families := map[string]*count{}
	var sum count
	for _, m := range messages {
		o.take()
		r := result{message: m}
		b, err := listen(*proxyAddr, m.raw)
		if err != nil {
			t.Fatalf("%s: %s: %v", m.family, m.name, err)
		}
		r.answered(b)
		r.records = o.take()
		r.judge()
		f := families[m.family]
		if f == nil {
			f = new(count)
			families[m.family] = f
		}
		for _, c := range []*count{f, &sum} {
			c.n++
			if len(r.hazards) > 0 {
				c.hazards++
			} else if m.tier == refuse && r.passed() {
				c.passed++
			}
			if m.tier == legit && r.status/100 != 2 {
				c.refused++
			}
		}
		if len(r.hazards) > 0 {
			t.Logf("HAZARD %s: %s: %s", m.family, m.name, strings.Join(r.hazards, "; "))
		} else if m.tier == legit && r.status/100 != 2 {
			t.Logf("refused %s: %s: %d", m.family, m.name, r.status)
		}
	}
	var names []string
	for n := range families {
		names = append(names, n)
	}
	sort.Strings(names)
	var table strings.Builder
	row := func(name string, c *count) {
		fmt.Fprintf(&table, "%-32s %5d %8d %8d %8d\n", name, c.n, c.hazards, c.passed, c.refused)
	}
	fmt.Fprintf(&table, "\n%-32s %5s %8s %8s %8s\n", "family", "n", "hazards", "bad passed", "legit refused")
	for _, n := range names {
		row(n, families[n])
	}
	row("all", &sum)
	t.Log(table.String())
}

// listen sends all and reads until nothing more comes for a while, as proxies differ
// in what they make of a client that ended its half.
func listen(addr, raw string) ([]byte, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	go func() { _, _ = io.WriteString(nc, raw) }()
	var out []byte
	b := make([]byte, 64<<10)
	wait := 300 * time.Millisecond
	for {
		_ = nc.SetReadDeadline(time.Now().Add(wait))
		n, err := nc.Read(b)
		out = append(out, b[:n]...)
		if err != nil {
			return out, nil
		}
		wait = 60 * time.Millisecond
	}
}
