package conformance

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"swell"
)

// cases are the interoperability cases that need no accounts
// (grpc/doc/interop-test-descriptions.md). Those functions end the process where a
// case fails.
var cases = []struct {
	name string
	do   func(context.Context, *grpc.ClientConn)
}{
	{"empty_unary", on(interop.DoEmptyUnaryCall)},
	{"large_unary", on(interop.DoLargeUnaryCall)},
	{"client_streaming", on(interop.DoClientStreaming)},
	{"server_streaming", on(interop.DoServerStreaming)},
	{"ping_pong", on(interop.DoPingPong)},
	{"empty_stream", on(interop.DoEmptyStream)},
	{"timeout_on_sleeping_server", on(interop.DoTimeoutOnSleepingServer)},
	{"cancel_after_begin", on(interop.DoCancelAfterBegin)},
	{"cancel_after_first_response", on(interop.DoCancelAfterFirstResponse)},
	{"custom_metadata", on(interop.DoCustomMetadata)},
	{"status_code_and_message", on(interop.DoStatusCodeAndMessage)},
	{"special_status_message", on(interop.DoSpecialStatusMessage)},
	{"unimplemented_method", func(ctx context.Context, c *grpc.ClientConn) { interop.DoUnimplementedMethod(ctx, c) }},
	{"unimplemented_service", func(ctx context.Context, c *grpc.ClientConn) {
		interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(c))
	}},
}

func on(do func(context.Context, testpb.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn) {
	return func(ctx context.Context, c *grpc.ClientConn) { do(ctx, testpb.NewTestServiceClient(c)) }
}

// server starts gRPC's own server of the suite.
func server(t testing.TB, service testpb.TestServiceServer, opts ...grpc.ServerOption) (string, *grpc.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(opts...)
	testpb.RegisterTestServiceServer(s, service)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String(), s
}

// run starts a plane for the test.
func run(t testing.TB, f front) string {
	t.Helper()
	addr, end, err := f.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	return addr
}

func connect(t testing.TB, addr string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestInteroperabilityOfGRPC(t *testing.T) {
	for _, name := range []string{"in the clear", "TLS", "TLS to the service"} {
		f := front{protocol: swell.GRPC}
		creds := insecure.NewCredentials()
		var opts []grpc.ServerOption
		if name != "in the clear" {
			cert, roots := selfSigned(t)
			f.cert, creds = &cert, credentials.NewTLS(clientTLS(roots))
			if name == "TLS to the service" {
				its, err := credentials.NewServerTLSFromFile(cert.Cert, cert.Key)
				if err != nil {
					t.Fatal(err)
				}
				opts = append(opts, grpc.Creds(its))
				f.tls = &swell.UpstreamTLS{CA: cert.Cert}
			}
		}
		t.Run(name, func(t *testing.T) {
			f.upstream, _ = server(t, interop.NewTestServer(), opts...)
			c := connect(t, run(t, f), creds)
			for _, k := range cases {
				t.Run(k.name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					k.do(ctx, c)
				})
			}
		})
	}
}

// left tells what the server saw of a call's deadline.
type left struct {
	testpb.UnimplementedTestServiceServer
	deadline chan time.Duration
	ended    chan error
}

func (s *left) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	d, _ := ctx.Deadline()
	s.deadline <- time.Until(d)
	if v := metadata.ValueFromIncomingContext(ctx, "wait"); len(v) > 0 {
		<-ctx.Done()
		s.ended <- ctx.Err()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return &testpb.Empty{}, nil
}

func TestDeadlinesAndCancellationGoThrough(t *testing.T) {
	s := &left{deadline: make(chan time.Duration, 1), ended: make(chan error, 1)}
	addr, grpcServer := server(t, s)
	gateway := run(t, front{upstream: addr, protocol: swell.GRPC})
	c := testpb.NewTestServiceClient(connect(t, gateway, insecure.NewCredentials()))

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	if _, err := c.EmptyCall(ctx, &testpb.Empty{}); err != nil {
		t.Fatal(err)
	}
	if d := <-s.deadline; d <= 0 || d > 50*time.Second {
		t.Errorf("%v were left at the server", d)
	}
	cancel()

	ctx, cancel = context.WithTimeout(context.Background(), 300*time.Millisecond)
	_, err := c.EmptyCall(metadata.AppendToOutgoingContext(ctx, "wait", "1"), &testpb.Empty{})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the deadline passed: %v", err)
	}
	<-s.deadline
	<-s.ended
	cancel()

	ctx, cancel = context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		_, err := c.EmptyCall(metadata.AppendToOutgoingContext(ctx, "wait", "1"), &testpb.Empty{})
		result <- err
	}()
	<-s.deadline
	cancel()
	if err := <-result; status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	if err := <-s.ended; err != context.Canceled {
		t.Errorf("the server heard %v", err)
	}

	grpcServer.Stop()
	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err = c.EmptyCall(ctx, &testpb.Empty{}); status.Code(err) != codes.Unavailable {
		t.Errorf("nobody serves: %v", err)
	}
}
