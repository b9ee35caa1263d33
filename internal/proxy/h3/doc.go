// Package h3 turns client connections that speak HTTP/3 (RFC 9114) into exchanges.
//
// QUIC, QPACK and the framing are quic-go's; this package makes exchanges of its
// requests, and what is true of the other codecs true of this one: a body that
// breaks never looks like a whole one, bodies are passed on as they come and only as
// fast as they are taken, a client that leaves is noticed, everything is bounded.
package h3
