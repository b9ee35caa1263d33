package exchange

import (
	"errors"
	"io"
	"testing"
)

func parent() *Exchange {
	x := &Exchange{Route: "r", Service: "s", Attempt: 1}
	x.Request.Method, x.Request.Target, x.Request.Host = "PUT", []byte("/a?b"), []byte("shop.example")
	x.Request.Header.Set(Accept, "a")
	x.Request.Header.AddName("X-Own", "1")
	x.Request.Length = -1
	return x
}

func TestAForkHasTheRequestAndAResponseOfItsOwn(t *testing.T) {
	x := parent()
	f := NewFork()
	for range 3 { // it can be used again
		f.Begin(x, []byte("data"), true)
		if f.Request.Length != 4 || string(f.Request.Target) != "/a?b" || string(f.Request.Header.Get(Accept)) != "a" || f.Attempt != 0 {
			t.Fatalf("%+v", f.Request)
		}
		f.Request.Header.Set(Accept, "b")
		f.Request.Header.AddName("X-More", "2")
		if string(x.Request.Header.Get(Accept)) != "a" || x.Request.Header.Len() != 2 {
			t.Error("a change of the fork's header changed its parent's")
		}
		if p, err := f.Request.Body.Next(); string(p) != "data" || err != nil {
			t.Error(string(p), err)
		}
		if _, err := f.Request.Body.Next(); err != io.EOF {
			t.Error(err)
		}
		ended := 0
		f.Ended = append(f.Ended, func(*Exchange) { ended++ })
		f.End()
		if ended != 1 || f.Request.Method != "" {
			t.Errorf("ended %d times, method %q", ended, f.Request.Method)
		}
	}
}

func TestJoinGivesTheParentTheResponse(t *testing.T) {
	x := parent()
	x.Reply(503, "old")
	f := NewFork()
	f.Begin(x, nil, false)
	if f.Request.Body != nil {
		t.Error("a body")
	}
	f.Reply(200, "new")
	f.Response.Header.Set(ETag, "1")
	f.Attempt, f.Endpoint = 2, "e1"
	f.Note("retry", "connect")
	f.Join(x)
	if x.Response.Status != 200 || string(x.Response.Header.Get(ETag)) != "1" || x.Attempt != 3 || x.Endpoint != "e1" || len(x.Notes) != 1 {
		t.Errorf("%+v", x)
	}
	// A codec puts the trailers where the response was.
	f.Response.Trailer.AddName("grpc-status", "0")
	if p, err := x.Response.Body.Next(); string(p) != "new\n" || err != nil {
		t.Fatal(string(p), err)
	}
	if _, err := x.Response.Body.Next(); err != io.EOF {
		t.Fatal(err)
	}
	if v, _ := x.Response.Trailer.Lookup("Grpc-Status"); string(v) != "0" {
		t.Errorf("trailer %q", v)
	}
	x.Response.Bytes = 4
	f.Ended = append(f.Ended, func(x *Exchange) {
		if x.Response.Status != 200 || x.Response.Bytes != 4 {
			t.Errorf("what ends with the fork sees status %d, %d bytes", x.Response.Status, x.Response.Bytes)
		}
	})
	f.End()
	x.Reset()
}

func TestTheEndOfAForkClosesWhatItGave(t *testing.T) {
	x := parent()
	f := NewFork()
	f.Begin(x, nil, false)
	var body shut
	f.Response.Status, f.Response.Body, f.Response.Length = 200, &body, -1
	f.Join(x)
	old := x.Response.Body
	f.End()
	if body.n != 1 {
		t.Errorf("closed %d times", body.n)
	}
	f.Begin(x, nil, false)
	var other shut
	f.Response.Status, f.Response.Body = 200, &other
	f.Join(&Exchange{})
	old.Close()
	if body.n != 1 || other.n != 0 {
		t.Error("a late Close reached another's body")
	}
}

func TestALeashOfAForkIsItsOwn(t *testing.T) {
	var l Leash
	x := parent()
	x.Leash, x.Gone = &l, l.Gone
	f := NewFork()
	f.Begin(x, nil, false)
	f.Leave()
	if !f.Gone() || x.Gone() {
		t.Errorf("fork gone %v, parent gone %v", f.Gone(), x.Gone())
	}
	f.End()
	f.Begin(x, nil, false)
	if f.Gone() {
		t.Error("a new fork is gone")
	}
}

func TestADetachedForkOutlivesItsParent(t *testing.T) {
	x := parent()
	memory := []byte("abc")
	x.Request.Header.Append(None, memory[:1], memory[1:])
	f := NewFork()
	f.Begin(x, []byte("b"), true)
	f.Detach()
	copy(memory, "xyz")
	copy(x.Request.Target, "/zzz")
	if v, _ := f.Request.Header.Lookup("a"); string(v) != "bc" || string(f.Request.Target) != "/a?b" {
		t.Errorf("%q %s", v, f.Request.Target)
	}
	f.Request.Body.Close()
	if _, err := f.Request.Body.Next(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestMarks(t *testing.T) {
	var x Exchange
	a, b := new(int), new(int)
	if !x.Mark(a) || x.Mark(a) || !x.Mark(b) {
		t.Error("a mark is there once")
	}
	x.Unmark(a)
	if !x.Mark(a) || x.Mark(b) {
		t.Error("a mark that was taken back")
	}
}
