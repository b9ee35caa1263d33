// Package pool carries exchanges to upstreams over HTTP/2 (RFC 9113), many on one
// connection.
package pool
