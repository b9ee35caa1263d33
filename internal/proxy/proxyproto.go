package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"swell/internal/exchange"

	"github.com/pires/go-proxyproto"
)

// The PROXY protocol (HAProxy's, versions 1 and 2) tells in front of a connection
// for whom it was made.

// Bounds of a header: a line of version 1 has 107 bytes at most, by its
// specification; of version 2, whose vectors may be of any kind, this much is taken.
const (
	mostProxyLine = 107
	mostProxyBody = 2 << 10
)

var proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")

var errNoProxyHeader = errors.New("a PROXY header is missing or malformed")

// readProxy reads the header that a connection must begin with, and no byte more. It
// returns the client's address; the zero one if the proxy speaks for itself (a check
// of health) or does not know it.
func readProxy(r io.Reader) (netip.AddrPort, error) {
	var none netip.AddrPort
	var buf [16 + mostProxyBody]byte
	// Neither version is shorter than "PROXY UNKNOWN" with its line end.
	n, err := io.ReadFull(r, buf[:15])
	if err != nil {
		if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			err = errNoProxyHeader
		}
		return none, err
	}
	switch {
	case bytes.HasPrefix(buf[:], proxyV2):
		if _, err := io.ReadFull(r, buf[15:16]); err != nil {
			return none, err
		}
		n = 16 + int(binary.BigEndian.Uint16(buf[14:16]))
		if n > len(buf) {
			return none, fmt.Errorf("%w: it has %d bytes", errNoProxyHeader, n)
		}
		if _, err := io.ReadFull(r, buf[16:n]); err != nil {
			return none, err
		}
	case bytes.HasPrefix(buf[:], []byte("PROXY ")):
		for buf[n-1] != '\n' {
			if n == mostProxyLine {
				return none, fmt.Errorf("%w: its line does not end", errNoProxyHeader)
			}
			if _, err := io.ReadFull(r, buf[n:n+1]); err != nil {
				return none, err
			}
			n++
		}
	default:
		return none, errNoProxyHeader
	}
	rest := bytes.NewReader(buf[:n])
	h, err := proxyproto.Read(bufio.NewReaderSize(rest, n))
	if err != nil {
		return none, fmt.Errorf("%w: %w", errNoProxyHeader, err)
	}
	if h.Command.IsLocal() {
		return none, nil
	}
	if !h.TransportProtocol.IsStream() {
		return none, fmt.Errorf("%w: it is of packets", errNoProxyHeader)
	}
	src, _, ok := h.TCPAddrs()
	if !ok {
		return none, nil // of a Unix socket
	}
	a := src.AddrPort()
	if !a.Addr().IsValid() {
		return none, errNoProxyHeader
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}

// proxyHeader makes the header of a version for the exchange that a connection is
// made for; without one it says that the connection is our own.
func proxyHeader(version int, x *exchange.Exchange) ([]byte, error) {
	h := &proxyproto.Header{Version: byte(version), Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if x != nil && x.Peer.IsValid() {
		to := x.Local
		if !to.IsValid() {
			to = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
			if x.Peer.Addr().Unmap().Is6() {
				to = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
			}
		}
		from := netip.AddrPortFrom(x.Peer.Addr().Unmap(), x.Peer.Port())
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		h.Command, h.TransportProtocol = proxyproto.PROXY, proxyproto.TCPv4
		if from.Addr().Is6() || to.Addr().Is6() {
			h.TransportProtocol = proxyproto.TCPv6
			// Both must be of one family; in version 1 a mapped address would be written as
			// an IPv4 one, which its specification forbids.
			if version == 1 && from.Addr().Is6() != to.Addr().Is6() {
				if from.Addr().Is6() {
					to = netip.AddrPortFrom(netip.IPv6Unspecified(), to.Port())
				} else {
					h.TransportProtocol = proxyproto.TCPv4
					to = netip.AddrPortFrom(netip.IPv4Unspecified(), to.Port())
				}
			}
		}
		h.SourceAddr, h.DestinationAddr = net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to)
	}
	b, err := h.Format()
	if err != nil {
		return nil, fmt.Errorf("PROXY header: %w", err)
	}
	return b, nil
}

// sendProxy writes the header that a service wants its connections to begin with.
// The connection is closed on an error.
func sendProxy(ctx context.Context, nc net.Conn, version int) error {
	b, err := proxyHeader(version, exchange.FromContext(ctx))
	if err == nil {
		if d, ok := ctx.Deadline(); ok {
			_ = nc.SetWriteDeadline(d)
		}
		if _, err = nc.Write(b); err == nil {
			return nc.SetWriteDeadline(time.Time{})
		}
		err = fmt.Errorf("send PROXY header: %w", err)
	}
	_ = nc.Close()
	return err
}
