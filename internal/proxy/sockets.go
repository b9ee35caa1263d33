package proxy

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"swell"
	"swell/internal/inherit"
)

// TCP is the book of real sockets, TCP and UDP. Edges are at free ports of
// 127.0.0.1. The zero TCP is ready to use.
type TCP struct {
	// Inherited are sockets of another process, which are taken over instead of
	// opening new ones: by the address, and of edges by their name. It may be nil.
	Inherited *inherit.Sockets

	mu    sync.Mutex
	edges map[swell.Edge]*held
	open  map[place]any // a *net.TCPListener or *net.UDPConn, perhaps closed by its user meanwhile
}

// place is where a socket was asked for, in the asker's words.
type place struct{ network, addr string }

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
	l, err := b.Inherited.Named(edgeName(edge))
	if l == nil && err == nil {
		l, err = net.Listen("tcp", addr)
	}
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
	l, err := b.Inherited.Listener(addr)
	if l == nil && err == nil {
		l, err = net.Listen("tcp", addr)
	}
	if err != nil {
		return nil, &ListenError{Name: name, Addr: addr, Err: err}
	}
	if at != nil {
		at.l, at.taken = l, true
		return &lease{Listener: l, book: b, of: at}, nil
	}
	b.note(place{"tcp", addr}, l)
	return l, nil
}

// ListenPacket implements [Book].
func (b *TCP) ListenPacket(name, addr string) (net.PacketConn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, err := b.Inherited.Packet(addr)
	if c == nil && err == nil {
		c, err = net.ListenPacket("udp", addr)
	}
	if err != nil {
		return nil, &ListenError{Name: name, Addr: addr, Err: err}
	}
	b.note(place{"udp", addr}, c)
	return c, nil
}

// note remembers what is open. The caller holds mu.
func (b *TCP) note(at place, socket any) {
	if b.open == nil {
		b.open = map[place]any{}
	}
	b.open[at] = socket
}

// Sockets returns duplicates of all sockets that are open, for a process that is to
// listen on them too. They are the caller's to close.
func (b *TCP) Sockets() ([]inherit.Socket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []inherit.Socket
	fail := func(err error) ([]inherit.Socket, error) {
		for _, s := range out {
			_ = s.File.Close()
		}
		return nil, err
	}
	for e, h := range b.edges {
		if h.l == nil {
			continue
		}
		f, err := inherit.File(h.l)
		if err != nil {
			return fail(err)
		}
		out = append(out, inherit.Socket{Name: edgeName(e), Network: "tcp", Asked: h.addr, Addr: h.addr, File: f})
	}
	for at, s := range b.open {
		f, err := inherit.File(s)
		if errors.Is(err, net.ErrClosed) {
			delete(b.open, at) // its user needs it no more
			continue
		}
		if err != nil {
			return fail(err)
		}
		x := inherit.Socket{Name: at.network + " " + at.addr, Network: at.network, Asked: at.addr, File: f}
		switch s := s.(type) {
		case net.Listener:
			x.Addr = s.Addr().String()
		case net.PacketConn:
			x.Addr = s.LocalAddr().String()
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b inherit.Socket) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
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
