package h1

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"swell/internal/exchange"
)

// Limits bound what one client may take. Zero fields mean the defaults named.
type Limits struct {
	Conns  int // connections at a time; 65536. Beyond it, idle ones are closed and new ones wait to be accepted
	Head   int // bytes of a request's head; 64 KiB, at least 4 KiB, at most 1 MiB. More is answered 431
	Target int // bytes of a request target; 32 KiB. More is answered 414
	Fields int // fields of a head, and of a trailer; 128. More is answered 431

	HeadTime  time.Duration // from a head's first byte to its last (or from accepting, for the first one); 10 s. Then 408
	IdleTime  time.Duration // between exchanges; 75 s
	ReadTime  time.Duration // without a byte of an announced request body; 60 s
	WriteTime time.Duration // without the client taking a byte of the answer; 60 s
}

// Server turns client connections into exchanges. Its fields must not change
// once Serve was called; the zero Server with a Handle is ready to use.
type Server struct {
	// Handle fills x.Response. It runs on the connection's goroutine and may
	// block. A panic in it is logged and answered 500. An exchange without a
	// status after it is answered 500.
	Handle func(x *exchange.Exchange)
	// Done is told once the answer was sent, or broke with err: ErrGone, or the
	// error of the body. x is valid until it returns. It may be nil.
	Done func(x *exchange.Exchange, err error)
	// Refused is told of requests that never became exchanges: the status that
	// they were answered, and why. It may be nil.
	Refused func(peer net.Addr, status int, why string)

	Caller string // x.Caller of every exchange
	TLS    bool   // x.TLS of every exchange
	Limits Limits

	// DrainTime bounds how long exchanges in flight may go on once ctx ended; 30 s.
	DrainTime time.Duration
	// Linger is how long an idle connection is still listened to when draining, so
	// that a request that is on its way is answered; 100 ms.
	Linger time.Duration
	// Log gets panics and accept errors; slog.Default() if nil.
	Log *slog.Logger
}

// Serve accepts connections of l until ctx ends. Then it closes l, closes idle
// connections after Linger, ends the exchanges in flight with Connection: close,
// cuts what is left after DrainTime, and returns nil when the last goroutine has
// ended. An error of l that lasts ends it at once, with that error. It may be
// called once for each of several listeners.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return errors.New("not built yet")
}
