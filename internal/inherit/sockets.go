// Package inherit takes over what another process opened, and passes on what this
// one has: listening sockets from systemd's socket activation or from the Swell
// before, messages with files between two Swells, and word to systemd of how it is
// going.
package inherit

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
)

// Socket is a listening socket that was, or is to be, handed to a process.
type Socket struct {
	Name    string   `json:"name,omitempty"`  // what it is for, in its giver's words
	Network string   `json:"network"`         // "tcp" or "udp"
	Asked   string   `json:"asked,omitempty"` // the address as it was asked for: host:port
	Addr    string   `json:"addr"`            // where it is in fact
	File    *os.File `json:"-"`
}

// Sockets are inherited sockets that nobody took yet. Its methods may be called from
// any goroutine; a nil Sockets holds none.
type Sockets struct {
	mu   sync.Mutex
	rest []Socket
}

// NewSockets makes a set of what was handed over. It owns the files from then on.
func NewSockets(list []Socket) *Sockets { return &Sockets{rest: slices.Clone(list)} }

// take removes and returns the socket that ok wants.
func (s *Sockets) take(ok func(*Socket) bool) (Socket, bool) {
	if s == nil {
		return Socket{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.rest {
		if ok(&s.rest[i]) {
			found := s.rest[i]
			s.rest = slices.Delete(s.rest, i, i+1)
			return found, true
		}
	}
	return Socket{}, false
}

// find takes the socket of an address: the one that was asked for in the same
// words, else the one that is where the words lead.
func (s *Sockets) find(network, addr string) (Socket, bool) {
	x, ok := s.take(func(x *Socket) bool { return x.Network == network && x.Asked == addr })
	if !ok {
		x, ok = s.take(func(x *Socket) bool { return x.Network == network && same(addr, x.Addr) })
	}
	return x, ok
}

// Listener takes the TCP socket of addr; nil if there is none. A socket that can't
// be used is an error, and is closed.
func (s *Sockets) Listener(addr string) (net.Listener, error) {
	x, ok := s.find("tcp", addr)
	if !ok {
		return nil, nil
	}
	return x.listen()
}

// Named takes the TCP socket of that name, wherever it is; nil if there is none.
func (s *Sockets) Named(name string) (net.Listener, error) {
	x, ok := s.take(func(x *Socket) bool { return x.Network == "tcp" && x.Name == name })
	if !ok {
		return nil, nil
	}
	return x.listen()
}

func (x Socket) listen() (net.Listener, error) {
	defer func() { _ = x.File.Close() }()
	l, err := net.FileListener(x.File)
	if err != nil {
		return nil, fmt.Errorf("take over the socket at %s: %w", x.Addr, err)
	}
	return l, nil
}

// Packet takes the UDP socket of addr; nil if there is none.
func (s *Sockets) Packet(addr string) (net.PacketConn, error) {
	x, ok := s.find("udp", addr)
	if !ok {
		return nil, nil
	}
	defer func() { _ = x.File.Close() }()
	c, err := net.FilePacketConn(x.File)
	if err != nil {
		return nil, fmt.Errorf("take over the socket at %s: %w", x.Addr, err)
	}
	return c, nil
}

// Close closes what nobody took and returns it, for a report.
func (s *Sockets) Close() []Socket {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.rest
	s.rest = nil
	for i := range left {
		_ = left[i].File.Close()
		left[i].File = nil
	}
	return left
}

// same reports whether an address that is asked for is where a socket is. No host
// and each of the two wildcards are one: Go listens on all addresses for them.
func same(asked, at string) bool {
	host, port, err := net.SplitHostPort(asked)
	if err != nil {
		return false
	}
	to, err := netip.ParseAddrPort(at)
	if err != nil {
		return false
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n != int(to.Port()) {
		return false
	}
	ip := to.Addr().Unmap()
	if host == "" {
		return ip.IsUnspecified()
	}
	if strings.EqualFold(host, "localhost") {
		return ip.IsLoopback()
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	a = a.Unmap()
	return a == ip || a.IsUnspecified() && ip.IsUnspecified()
}

// File returns a duplicate of a listener's or packet connection's socket. Unlike
// their own File it leaves the socket's mode alone, which both ends share.
func File(socket any) (*os.File, error) { return duplicate(socket) }
