package exchange

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestIdentify(t *testing.T) {
	for id := ID(1); id < known; id++ {
		name := id.Name()
		for _, n := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got := Identify([]byte(n)); got != id {
				t.Errorf("%s is %d, want %d", n, got, id)
			}
		}
		if got := Identify([]byte(name + "x")); got != None {
			t.Errorf("%sx is %d", name, got)
		}
	}
	for _, n := range []string{"", "X", "Hos", "Host\x00", "Content\rType", "content_length"} {
		if got := Identify([]byte(n)); got != None {
			t.Errorf("%q is %s", n, got.Name())
		}
	}
}

func FuzzIdentify(f *testing.F) {
	for id := ID(1); id < known; id++ {
		f.Add([]byte(id.Name()))
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		want := None
		for id := ID(1); id < known; id++ {
			if asciiFold(string(name)) == asciiFold(id.Name()) {
				want = id
			}
		}
		if got := Identify(name); got != want {
			t.Errorf("%q is %d, want %d", name, got, want)
		}
	})
}

func asciiFold(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// FuzzHeader plays operations against a plain list of pairs.
func FuzzHeader(f *testing.F) {
	f.Add("a0b1c2d3")
	f.Fuzz(func(t *testing.T, ops string) {
		names := []string{"Host", "X-A", "cookie", "x-a", "Set-Cookie", "X-B"}
		type pair struct{ n, v string }
		var h Header
		var model []pair
		del := func(name string) {
			out := model[:0:0]
			for _, p := range model {
				if asciiFold(p.n) != asciiFold(name) {
					out = append(out, p)
				}
			}
			model = out
		}
		for i := 0; i+1 < len(ops); i += 2 {
			name, value := names[int(ops[i+1])%len(names)], ops[i:]
			id := Identify([]byte(name))
			switch ops[i] % 6 {
			case 0:
				h.AddName(name, value)
				model = append(model, pair{name, value})
			case 1:
				h.SetName(name, value)
				del(name)
				model = append(model, pair{name, value})
			case 2:
				h.DelName(name)
				del(name)
			case 3:
				if id != None {
					h.Set(id, value)
					del(name)
					model = append(model, pair{id.Name(), value})
				}
			case 4:
				if id != None {
					h.Del(id)
					del(name)
				}
			case 5:
				h.Reset()
				model = nil
			}
			if h.Len() != len(model) {
				t.Fatalf("%d fields, want %d", h.Len(), len(model))
			}
			for j, f := range h.Fields() {
				if string(f.Name) != model[j].n || string(f.Value) != model[j].v || f.ID != Identify(f.Name) {
					t.Fatalf("field %d is %q: %q, want %v", j, f.Name, f.Value, model[j])
				}
			}
		}
		for _, n := range names {
			v, ok := h.Lookup(n)
			want, has := "", false
			for _, p := range model {
				if asciiFold(p.n) == asciiFold(n) {
					want, has = p.v, true
					break
				}
			}
			if ok != has || string(v) != want {
				t.Fatalf("%s is %q, %v; want %q, %v", n, v, ok, want, has)
			}
			if id := Identify([]byte(n)); id != None && (string(h.Get(id)) != want || h.Has(id) != has) {
				t.Fatalf("by its ID, %s is %q", n, h.Get(id))
			}
		}
	})
}

func TestTarget(t *testing.T) {
	for target, want := range map[string][2]string{
		"/a%2Fb?x=1?y": {"/a%2Fb", "x=1?y"}, "/a?": {"/a", ""}, "/": {"/", ""}, "*": {"*", ""},
	} {
		q := Request{Target: []byte(target)}
		if string(q.Path()) != want[0] || string(q.Query()) != want[1] {
			t.Errorf("%s: %q %q", target, q.Path(), q.Query())
		}
		if (q.Query() == nil) == strings.Contains(target, "?") {
			t.Errorf("%s: an empty query and none are the same", target)
		}
	}
}

type shut struct{ n int }

func (s *shut) Next() ([]byte, error)       { return nil, errors.New("shut") }
func (s *shut) Ready() bool                 { return true }
func (s *shut) Close()                      { s.n++ }
func (s *shut) Release()                    { s.n++ }
func (s *shut) Read([]byte) (int, error)    { return 0, io.EOF }
func (s *shut) Write(b []byte) (int, error) { return len(b), nil }

type tunnel struct{ shut }

func (t *tunnel) Close() error { t.n++; return nil }

func TestReplyDropsWhatWasThere(t *testing.T) {
	var x Exchange
	var body, memory shut
	var tun tunnel
	x.Response = Response{Status: 200, Body: &body, Memory: &memory, Tunnel: &tun, Sent: true, Length: 7}
	x.Response.Header.Set(ETag, "old")
	x.Reply(503, "busy")
	if body.n != 1 || memory.n != 1 || tun.n != 1 {
		t.Errorf("closed %d, released %d, tunnel %d", body.n, memory.n, tun.n)
	}
	r := &x.Response
	if r.Status != 503 || r.Header.Has(ETag) || string(r.Header.Get(ContentType)) != "text/plain; charset=utf-8" || r.Length != 5 {
		t.Errorf("%+v", r)
	}
	if p, err := r.Body.Next(); string(p) != "busy\n" || err != nil {
		t.Error(p, err)
	}
	if _, err := r.Body.Next(); err != io.EOF {
		t.Error(err)
	}
	x.Note("a", "b")
	x.Request.Method, x.Request.Bytes = "GET", 3
	x.Reset()
	if x.Request.Method != "" || x.Request.Bytes != 0 || x.Response.Status != 0 || len(x.Notes) != 0 || r.Header.Len() != 0 {
		t.Errorf("%+v", x)
	}
}

func TestAt(t *testing.T) {
	if d := At(time.Now().Add(time.Hour)) - Now(); d < int64(59*time.Minute) || d > int64(time.Hour) {
		t.Error(time.Duration(d))
	}
}

func BenchmarkIdentify(b *testing.B) {
	names := [][]byte{[]byte("content-type"), []byte("User-Agent"), []byte("X-Custom"), []byte("Accept")}
	for i := 0; b.Loop(); i++ {
		Identify(names[i&3])
	}
}
