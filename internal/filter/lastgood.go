package filter

import (
	"bytes"
	"container/list"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"swell/internal/exchange"
)

// lastGood keeps good answers to GETs, to be given again when there is no other. It
// is no cache: nobody is answered from it while the service answers. Kept is what
// anybody may see: whole answers with 200, without Set-Cookie, not said to be private
// or not to be stored, and, if the request had credentials (Cookie, Authorization),
// said to be public.
type lastGood struct {
	o   LastGood
	now func() time.Time

	mu     sync.Mutex
	byKey  map[string]*list.Element
	recent *list.List // of *kept, the one used last in front
	memory int64
}

// kept is one answer. It is never changed.
type kept struct {
	key    string
	at     time.Time
	age    int // seconds, when it came
	public bool
	fields []exchange.Param
	body   []byte
}

func (k *kept) size() int64 {
	n := int64(len(k.key)+len(k.body)) + 256
	for _, f := range k.fields {
		n += int64(len(f.Name)+len(f.Value)) + 32
	}
	return n
}

func newLastGood(o LastGood, now func() time.Time) *lastGood {
	return &lastGood{o: o, now: now, byKey: map[string]*list.Element{}, recent: list.New()}
}

// keyMost bounds the keys.
const keyMost = 8 << 10

// appendKey appends what answers are kept by: host, target and the encodings that
// the client takes.
func appendKey(b []byte, q *exchange.Request) []byte {
	b = append(append(b, q.Host...), '\n')
	b = append(append(b, q.Target...), '\n')
	return append(b, q.Header.Get(exchange.AcceptEncoding)...)
}

// credentials reports whether the request says who asks.
func credentials(q *exchange.Request) bool {
	return q.Header.Has(exchange.Cookie) || q.Header.Has(exchange.Authorization)
}

// answer makes x's response the one that is kept for it, if there is one.
func (g *lastGood) answer(x *exchange.Exchange) bool {
	q := &x.Request
	if q.Method != "GET" || q.Header.Has(exchange.Range) || len(q.Host)+len(q.Target) > keyMost {
		return false
	}
	var buf [512]byte
	key := appendKey(buf[:0], q)
	now := g.now()
	g.mu.Lock()
	e := g.byKey[string(key)]
	if e == nil {
		g.mu.Unlock()
		return false
	}
	k := e.Value.(*kept)
	if now.Sub(k.at) > time.Duration(g.o.For) {
		g.drop(e)
		g.mu.Unlock()
		return false
	}
	if !k.public && credentials(q) {
		g.mu.Unlock()
		return false
	}
	g.recent.MoveToFront(e)
	g.mu.Unlock()
	r := &x.Response
	r.Drop()
	r.Status = 200
	for _, f := range k.fields {
		r.Header.AddName(f.Name, f.Value)
	}
	r.Header.Set(exchange.Age, strconv.Itoa(k.age+int(now.Sub(k.at)/time.Second)))
	r.Header.SetName(fallbackField, "last-good")
	if len(k.body) > 0 {
		r.Length, r.Body = int64(len(k.body)), exchange.Bytes(k.body)
	}
	return true
}

// keep has x's answer kept once all of it has passed, if it may be.
func (g *lastGood) keep(x *exchange.Exchange) {
	q, r := &x.Request, &x.Response
	if q.Method != "GET" || r.Status != 200 || r.Tunnel != nil || r.Length > int64(g.o.Size) || len(q.Host)+len(q.Target) > keyMost ||
		q.Header.Has(exchange.Range) || r.Header.Has(exchange.SetCookie) {
		return
	}
	if v := r.Header.Get(exchange.Vary); len(v) > 0 && !bytes.EqualFold(bytes.TrimSpace(v), acceptEncoding) {
		return
	}
	public, private := directives(&r.Header)
	if private || !public && credentials(q) || bytes.Equal(r.Header.Get(exchange.ContentType), eventStream) {
		return
	}
	var buf [512]byte
	key := appendKey(buf[:0], q)
	now := g.now()
	g.mu.Lock()
	e := g.byKey[string(key)]
	fresh := e != nil && now.Sub(e.Value.(*kept).at) < lastGoodFresh
	g.mu.Unlock()
	if fresh {
		return
	}
	k := &kept{key: string(key), at: now, public: public}
	k.age, _ = strconv.Atoi(string(r.Header.Get(exchange.Age)))
	for _, f := range r.Header.Fields() {
		if f.ID != exchange.Age {
			k.fields = append(k.fields, exchange.Param{Name: string(f.Name), Value: string(f.Value)})
		}
	}
	if r.Body == nil {
		g.store(k)
		return
	}
	r.Body = &keeping{g: g, k: k, inner: r.Body, length: r.Length}
}

var (
	acceptEncoding = []byte("Accept-Encoding")
	eventStream    = []byte("text/event-stream")
)

// directives reads of the Cache-Control fields what matters here.
func directives(h *exchange.Header) (public, private bool) {
	for _, f := range h.Fields() {
		if f.ID != exchange.CacheControl {
			continue
		}
		for d := range strings.SplitSeq(string(f.Value), ",") {
			name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(d)), "=")
			switch name {
			case "private", "no-store":
				private = true
			case "public":
				public = true
			}
		}
	}
	return public, private
}

// store takes an answer in, and lets go of others for it.
func (g *lastGood) store(k *kept) {
	n := k.size()
	if n > int64(g.o.Memory) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.byKey[k.key]; e != nil {
		g.drop(e)
	}
	g.byKey[k.key] = g.recent.PushFront(k)
	g.memory += n
	for g.memory > int64(g.o.Memory) || g.recent.Len() > g.o.Entries {
		g.drop(g.recent.Back())
	}
}

// drop forgets an answer. mu is held.
func (g *lastGood) drop(e *list.Element) {
	k := g.recent.Remove(e).(*kept)
	delete(g.byKey, k.key)
	g.memory -= k.size()
}

// keeping is a response's body that is copied as it passes.
type keeping struct {
	g      *lastGood
	k      *kept // nil once it is stored or given up
	inner  exchange.Body
	length int64
}

func (b *keeping) Next() ([]byte, error) {
	p, err := b.inner.Next()
	if b.k == nil {
		return p, err
	}
	switch {
	case err == io.EOF && (b.length < 0 || int64(len(b.k.body)) == b.length):
		b.g.store(b.k)
		b.k = nil
	case err != nil || len(b.k.body)+len(p) > int(b.g.o.Size):
		b.k = nil
	default:
		b.k.body = append(b.k.body, p...)
	}
	return p, err
}

func (b *keeping) Ready() bool { return b.inner.Ready() }
func (b *keeping) Close()      { b.inner.Close() }
