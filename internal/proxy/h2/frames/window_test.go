package frames

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

func TestInflow(t *testing.T) {
	var f Inflow
	f.Open(100, 100)
	if !f.Take(80) || f.Take(21) || !f.Take(20) {
		t.Error("the window isn't kept")
	}
	if n := f.Consume(10); n != 10 { // little, but the peer has nothing
		t.Errorf("%d granted", n)
	}
	if n := f.Consume(60); n != 60 {
		t.Errorf("%d granted", n)
	}
	if n := f.Consume(10); n != 0 { // it has 70, that is for later
		t.Errorf("%d granted", n)
	}
	f.Grow(1000)
	f.Grow(500) // not smaller
	if n := f.Consume(20); n != 930 {
		t.Errorf("%d granted", n)
	}
	if !f.Take(1000) || f.Take(1) {
		t.Error("the grown window isn't kept")
	}
	f.Open(DefaultWindow, 1<<20)
	if n := f.Consume(0); n != 1<<20-DefaultWindow {
		t.Errorf("%d granted at first", n)
	}
}

// TestControlFlood: what a peer that reads nothing makes us queue is bounded.
func TestControlFlood(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	var w Writer
	w.Init(a)
	var err error
	n := 0
	for ; err == nil && n < 1<<20; n++ {
		err = w.Ping(true, []byte("12345678"))
	}
	if !errors.Is(err, ErrFlooded) || n > 2*mostControl/17 {
		t.Errorf("%d frames, %v", n, err)
	}
	if err := w.Flush(); !errors.Is(err, ErrFlooded) {
		t.Error(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Error("not closed", err)
	}
	w.Free()
}

// TestWriterGathers what was added while it wrote.
func TestWriterGathers(t *testing.T) {
	a, b := net.Pipe()
	var w Writer
	w.Init(a)
	_ = w.Ping(true, []byte("first..."))
	done := make(chan error)
	go func() { done <- w.Flush() }()
	buf := make([]byte, 1<<10)
	if n, err := b.Read(buf[:5]); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	for range 10 {
		_ = w.Ping(true, []byte("another."))
		if err := w.Flush(); err != nil || w.Pending() { // somebody writes
			t.Fatal(err)
		}
	}
	if n, _ := b.Read(buf); n != 12 {
		t.Errorf("%d bytes", n)
	}
	if n, _ := b.Read(buf); n != 170 || !bytes.Contains(buf, []byte("another.")) {
		t.Errorf("%d bytes in one write", n)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = b.Close()
	_ = w.Ping(true, []byte("nobody.."))
	if err := w.Flush(); err == nil || w.Err() == nil {
		t.Error("no error")
	}
}

// TestEndMarksTheLastFrame if nobody took it to be written yet.
func TestEndMarksTheLastFrame(t *testing.T) {
	a, b := net.Pipe()
	var w Writer
	w.Init(a)
	var o Outlet
	o.Open(&w, 1)
	_ = o.Head(false, []byte{0x88})
	_ = o.Data([]byte("x"))
	_ = o.End()
	go func() { _ = w.Flush(); _ = a.Close() }()
	got, _ := io.ReadAll(b)
	want := AppendHead(nil, 1, Headers, EndHeaders, 1)
	want = append(want, 0x88)
	want = append(AppendHead(want, 1, Data, EndStream, 1), 'x')
	if !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}
