package h3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"swell/internal/exchange"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Limits bound what clients may take. Zero fields mean the defaults named.
type Limits struct {
	Conns      int // connections at a time; 65536. Beyond it, new ones are refused
	PerAddress int // of them, from one address; 0 is no bound
	Streams    int // at a time on a connection; 128. The client is told and can't begin more
	Head       int // bytes of a request's head, 32 added for each field; 64 KiB. More is answered 431
	Target     int // bytes of a request target; 32 KiB. More is answered 414
	Fields     int // fields of a head; 128. More is answered 431
	Window     int // bytes of a request's body that are on their way or held; 1 MiB, at least 64 KiB
	Buffer     int // the same of all requests of a connection; 4 MiB

	HeadTime  time.Duration // for the handshake; 10 s
	IdleTime  time.Duration // of a connection without a request; 75 s
	ReadTime  time.Duration // without a byte of a request's body that is waited for; 60 s. Then 408
	WriteTime time.Duration // without the client taking, or allowing, 16 KiB of an answer; 60 s
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (l Limits) complete() Limits {
	l.Conns, l.Streams, l.Head = or(l.Conns, 65536), or(l.Streams, 128), or(l.Head, 64<<10)
	l.Target, l.Fields = or(l.Target, 32<<10), or(l.Fields, 128)
	l.Window, l.Buffer = max(or(l.Window, 1<<20), 64<<10), max(or(l.Buffer, 4<<20), 64<<10)
	l.HeadTime, l.IdleTime = or(l.HeadTime, 10*time.Second), or(l.IdleTime, 75*time.Second)
	l.ReadTime, l.WriteTime = or(l.ReadTime, time.Minute), or(l.WriteTime, time.Minute)
	return l
}

// Server turns client connections into exchanges. Its fields must not change once
// Serve was called; the zero Server with a Handle is ready to use.
type Server struct {
	// Handle fills x.Response. It runs on the stream's goroutine and may block. A panic
	// in it is logged and answered 500. An exchange without a status after it is
	// answered 500.
	Handle func(x *exchange.Exchange)
	// Done is told once the answer was given to QUIC as a whole, or broke with err:
	// exchange.ErrGone, or the error of the body. x is valid until it returns. It may be
	// nil.
	Done func(x *exchange.Exchange, err error)
	// Refused is told of what this server did not take: requests that never became
	// exchanges, connections over a bound, clients that were too slow. status is what
	// they were answered; of a connection it is 0. slug is one word that stays, for
	// metrics; why says it in more. It may be nil.
	Refused func(peer netip.AddrPort, status int, slug, why string)

	Caller string // x.Caller of every exchange
	Limits Limits
	// Live, if set, is asked for the limits of each new connection, instead of Limits.
	Live func() Limits

	// DrainTime bounds how long streams in flight may go on once ctx ended; 30 s.
	DrainTime time.Duration
	// DrainFor, if set, is asked for that when draining begins.
	DrainFor func() time.Duration
	// Linger is how long a connection without a stream is kept when draining, for its
	// last answer to arrive and the client to end it; 1 s.
	Linger time.Duration
	// Log gets panics; slog.Default() if nil.
	Log *slog.Logger
}

// door is one Serve under way.
type door struct {
	Server
	ctx context.Context // ends when draining begins

	mu      sync.Mutex
	conns   int
	by      map[netip.Addr]int
	opening atomic.Int64 // connections whose handshake is not over
	wg      sync.WaitGroup
	streams sync.Pool
}

// manyOpening is how many handshakes may be under way before a client must prove
// its address first (a Retry, RFC 9000, 8.1.2): what a flood with forged addresses
// makes, and what a crowd hardly does.
const manyOpening = 256

// Serve accepts connections that come by packets of c until ctx ends. config has the
// certificates; the protocol is set here, and its GetConfigForClient is asked for
// each connection. Once ctx ended, no connection is accepted, clients are told to
// begin no more requests (GOAWAY), those in flight may end within DrainTime. Serve
// closes c and returns nil when the last stream has ended. An error of c ends it at
// once, with that error. What is sent before a handshake is over (0-RTT) is not
// taken: it could be replayed.
func (s *Server) Serve(ctx context.Context, c net.PacketConn, config *tls.Config) error {
	d := &door{Server: *s, ctx: ctx, by: map[netip.Addr]int{}}
	d.DrainTime, d.Linger = or(d.DrainTime, 30*time.Second), or(d.Linger, time.Second)
	if d.Log == nil {
		d.Log = slog.Default()
	}
	if d.Live == nil {
		d.Live = func() Limits { return s.Limits }
	}
	d.streams.New = func() any { return newStream() }
	defer c.Close()

	tr := &quic.Transport{Conn: c, VerifySourceAddress: d.doubtful, ConnContext: d.admit}
	defer tr.Close()
	first := d.quicConfig(d.Live().complete())
	first.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) {
		return d.quicConfig(d.Live().complete()), nil
	}
	l, err := tr.Listen(http3.ConfigureTLSConfig(config), first)
	if err != nil {
		return fmt.Errorf("listen for QUIC on %s: %w", c.LocalAddr(), err)
	}
	for {
		qc, err := l.Accept(ctx)
		if err != nil {
			_ = l.Close()
			if ctx.Err() == nil {
				_ = tr.Close() // there is nothing to drain by
			}
			d.wg.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept on %s: %w", c.LocalAddr(), err)
		}
		d.wg.Go(func() { newConn(d, qc).serve() })
	}
}

