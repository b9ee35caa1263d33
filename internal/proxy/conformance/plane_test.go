package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"swell"
	"swell/internal/latest"
	"swell/internal/proxy"
	"swell/internal/telemetry"
)

// feed is a feed from a cell.
type feed struct {
	latest.Cell[*swell.Snapshot]
	refused chan error
}

func (f *feed) Follow(ctx context.Context, use func(*swell.Snapshot) error) error {
	return f.Cell.Follow(ctx, func(s *swell.Snapshot) error {
		if err := use(s); err != nil {
			select {
			case f.refused <- err:
			default:
			}
		}
		return nil
	})
}

// front is what a plane is to be.
type front struct {
	upstream string // host:port
	protocol swell.Protocol
	tls      *swell.UpstreamTLS
	cert     *swell.Certificate // nil: in the clear
	clients  *swell.Clients
	http3    bool
	use      []swell.Use // of the service
}

// start runs a plane with one service behind one route, and returns its address and
// what ends it.
func (f front) start() (addr string, end func() error, err error) {
	for range 10 { // the port may be taken by the time it is asked for
		if addr, err = freeAddr(); err != nil {
			return "", nil, err
		}
		if end, err = f.startAt(addr); err == nil {
			return addr, end, nil
		}
	}
	return "", nil, err
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (f front) startAt(addr string) (func() error, error) {
	out := io.Discard
	if os.Getenv("SWELL_CONFORMANCE_LOG") != "" {
		out = os.Stderr
	}
	p := proxy.New(proxy.Options{Hub: telemetry.New(telemetry.Options{}), Drain: time.Second,
		Log: slog.New(slog.NewTextHandler(out, nil))})
	g := swell.Gateway{Listen: addr}
	if f.cert != nil {
		g = swell.Gateway{TLS: &swell.TLS{Listen: addr, Certificates: []swell.Certificate{*f.cert}, Clients: f.clients, HTTP3: f.http3}}
	}
	g.Routes = []swell.Route{{Name: "all", Match: swell.Match{Path: "/**"}, To: []swell.Target{{Service: "s", Weight: 1}}}}
	feed := &feed{refused: make(chan error, 1)}
	feed.Set(&swell.Snapshot{Version: 1, App: "conformance", Gateway: g, Upstreams: []swell.Upstream{{
		Service: "s", Protocol: f.protocol, TLS: f.tls, Use: f.use, Hold: swell.Hold{Max: 1000, Timeout: time.Second},
		Endpoints: []swell.Endpoint{{ID: "s-1", Addr: f.upstream, Weight: 1, Revision: "r"}},
	}}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, feed) }()
	end := func() error {
		cancel()
		select {
		case err := <-ended:
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		case <-time.After(30 * time.Second):
			return errors.New("the plane does not end")
		}
	}
	for limit := time.After(20 * time.Second); p.Version() != 1; {
		select {
		case err := <-feed.refused:
			_ = end()
			return nil, err
		case <-limit:
			_ = end()
			return nil, fmt.Errorf("no plane at %s in time", addr)
		case <-time.After(time.Millisecond):
		}
	}
	return end, nil
}
