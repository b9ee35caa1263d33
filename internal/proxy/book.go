package proxy

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"swell"
)

// Book opens the data plane's listeners, and knows where each edge is reached. Its
// methods may be called from any goroutine.
type Book interface {
	// Address returns where the caller of an edge reaches its callee: host:port. It
	// is chosen, and held open, on the first call, and stays as long as the process.
	Address(edge swell.Edge) (string, error)
	// Listen opens addr, or takes over what Address holds open there. name says in
	// messages what for. An address that can't be had is a [*ListenError].
	Listen(name, addr string) (net.Listener, error)
	// ListenPacket opens addr for packets (UDP). An address that can't be had is a
	// [*ListenError]; so is a book that knows no packets.
	ListenPacket(name, addr string) (net.PacketConn, error)
	// Close closes what is held open and was not taken over.
	Close() error
}

// ListenError says that an address can't be listened on, and what to do about it.
type ListenError struct {
	Name string // what for: "gateway", or "web to catalog"
	Addr string
	Err  error
}

// Error says what, where and what would be right.
func (e *ListenError) Error() string {
	advice := ""
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		advice = ": another program has that port; end it, or choose another address"
	case errors.Is(e.Err, syscall.EACCES):
		advice = ": ports below 1024 need a privilege; choose a higher one"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		advice = ": this machine has no such address; leave the host out to listen on all"
	}
	if advice != "" && e.Name == gatewayName {
		advice += " in gateway.listen"
	}
	return fmt.Sprintf("listen on %s for the %s: %v%s", e.Addr, e.Name, cause(e.Err), advice)
}

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// cause takes the wrapping off that repeats the address.
func cause(err error) error {
	var sys syscall.Errno
	if errors.As(err, &sys) {
		return sys
	}
	return err
}

const gatewayName = "gateway"

// TCP is the book of real sockets. Edges are at free ports of 127.0.0.1. The zero
// TCP is ready to use.
type TCP struct {
	mu    sync.Mutex
	edges map[swell.Edge]*held
}

var _ Book = (*TCP)(nil)

// held is the socket of one edge.
type held struct {
	addr  string
	l     net.Listener // nil while it is neither held nor taken
	taken bool
}

// Address implements [Book].
func (b *TCP) Address(edge swell.Edge) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.edges[edge]
	if h != nil && h.l != nil {
		return h.addr, nil
	}
	addr := "127.0.0.1:0"
	if h != nil {
		addr = h.addr // it was there before: its callers know the port
	}
	l, err := net.Listen("tcp", addr)
	if err != nil && h != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return "", &ListenError{Name: edgeName(edge), Addr: addr, Err: err}
	}
	if b.edges == nil {
		b.edges = map[swell.Edge]*held{}
	}
	b.edges[edge] = &held{addr: l.Addr().String(), l: l}
	return l.Addr().String(), nil
}

// Listen implements [Book].
func (b *TCP) Listen(name, addr string) (net.Listener, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var at *held
	for _, h := range b.edges {
		if h.addr == addr {
			at = h
		}
	}
	if at != nil && at.l != nil && !at.taken {
		at.taken = true
		return &lease{Listener: at.l, book: b, of: at}, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &ListenError{Name: name, Addr: addr, Err: err}
	}
	if at != nil {
		at.l, at.taken = l, true
		return &lease{Listener: l, book: b, of: at}, nil
	}
	return l, nil
}

// ListenPacket implements [Book].
func (b *TCP) ListenPacket(name, addr string) (net.PacketConn, error) {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, &ListenError{Name: name, Addr: addr, Err: err}
	}
	return c, nil
}

// Close implements [Book].
func (b *TCP) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.edges {
		if h.l != nil && !h.taken {
			_ = h.l.Close()
			h.l = nil
		}
	}
	return nil
}

// lease is an edge's listener in use. When it is closed, the book forgets the
// socket but not its port.
type lease struct {
	net.Listener
	book *TCP
	of   *held
}

func (l *lease) Close() error {
	l.book.mu.Lock()
	if l.of.l == l.Listener {
		l.of.l, l.of.taken = nil, false
	}
	l.book.mu.Unlock()
	return l.Listener.Close()
}

// SetDeadline lets a server take what was accepted already before it closes.
func (l *lease) SetDeadline(t time.Time) error {
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		return d.SetDeadline(t)
	}
	return errors.ErrUnsupported
}

func edgeName(e swell.Edge) string { return "edge from " + e.Caller + " to " + e.Callee }
