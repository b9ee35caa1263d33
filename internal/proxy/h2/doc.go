// Package h2 turns client connections that speak HTTP/2 (RFC 9113), over TLS or in
// the clear, into exchanges.
//
// # Reading
//
// Frames and field sections are read as the RFC has them and no other way: what it
// calls malformed ends the stream, what it calls an error of the connection ends
// that, each with the code that it names. An exchange is the same whatever version
// of HTTP carried it: there is neither Host nor Content-Length in its header, the
// target is checked as that of HTTP/1.1 is and passed on byte for byte, crumbs of
// cookies are joined. An extended CONNECT (RFC 8441) is a GET that asks for an
// upgrade; status 101 with a tunnel is answered 200.
//
// # Goroutines and time
//
// One goroutine reads a connection: what one read gave is looked at as a whole, and
// then the streams that it began are handed to goroutines that are kept for that.
// Each handles its stream and adds what it answers to the connection's writer;
// whoever finds nobody writing writes for all, after it let the others run that are
// about to add something. So the system is asked once for many streams, and a
// stream costs one awakening. The reading goroutine never writes, so a client that
// doesn't read can't keep it from reading.
//
// A request's body is held until it is asked for, within the windows of flow
// control, and the client may send more only as it is consumed. No stream sets a
// timer: one sweep over a server's connections ends what took too long.
//
// # Bounds
//
// What costs us work and the client nothing has a price in points, of which a
// connection gets some for each second and each request (see calm). Streams that
// clients reset count on as long as their handler runs, and are rationed.
package h2
