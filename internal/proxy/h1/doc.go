// Package h1 speaks HTTP/1.1 on both sides of the data plane: a [Server] turns
// client connections into exchanges, a [Pool] carries exchanges to upstreams.
//
// # Reading
//
// Heads are read as RFC 9112 has them and no other way: whatever two readers
// could take for two different messages is refused. A message that is forwarded
// was written anew from what was understood, so no byte of framing passes
// through. The request target is the exception that proves the rule: it is
// checked and passed on byte for byte.
//
// In an exchange's headers there is neither Host (Request.Host has it), nor
// Content-Length and Transfer-Encoding (Length has them), nor any hop-by-hop
// field (Connection and what it names, Keep-Alive, Proxy-Connection, Upgrade,
// HTTP2-Settings, TE but for "trailers"), nor Expect. The codec makes them again
// on the other side. Forwarding fields (Via, X-Forwarded-*) are not its matter.
//
// A CONNECT is the method, the authority in Host and "/" for a target; what follows its
// head belongs to the tunnel. Upgrades are passed on, but for those to protocols that
// carry HTTP again (h2c, TLS, HTTP/x). A client that closes its half of the connection
// may still be waiting: see Limits.HalfTime.
//
// # Goroutines and time
//
// A client connection is one goroutine, which runs Handle inline and, in
// RoundTrip, writes to and reads from the upstream itself; after a second without
// a request it is none, and one goroutine waits for all such connections. Only a
// request body that isn't there yet, and a tunnel, take a second one, which the first
// waits for. No request sets a deadline or a timer: a sweep over the connections, every
// 10 ms while anything is under way and not at all otherwise, ends what took too
// long and finds out whether clients of slow answers are still there. Timeouts
// are therefore late by up to two sweeps.
//
// Connections without a file descriptor (net.Pipe, tests in virtual time) work
// alike, without the system calls.
package h1
