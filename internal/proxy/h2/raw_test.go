package h2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"swell/internal/exchange"
	"swell/internal/proxy/h2"
)

// raw is a client that says what it likes, in memory and in virtual time, and
// writes down what it hears.
type raw struct {
	*testing.T
	*http2.Framer
	nc     net.Conn
	enc    *hpack.Encoder
	block  bytes.Buffer
	cancel context.CancelFunc

	mu    sync.Mutex
	heard []string
	slugs []string
	hold  atomic.Pointer[chan bool] // the client reads nothing until it is closed
}

// speak connects a raw client to s and has it say hello.
func speak(t *testing.T, s *h2.Server, f func(r *raw)) {
	t.Helper()
	silent(t, s, func(r *raw) {
		_, _ = io.WriteString(r.nc, http2.ClientPreface)
		_ = r.WriteSettings()
		_ = r.WriteSettingsAck()
		r.hears("SETTINGS", "WINDOW 0", "SETTINGS ack")
		f(r)
	})
}

func silent(t *testing.T, s *h2.Server, f func(r *raw)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		ctx, cancel := context.WithCancel(context.Background())
		r := &raw{T: t, Framer: http2.NewFramer(b, b), nc: b, cancel: cancel}
		r.AllowIllegalWrites = true
		r.enc = hpack.NewEncoder(&r.block)
		s.Log = quiet()
		s.Refused = func(_ netip.AddrPort, status int, slug, why string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if why == "" {
				t.Errorf("%s without a why", slug)
			}
			r.slugs = append(r.slugs, fmt.Sprint(status, " ", slug))
		}
		var wg sync.WaitGroup
		wg.Go(func() { s.Serve(ctx, a, netip.MustParseAddrPort("192.0.2.1:99"), nil, nil) })
		wg.Go(r.listen)
		f(r)
		_ = b.Close()
		wg.Wait()
		cancel()
	})
}

// listen writes down every frame.
func (r *raw) listen() {
	dec := hpack.NewDecoder(4096, nil)
	note := func(s string) {
		r.mu.Lock()
		r.heard = append(r.heard, s)
		r.mu.Unlock()
	}
	for {
		f, err := r.ReadFrame()
		if hold := r.hold.Load(); hold != nil {
			<-*hold
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
				note("EOF")
			} else {
				note(err.Error())
			}
			return
		}
		h := f.Header()
		end := ""
		if (h.Type == http2.FrameHeaders || h.Type == http2.FrameData) && h.Flags.Has(http2.FlagDataEndStream) {
			end = " end"
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if f.IsAck() {
				note("SETTINGS ack")
			} else {
				note("SETTINGS")
			}
		case *http2.HeadersFrame:
			fields, err := dec.DecodeFull(f.HeaderBlockFragment())
			s := fmt.Sprintf("HEADERS %d", h.StreamID)
			for _, f := range fields {
				if f.Name != "date" && f.Name != "content-type" && f.Name != "content-length" {
					s += " " + f.Name + "=" + f.Value
				}
			}
			if err != nil {
				s += err.Error()
			}
			note(s + end)
		case *http2.DataFrame:
			d := string(f.Data())
			if n := len(d); n > 40 { // how it is cut into frames is nobody's matter
				r.mu.Lock()
				var id uint32
				var before int
				if k := len(r.heard) - 1; k >= 0 {
					if _, err := fmt.Sscanf(r.heard[k], "DATA %d (%d)", &id, &before); err == nil && id == h.StreamID {
						n += before
						r.heard = r.heard[:k]
					}
				}
				r.mu.Unlock()
				d = fmt.Sprintf("(%d)", n)
			}
			note(fmt.Sprintf("DATA %d %s%s", h.StreamID, d, end))
		case *http2.RSTStreamFrame:
			note(fmt.Sprintf("RST %d %s", h.StreamID, f.ErrCode))
		case *http2.GoAwayFrame:
			note(fmt.Sprintf("GOAWAY %d %s", f.LastStreamID, f.ErrCode))
		case *http2.PingFrame:
			if f.IsAck() {
				note("PING ack")
			} else {
				note("PING " + strings.TrimRight(string(f.Data[:]), "\x00"))
			}
		case *http2.WindowUpdateFrame:
			note(fmt.Sprintf("WINDOW %d", h.StreamID))
		default:
			note(fmt.Sprint(h))
		}
	}
}

// hears wants that, and nothing else, to have been heard since the last call.
func (r *raw) hears(want ...string) {
	r.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.heard; strings.Join(got, "|") != strings.Join(want, "|") {
		r.Errorf("heard %q\nwant  %q", got, want)
	}
	r.heard = nil
}

// hearsAll is hears for what may come in any order.
func (r *raw) hearsAll(want ...string) {
	r.Helper()
	synctest.Wait()
	r.mu.Lock()
	slices.Sort(r.heard)
	r.mu.Unlock()
	slices.Sort(want)
	r.hears(want...)
}

// refused wants that, and nothing else, to have been refused since the last call.
func (r *raw) refused(want ...string) {
	r.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.Join(r.slugs, "|") != strings.Join(want, "|") {
		r.Errorf("refused %q, want %q", r.slugs, want)
	}
	r.slugs = nil
}

// fields encodes "name: value" lines; a name may begin with a colon.
func (r *raw) fields(lines ...string) []byte {
	r.block.Reset()
	for _, l := range lines {
		i := strings.Index(l[1:], ":") + 1
		_ = r.enc.WriteField(hpack.HeaderField{Name: l[:i], Value: strings.TrimPrefix(l[i+1:], " ")})
	}
	return bytes.Clone(r.block.Bytes())
}

var (
	getRoot  = []string{":method: GET", ":scheme: http", ":authority: shop.example", ":path: /"}
	postRoot = []string{":method: POST", ":scheme: http", ":authority: shop.example", ":path: /"}
)

// ask sends a request's head.
func (r *raw) ask(id uint32, end bool, lines ...string) {
	_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.fields(lines...), EndStream: end, EndHeaders: true})
}

func (r *raw) data(id uint32, end bool, s string) { _ = r.WriteData(id, end, []byte(s)) }

// echo answers what it read, after it read all.
func echo(x *exchange.Exchange) {
	var all []byte
	for x.Request.Body != nil {
		p, err := x.Request.Body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			x.Reply(400, "broken")
			return
		}
		all = append(all, p...)
	}
	x.Response.Status = 200
	x.Response.Length = int64(len(all))
	if len(all) > 0 {
		x.Response.Body = exchange.Bytes(all)
	}
}

func echoServer() *h2.Server { return &h2.Server{Handle: echo} }
