package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

func entry() *Entry {
	return &Entry{
		Time: time.Date(2026, 11, 22, 9, 5, 3, 123456000, time.UTC), Duration: 12345678 * time.Nanosecond,
		Client: "192.0.2.7", Caller: "gateway", Route: "api", Service: "catalog", Instance: "catalog-1", Attempts: 2,
		Method: "GET", Target: []byte(`/a%2Fb?x="1"`), Proto: "HTTP/1.1", Host: []byte("shop.example"), Status: 200, Out: 2326,
		UserAgent: []byte("curl/8 \x01\xff é"), RequestID: []byte("r1"), Trace: [16]byte{1}, Span: [8]byte{2},
		Notes: []Note{{"retry", "connect"}},
	}
}

func TestAccessLogLines(t *testing.T) {
	want := `{"time":"2026-11-22T09:05:03.123456Z","duration":0.012346,"client":"192.0.2.7","caller":"gateway","route":"api",` +
		`"service":"catalog","instance":"catalog-1","attempts":2,"method":"GET","host":"shop.example","target":"/a%2Fb?x=\"1\"",` +
		`"proto":"HTTP/1.1","status":200,"in":0,"out":2326,"user_agent":"curl/8 \u0001\ufffd é","request_id":"r1",` +
		`"trace_id":"01000000000000000000000000000000","span_id":"0200000000000000","notes":[{"name":"retry","value":"connect"}]}` + "\n"
	if got := string(AppendJSON(nil, entry())); got != want {
		t.Errorf("JSON\n got %s\nwant %s", got, want)
	}
	want = `192.0.2.7 - - [22/Nov/2026:09:05:03 +0000] "GET /a%2Fb?x=\"1\" HTTP/1.1" 200 2326` + "\n"
	if got := string(AppendCommon(nil, entry())); got != want {
		t.Errorf("CLF\n got %s\nwant %s", got, want)
	}
	want = `- - - [01/Jan/0001:00:00:00 +0000] "  " - -` + "\n"
	if got := string(AppendCommon(nil, &Entry{})); got != want {
		t.Errorf("CLF of nothing\n got %s\nwant %s", got, want)
	}
	if got := AppendJSON(nil, &Entry{}); !json.Valid(got) {
		t.Errorf("JSON of nothing: %s", got)
	}
}

func TestAccessLogDoesNotAllocate(t *testing.T) {
	e, buf := entry(), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = AppendJSON(buf[:0], e); buf = AppendCommon(buf[:0], e) }); n > 0 {
		t.Errorf("%v allocations a line", n)
	}
}

func FuzzAccessLog(f *testing.F) {
	f.Add("GET", []byte("/"), []byte("agent"), "192.0.2.1")
	f.Add("G\"T", []byte("/\r\n\\\x00\xff\u2028"), []byte("\xed\xa0\x80\"}{"), "a b\n")
	f.Fuzz(func(t *testing.T, method string, target, agent []byte, client string) {
		e := &Entry{Method: method, Target: target, UserAgent: agent, Client: client, Notes: []Note{{method, client}}}
		line := AppendJSON(nil, e)
		var got struct {
			Method, Target, Client string
			Agent                  string `json:"user_agent"`
			Notes                  []Note
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		// encoding/json replaces bytes that are not UTF-8 one by one, as we do.
		valid := func(s string) string { return string([]rune(s)) }
		if got.Method != valid(method) || got.Target != valid(string(target)) || got.Agent != valid(string(agent)) ||
			got.Client != valid(client) || len(got.Notes) != 1 || got.Notes[0] != (Note{valid(method), valid(client)}) {
			t.Fatalf("%q came back as %+v", line, got)
		}
		if bytes.Count(line, []byte{'\n'}) != 1 || !utf8.Valid(line) {
			t.Fatalf("not one line of UTF-8: %q", line)
		}
		line = AppendCommon(nil, e)
		for i, c := range line {
			if (c < 0x20 || c >= 0x7f) != (i == len(line)-1) {
				t.Fatalf("byte %d of %q", i, line)
			}
		}
		if q := strings.Count(strings.ReplaceAll(strings.ReplaceAll(string(line), `\\`, ""), `\"`, ""), `"`); q != 2 {
			t.Fatalf("%d bare quotes in %q", q, line)
		}
	})
}

// gate is a writer that waits to be let go, and may fail.
type gate struct {
	mu   sync.Mutex
	got  bytes.Buffer
	open chan struct{}
	err  error
}

func (g *gate) Write(b []byte) (int, error) {
	if g.open != nil {
		<-g.open
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	return g.got.Write(b)
}

func TestLogWriterDropsRatherThanWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		c := &Counter{}
		l := NewLogWriter(g)
		l.Max, l.Drops = 20, c
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		for i := range 9 {
			fmt.Fprintf(l, "line %d xx\n", i) // 10 bytes
			synctest.Wait()
		}
		// The first is being written, two wait, six are dropped.
		if l.Dropped() != 6 || c.Value() != 6 {
			t.Errorf("dropped %d, counted %d", l.Dropped(), c.Value())
		}
		close(g.open)
		synctest.Wait()
		fmt.Fprintf(l, "last one\n")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		fmt.Fprintf(l, "too late\n")
		if want := "line 0 xx\nline 1 xx\nline 2 xx\nlast one\n"; g.got.String() != want || l.Dropped() != 7 {
			t.Errorf("wrote %q, dropped %d", g.got.String(), l.Dropped())
		}
	})
}

func TestLogWriterSurvivesAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var talk bytes.Buffer
		log, err := NewLogger(&talk, "text", nil)
		if err != nil {
			t.Fatal(err)
		}
		g := &gate{err: errors.New("no space left on device")}
		l := NewLogWriter(g)
		l.Log = log
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		for range 3 {
			fmt.Fprintln(l, "lost")
			synctest.Wait()
		}
		g.mu.Lock()
		g.err = nil
		g.mu.Unlock()
		fmt.Fprintln(l, "kept")
		cancel()
		<-done
		if g.got.String() != "kept\n" || l.Dropped() != 3 || strings.Count(talk.String(), "no space left") != 1 {
			t.Errorf("wrote %q, dropped %d, said %q", g.got.String(), l.Dropped(), talk.String())
		}
	})
}

func TestLogger(t *testing.T) {
	var b bytes.Buffer
	log, err := NewLogger(&b, "json", nil)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hello", "n", 1)
	log.Debug("not this")
	var m map[string]any
	if err := json.Unmarshal(b.Bytes(), &m); err != nil || m["msg"] != "hello" || m["n"] != 1.0 {
		t.Errorf("%s: %v", b.Bytes(), err)
	}
	if _, err := NewLogger(&b, "yaml", nil); err == nil || !strings.Contains(err.Error(), "json, text") {
		t.Error(err)
	}
}

func BenchmarkAccessLogJSON(b *testing.B) {
	e, buf := entry(), make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendJSON(buf[:0], e)
	}
}