// quicConfig returns the limits as QUIC has them.
func (d *door) quicConfig(l Limits) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           l.HeadTime / 2, // twice as long is the bound of the whole
		MaxIdleTimeout:                 30 * time.Second,
		KeepAlivePeriod:                10 * time.Second, // a client that vanished is noticed, an endless answer goes on
		InitialStreamReceiveWindow:     uint64(min(l.Window, 256<<10)),
		MaxStreamReceiveWindow:         uint64(l.Window),
		InitialConnectionReceiveWindow: uint64(min(l.Buffer, 512<<10)),
		MaxConnectionReceiveWindow:     uint64(l.Buffer),
		MaxIncomingStreams:             int64(l.Streams),
		MaxIncomingUniStreams:          16, // control, QPACK's two, and reserved ones that test us
		Allow0RTT:                      false,
	}
}

var errCrowded = errors.New("too many connections")

// admit counts a connection that begins, or refuses it.
func (d *door) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	l := d.Live().complete()
	peer := addrPort(info.RemoteAddr)
	a := peer.Addr()
	d.mu.Lock()
	slug := ""
	switch {
	case d.conns >= l.Conns:
		slug = "connections"
	case l.PerAddress > 0 && d.by[a] >= l.PerAddress:
		slug = "address-connections"
	default:
		d.conns++
		d.by[a]++
	}
	d.mu.Unlock()
	if slug != "" {
		if d.Refused != nil {
			d.Refused(peer, 0, slug, errCrowded.Error())
		}
		return nil, errCrowded
	}
	entry := new(entry)
	d.opening.Add(1)
	context.AfterFunc(ctx, func() { // the connection's end, or its handshake's
		d.opened(entry)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.conns--
		if d.by[a]--; d.by[a] == 0 {
			delete(d.by, a)
		}
	})
	return context.WithValue(ctx, entryKey{}, entry), nil
}

// entry is a connection's place among those that open.
type entry struct{ open atomic.Bool }

type entryKey struct{}

func (d *door) opened(e *entry) {
	if e.open.CompareAndSwap(false, true) {
		d.opening.Add(-1)
	}
}

// doubtful reports whether a client must prove its address.
func (d *door) doubtful(a net.Addr) bool {
	if d.opening.Load() >= manyOpening {
		return true
	}
	l := d.Live()
	if l.PerAddress == 0 {
		return false
	}
	d.mu.Lock() // nobody is to take another's share of connections in its name
	defer d.mu.Unlock()
	return 2*d.by[addrPort(a).Addr()] >= l.PerAddress
}

func addrPort(a net.Addr) netip.AddrPort {
	if u, ok := a.(*net.UDPAddr); ok {
		p := u.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	p, _ := netip.ParseAddrPort(a.String())
	return p
}
