// Package cert keeps certificates: from files that may change, and from a
// certificate authority by ACME; and the TLS configurations that use them.
package cert
