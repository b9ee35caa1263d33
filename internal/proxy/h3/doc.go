// Package h3 turns client connections that speak HTTP/3 (RFC 9114) into exchanges.
package h3
