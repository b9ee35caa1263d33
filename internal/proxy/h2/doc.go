// Package h2 turns client connections that speak HTTP/2 (RFC 9113), over TLS or in
// the clear, into exchanges.
package h2
