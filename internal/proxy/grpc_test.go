package proxy

import (
	"io"
	"testing"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
)

func TestGRPCTimeouts(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "4m": 4 * time.Millisecond,
		"5u": 5 * time.Microsecond, "6n": 6, "0n": 0, "99999999S": 99999999 * time.Second, "99999999H": longestGRPC,
		"": -1, "1": -1, "S": -1, "1s": -1, "-1S": -1, "123456789n": -1, "1 S": -1, "1.5S": -1,
	} {
		if d, ok := parseGRPCTimeout([]byte(text)); ok != (want >= 0) || ok && d != want {
			t.Errorf("%q is %v, %v; want %v", text, d, ok, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0n", 0: "0n", 7: "7n", 99999999: "99999999n", 100000000: "100000u",
		2 * time.Minute: "120000m", 30 * time.Hour: "108000S", 99999999 * time.Second: "99999999S", longestGRPC: "52560000M",
	} {
		if got := string(appendGRPCTimeout(nil, d)); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}

func FuzzGRPCTimeout(f *testing.F) {
	f.Add([]byte("15S"))
	f.Fuzz(func(t *testing.T, in []byte) {
		d, ok := parseGRPCTimeout(in)
		if !ok {
			return
		}
		out := appendGRPCTimeout(nil, d)
		again, ok := parseGRPCTimeout(out)
		if !ok || again > d || d-again > d/1000 && d < longestGRPC {
			t.Errorf("%q is %v, written %q, which is %v", in, d, out, again)
		}
	})
}

func newCall(kind, timeout string) *exchange.Exchange {
	x := fakeExchange("POST", "/a.B/C")
	x.Request.Header.AddName("content-type", kind)
	if timeout != "" {
		x.Request.Header.AddName("grpc-timeout", timeout)
	}
	return x
}

func TestAGRPCDeadlineIsKeptAndPassedOn(t *testing.T) {
	x := newCall("application/grpc+proto", "10S")
	grpcArrive(x)
	if d := time.Until(x.Deadline); d > 10*time.Second || d < 9*time.Second {
		t.Errorf("deadline in %v", d)
	}
	sooner := time.Now().Add(2 * time.Second)
	x.Deadline = sooner
	grpcArrive(x)
	if !x.Deadline.Equal(sooner) {
		t.Error("a deadline was widened")
	}
	grpcDepart(x)
	v, _ := x.Request.Header.Lookup("grpc-timeout")
	if d, ok := parseGRPCTimeout(v); !ok || d > 2*time.Second || d < time.Second {
		t.Errorf("%s is passed on", v)
	}
	for _, kind := range []string{"application/json", "application/grpcish", ""} {
		x := newCall(kind, "1S")
		grpcArrive(x)
		if !x.Deadline.IsZero() {
			t.Errorf("%s got a deadline", kind)
		}
	}
}

func TestTheLongestGRPCDeadlineIsOneThatCanBeKept(t *testing.T) {
	x := newCall("application/grpc", "99999999H")
	grpcArrive(x)
	if at := exchange.At(x.Deadline); at < exchange.Now() {
		t.Errorf("the deadline is at %d", at)
	}
}

func TestFailuresOfGRPCCalls(t *testing.T) {
	for kind, call := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "Application/gRPC;x=y": true,
		"application/grpc-web+proto": true, "application/grpc-web-text": true, "text/plain": false,
	} {
		x := newCall(kind, "")
		x.Reply(502, "no\nservice: 100 %")
		x.Response.Header.AddName(reason, "s; connect")
		grpcAnswer(x, grpcCauses[filter.Connect], "no\nservice: 100 %")
		r := &x.Response
		if !call {
			if r.Status != 502 || r.Body == nil {
				t.Errorf("%s: status %d", kind, r.Status)
			}
			continue
		}
		status, _ := r.Header.Lookup(grpcStatus)
		message, _ := r.Header.Lookup(grpcMessage)
		_, why := r.Header.Lookup(reason)
		if r.Status != 200 || r.Body != nil || r.Length != 0 || string(status) != "14" || string(message) != "no%0Aservice: 100 %25" ||
			string(r.Header.Get(exchange.ContentType)) != kind || !why {
			t.Errorf("%s: status %d, grpc-status %s, grpc-message %s", kind, r.Status, status, message)
		}
		if n, whole := grpcOutcome(x); n != 503 || !whole {
			t.Errorf("it counts as %d, %v", n, whole)
		}
	}
	for c := filter.Connect; c <= filter.Large; c++ {
		if grpcCauses[c] == 0 {
			t.Errorf("%s has no status", c)
		}
	}
}

func TestGRPCOutcomes(t *testing.T) {
	for _, c := range []struct {
		kind, head, trailer string
		status, want        int
		whole               bool
	}{
		{"text/html", "14", "14", 200, 200, true},
		{"application/grpc", "", "", 503, 503, true},
		{"application/grpc", "", "", 200, 200, false},
		{"application/grpc", "", "0", 200, 200, true},
		{"application/grpc+proto", "5", "", 200, 404, true},
		{"application/grpc+proto", "", "13", 200, 500, true},
		{"application/grpc", "0", "2", 200, 500, true},
		{"application/grpc-web", "4", "", 200, 504, true},
		{"application/grpc", "x", "", 200, 500, true},
		{"application/grpc", "77", "", 200, 500, true},
	} {
		x := fakeExchange("POST", "/")
		r := &x.Response
		r.Status = c.status
		r.Header.AddName("content-type", c.kind)
		if c.head != "" {
			r.Header.AddName("Grpc-Status", c.head)
		}
		if c.trailer != "" {
			r.Trailer.AddName("grpc-status", c.trailer)
		}
		if n, whole := grpcOutcome(x); n != c.want || whole != c.whole {
			t.Errorf("%+v: %d, %v", c, n, whole)
		}
	}
}

// broken is a body that breaks after its pieces.
type broken struct {
	pieces []string
	err    error
}

func (b *broken) Next() ([]byte, error) {
	if len(b.pieces) == 0 {
		return nil, b.err
	}
	p := b.pieces[0]
	b.pieces = b.pieces[1:]
	return []byte(p), nil
}
func (b *broken) Ready() bool { return true }
func (b *broken) Close()      {}

func TestAnAnswerOfGRPCThatBreaksBetweenMessagesEndsWithAStatus(t *testing.T) {
	const one, two = "\x00\x00\x00\x00\x03abc", "\x00\x00\x00\x00\x00"
	for _, c := range []struct {
		pieces []string
		err    error
		want   string
	}{
		{nil, exchange.ErrTimeout, "4"},
		{[]string{one, two, one + two}, exchange.ErrTimeout, "4"},
		{[]string{one[:3], one[3:6], one[6:] + two[:1], two[1:]}, exchange.ErrClosed, "14"},
		{[]string{one}, exchange.ErrMalformed, "13"},
		{[]string{one, one[:6]}, exchange.ErrClosed, ""},
		{[]string{one, two[:4]}, exchange.ErrTimeout, ""},
		{[]string{one}, exchange.ErrGone, ""},
		{[]string{one}, exchange.ErrRequest, ""},
		{[]string{one}, io.EOF, ""},
	} {
		x := newCall("application/grpc", "")
		b := &grpcBody{Body: &broken{c.pieces, c.err}, x: x}
		var err error
		for err == nil {
			_, err = b.Next()
		}
		v, _ := x.Response.Trailer.Lookup(grpcStatus)
		if string(v) != c.want || (err == io.EOF) != (c.want != "" || c.err == io.EOF) {
			t.Errorf("%q, then %v: %v and status %q, want %q", c.pieces, c.err, err, v, c.want)
		}
	}
}

func TestAnAnswerOfGRPCWebThatBreaksEndsWithATrailerInTheBody(t *testing.T) {
	x := newCall("application/grpc-web", "")
	b := &grpcBody{Body: &broken{[]string{"\x00\x00\x00\x00\x01a"}, exchange.ErrTimeout}, x: x, web: true}
	got := ""
	for {
		p, err := b.Next()
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		got += string(p)
	}
	if want := "\x00\x00\x00\x00\x01a\x80\x00\x00\x00?grpc-status: 4\r\ngrpc-message: service  did not answer in time\r\n"; got != want {
		t.Errorf("%q", got)
	}
}
