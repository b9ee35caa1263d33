package h2_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"

	"swell/internal/exchange"
	"swell/internal/proxy/h1"
	"swell/internal/proxy/h2"
)

// listen serves HTTP/2 on a listener of its own until the test ends.
func listen(t testing.TB, s *h2.Server, conf *tls.Config) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if conf == nil {
					s.Serve(ctx, nc, netip.AddrPort{}, nil, nil)
					return
				}
				tc := tls.Server(nc, conf)
				if tc.Handshake() != nil {
					_ = nc.Close()
					return
				}
				st := tc.ConnectionState()
				s.Serve(ctx, tc, netip.AddrPort{}, &st, nil)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// relay is a server that forwards to the HTTP/1.1 upstream at addr.
func relay(t testing.TB, addr string) *h2.Server {
	p := h1.NewPool(h1.PoolOptions{})
	t.Cleanup(p.Close)
	return &h2.Server{Handle: func(x *exchange.Exchange) {
		if err := p.RoundTrip(x, addr); err != nil {
			x.Reply(exchange.Status(err), err.Error())
		}
	}}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
