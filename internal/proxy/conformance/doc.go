// Package conformance holds the suites of others that the data plane passes, as
// tests: gRPC's interoperability cases, and Connect's for the protocols Connect,
// gRPC and gRPC-Web.
package conformance
