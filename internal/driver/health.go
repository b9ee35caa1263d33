package driver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"swell"
)

// check asks the program at addr once whether it can serve: "http" wants an
// answer of 2xx or 3xx to a GET of the path, "grpc" SERVING of the standard
// health service, and all else that the port opens. It keeps no connection.
func check(ctx context.Context, h swell.Health, addr string) error {
	switch h.Kind {
	case "http":
		return checkHTTP(ctx, h.Path, addr)
	case "grpc":
		return checkGRPC(ctx, h.Path, addr)
	}
	conn, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err
		}
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return conn, nil
}

// checkHTTP is a client for this one request: a connection each, so that an
// instance which is full can't look healthy by an old one.
func checkHTTP(ctx context.Context, path, addr string) error {
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	conn, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: swell-health\r\nAccept: */*\r\nConnection: close\r\n\r\n", path, addr)
	if err == nil {
		var answer *http.Response
		if answer, err = http.ReadResponse(bufio.NewReaderSize(conn, 4096), nil); err == nil {
			// Reading the body to its end lets the program close in peace.
			_, _ = io.CopyN(io.Discard, answer.Body, 64<<10)
			_ = answer.Body.Close()
			if answer.StatusCode < 200 || answer.StatusCode > 399 {
				return fmt.Errorf("GET %s answered %d; 2xx or 3xx would be healthy", path, answer.StatusCode)
			}
			return nil
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("GET %s: no answer in time", path)
	}
	return fmt.Errorf("GET %s: %w", path, err)
}

func checkGRPC(ctx context.Context, service, addr string) error {
	// A refused connection is cheaper found out without a client.
	probe, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	_ = probe.Close()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig())
	if err != nil {
		return fmt.Errorf("make a gRPC client for %s: %w", addr, err)
	}
	defer func() { _ = conn.Close() }()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	if err != nil {
		return fmt.Errorf("gRPC health of %q: %w", service, err)
	}
	if s := answer.GetStatus(); s != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("gRPC health of %q: it answered %s", service, s)
	}
	return nil
}
