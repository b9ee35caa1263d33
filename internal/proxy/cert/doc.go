// Package cert keeps certificates: from files that may change, and from a
// certificate authority by ACME; and the TLS configurations that use them.
//
// A [Keeper] watches files, asks OCSP responders and runs ACME in the background. A
// [Server] is the TLS of a gateway's listeners: what it is told by a snapshot and
// what changes on disk becomes a new configuration behind one atomic pointer, which
// the next handshake loads; a connection keeps what it began with. A [Client] is the
// same for connections to a service.
package cert
