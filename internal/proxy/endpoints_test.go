//go:build linux && !race

// All of 127.0.0.0/8 is this machine on Linux, so one instance has as many addresses
// as are wanted.

package proxy

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"syscall"
	"testing"

	"swell"
)

// BenchmarkEndpoints is a request through the gateway with 1, 100 and 5,000 endpoints,
// by each balancer: what the data plane does must not cost more with more of them. The
// client and the instances are in the same process and count too, and so does what
// thousands of connections in use cost the system, which a subset spares.
func BenchmarkEndpoints(b *testing.B) {
	_, port, err := net.SplitHostPort(constantAt(b, "0.0.0.0:0"))
	if err != nil {
		b.Fatal(err)
	}
	for _, balancer := range allBalancers {
		for _, some := range []struct{ endpoints, subset int }{{1, 0}, {100, 0}, {5000, 100}, {5000, 0}} {
			n := some.endpoints
			b.Run(fmt.Sprintf("%s/%d of %d", balancer, cmp.Or(some.subset, n), n), func(b *testing.B) {
				bed := newBed(b)
				u := swell.Upstream{Service: "s", Protocol: "http"}
				u.Balance.Name = balancer
				if balancer == "maglev" || balancer == "ring-hash" {
					u.Balance.Options = []byte(`{"by":"path"}`)
				}
				u.Spread.Subset = some.subset
				for i := range n {
					u.Endpoints = append(u.Endpoints, swell.Endpoint{
						ID: fmt.Sprintf("s-%05d", i), Addr: fmt.Sprintf("127.1.%d.%d:%s", i>>7, 1+i&127, port), Weight: 1, Revision: "r",
					})
				}
				bed.set(one(u))
				c, err := net.Dial("tcp", bed.addr)
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				buf := make([]byte, 4096)
				i := 0
				ask := func() {
					i++
					fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n", i%256)
					for n := 0; !bytes.HasSuffix(buf[:n], []byte("xxxxx")); {
						k, err := c.Read(buf[n:])
						if err != nil {
							b.Fatalf("after %q: %v", buf[:n], err)
						}
						n += k
					}
				}
				for range 3 * cmp.Or(some.subset, n) { // connections
					ask()
				}
				b.ReportAllocs()
				before := cpu()
				for b.Loop() {
					ask()
				}
				b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// cpu is what the process has used, in nanoseconds: on a busy machine it says more
// than the time that passed.
func cpu() int64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return r.Utime.Nano() + r.Stime.Nano()
}
