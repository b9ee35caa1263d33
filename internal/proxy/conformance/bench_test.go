package conformance

import (
	"context"
	"testing"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"swell"
)

// BenchmarkCalls is unary calls, straight to gRPC's server and through a plane: the
// difference is the plane's, and all three share the processors.
func BenchmarkCalls(b *testing.B) {
	for _, name := range []string{"direct", "plane"} {
		b.Run(name, func(b *testing.B) {
			addr, _ := server(b, interop.NewTestServer())
			if name == "plane" {
				addr = run(b, front{upstream: addr, protocol: swell.GRPC})
			}
			c := testpb.NewTestServiceClient(connect(b, addr, insecure.NewCredentials()))
			ctx := context.Background()
			if _, err := c.EmptyCall(ctx, &testpb.Empty{}); err != nil {
				b.Fatal(err)
			}
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.EmptyCall(ctx, &testpb.Empty{}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
