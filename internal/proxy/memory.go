package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"swell"
)

// Memory is a network in this process: a book, and the dialer that reaches what
// was opened in it. Tests in virtual time run on it, and simulations. The zero
// Memory is ready to use.
type Memory struct {
	mu        sync.Mutex
	edges     map[swell.Edge]string
	listeners map[string]*pipeListener
	next      int
}

var _ Book = (*Memory)(nil)

// Address implements [Book].
func (m *Memory) Address(edge swell.Edge) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, ok := m.edges[edge]; ok {
		return a, nil
	}
	if m.edges == nil {
		m.edges = map[swell.Edge]string{}
	}
	m.next++
	a := fmt.Sprintf("127.1.%d.%d:80", m.next>>8, m.next&255)
	m.edges[edge] = a
	return a, nil
}

// Listen implements [Book]. Servers of a test may listen with it too.
func (m *Memory) Listen(name, addr string) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listeners[addr] != nil {
		return nil, &ListenError{Name: name, Addr: addr, Err: syscall.EADDRINUSE}
	}
	if m.listeners == nil {
		m.listeners = map[string]*pipeListener{}
	}
	l := &pipeListener{net: m, addr: memoryAddr(addr), conns: make(chan net.Conn, 128), closed: make(chan struct{})}
	m.listeners[addr] = l
	return l, nil
}

// ListenPacket implements [Book]: there are no packets here.
func (m *Memory) ListenPacket(name, addr string) (net.PacketConn, error) {
	return nil, &ListenError{Name: name, Addr: addr, Err: errors.ErrUnsupported}
}

// Close implements [Book]; there is nothing to close.
func (m *Memory) Close() error { return nil }

// Dial connects to what listens on addr. It is refused if nothing does.
func (m *Memory) Dial(ctx context.Context, addr string) (net.Conn, error) {
	m.mu.Lock()
	l := m.listeners[addr]
	m.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "memory", Addr: memoryAddr(addr), Err: syscall.ECONNREFUSED}
	if l == nil {
		return nil, refused
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }

type pipeListener struct {
	net    *Memory
	addr   memoryAddr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		if l.net.listeners[string(l.addr)] == l {
			delete(l.net.listeners, string(l.addr))
		}
		l.net.mu.Unlock()
		close(l.closed)
		for { // those that nobody accepted are cut, as a kernel does
			select {
			case c := <-l.conns:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}

func (l *pipeListener) Addr() net.Addr { return l.addr }
