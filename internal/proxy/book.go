package proxy

import (
	"errors"
	"fmt"
	"net"
	"syscall"

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
