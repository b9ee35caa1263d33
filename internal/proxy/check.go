package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"swell"
	"swell/internal/exchange"
)

// check asks once whether e serves, in the way that the service's health says: a
// connection, made as those of requests are; an answer of 2xx or 3xx to an HTTP path;
// or gRPC's health protocol.
func (s *service) check(ctx context.Context, e *endpoint) error {
	s.mu.Lock()
	h := s.health
	s.mu.Unlock()
	limit := h.Timeout
	if limit <= 0 {
		limit = probeTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	via := s.transport.Load()
	http2 := via.protocol == swell.HTTP2 || via.protocol == swell.GRPC
	path := h.Kind == "http" && h.Path != "" && via.protocol != swell.TCP
	switch {
	case h.Kind == "grpc" && http2:
		return askGRPC(ctx, via, e.spec.Addr, h.Path)
	case path && http2:
		return askHTTP2(ctx, via, e.spec.Addr, h.Path)
	}
	dial := via.dial
	if path {
		dial = via.probe
	}
	c, err := dial(ctx, e.spec.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if !path {
		return nil
	}
	return ask(ctx, c, e.spec.Addr, h)
}

func ask(ctx context.Context, c net.Conn, addr string, h swell.Health) error {
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: swell-health\r\nConnection: close\r\n\r\n", h.Path, addr); err != nil {
		return fmt.Errorf("ask %s: %w", h.Path, err)
	}
	line, err := bufio.NewReaderSize(c, 1024).ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("ask %s: %w", h.Path, err)
	}
	parts := strings.SplitN(string(line), " ", 3)
	if len(parts) < 2 || !strings.HasPrefix(parts[0], "HTTP/1.") {
		return fmt.Errorf("ask %s: the answer is not HTTP", h.Path)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(parts[1])); err != nil || n < 200 || n > 399 {
		return fmt.Errorf("ask %s: status %s", h.Path, strings.TrimSpace(parts[1]))
	}
	return nil
}

// question makes a request of our own, which ends when ctx does.
func question(ctx context.Context, method, addr, target string) (x *exchange.Exchange, stop func() bool) {
	x = &exchange.Exchange{Start: exchange.Now(), Leash: new(exchange.Leash)}
	x.Gone = x.Leash.Gone
	x.Deadline, _ = ctx.Deadline()
	rq := &x.Request
	rq.Method, rq.Target, rq.Host, rq.Major = method, []byte(target), []byte(addr), 2
	rq.Header.Set(exchange.UserAgent, "swell-health")
	return x, context.AfterFunc(ctx, x.Leash.Leave)
}

// askHTTP2 asks for a path over the service's own connections.
func askHTTP2(ctx context.Context, via transport, addr, path string) error {
	x, stop := question(ctx, "GET", addr, path)
	defer stop()
	if err := via.RoundTrip(x, addr); err != nil {
		return fmt.Errorf("ask %s: %w", path, err)
	}
	defer x.Response.Drop()
	if n := x.Response.Status; n < 200 || n > 399 {
		return fmt.Errorf("ask %s: status %d", path, n)
	}
	return nil
}

// askGRPC asks by grpc.health.v1 (grpc/doc/health-checking.md), as an exchange over
// the service's own connections, whether a service is SERVING there; "" asks for the
// server as a whole. The two messages are written and read by hand: each has one field.
func askGRPC(ctx context.Context, via transport, addr, service string) error {
	const method = "/grpc.health.v1.Health/Check"
	message := []byte{0, 0, 0, 0, 0} // not compressed; its length is filled in
	if service != "" {
		if len(service) > 1<<12 {
			return errors.New("the name of the gRPC service to ask for is too long")
		}
		message = append(message, 1<<3|2) // field 1, a string
		if len(service) > 127 {
			message = append(message, byte(len(service))|0x80, byte(len(service)>>7))
		} else {
			message = append(message, byte(len(service)))
		}
		message = append(message, service...)
	}
	message[3], message[4] = byte((len(message)-5)>>8), byte(len(message)-5)

	x, stop := question(ctx, "POST", addr, method)
	defer stop()
	rq := &x.Request
	rq.Header.Set(exchange.ContentType, "application/grpc")
	rq.Header.Set(exchange.TE, "trailers")
	rq.Length, rq.Body = int64(len(message)), exchange.Bytes(message)
	if err := via.RoundTrip(x, addr); err != nil {
		return fmt.Errorf("ask by gRPC: %w", err)
	}
	defer x.Response.Drop()
	if x.Response.Status != 200 {
		return fmt.Errorf("ask by gRPC: HTTP status %d", x.Response.Status)
	}
	var answer []byte
	for x.Response.Body != nil {
		part, err := x.Response.Body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("ask by gRPC: %w", err)
		}
		if answer = append(answer, part...); len(answer) > 64 {
			return errors.New("ask by gRPC: the answer is longer than a health check's can be")
		}
	}
	status, ok := x.Response.Trailer.Lookup("grpc-status")
	if !ok {
		status, ok = x.Response.Header.Lookup("grpc-status") // an answer of trailers only
	}
	if !ok || string(status) != "0" {
		return fmt.Errorf("ask by gRPC: grpc-status %q", status)
	}
	if !serving(answer) {
		return errors.New("ask by gRPC: it is not serving")
	}
	return nil
}

// serving reports whether a HealthCheckResponse has the status SERVING, which is
// field 1, an enumeration, with the value 1.
func serving(message []byte) bool {
	return len(message) == 7 && message[0] == 0 && message[4] == 2 && message[5] == 1<<3 && message[6] == 1
}
