// Package pool carries exchanges to upstreams over HTTP/2 (RFC 9113), many on one
// connection.
//
// A connection has one goroutine, which reads. Frames are queued under the
// connection's lock and written by whoever queued the first of them, so that
// streams which speak at the same time share a write; what a socket does not take
// at once is left to a goroutine of its own, so that nobody is held up by a peer
// that does not read. What is read for a stream waits in the stream, and its
// window opens as its reader reads: a slow client holds up nobody else.
package pool
