package filter

import (
	"bytes"
	"strconv"

	"swell/internal/exchange"
)

// grpcNames are the names of gRPC's status codes, by their numbers, as manifests
// write them.
var grpcNames = []string{
	"ok", "cancelled", "unknown", "invalid-argument", "deadline-exceeded", "not-found", "already-exists",
	"permission-denied", "resource-exhausted", "failed-precondition", "aborted", "out-of-range",
	"unimplemented", "internal", "unavailable", "data-loss", "unauthenticated",
}

// grpcCode returns the code of that name; -1 if there is none.
func grpcCode(name string) int {
	for i, n := range grpcNames {
		if n == name {
			return i
		}
	}
	return -1
}

var grpcType = []byte("application/grpc")

// isGRPC reports whether the request is a gRPC call (not one of gRPC-Web).
func isGRPC(x *exchange.Exchange) bool {
	t := x.Request.Header.Get(exchange.ContentType)
	return bytes.HasPrefix(t, grpcType) && (len(t) == len(grpcType) || t[len(grpcType)] == '+' || t[len(grpcType)] == ';')
}

// grpcOutcome returns the status of an answer without messages (Trailers-Only), of
// which alone it is known before anything was sent on; -1 if it is not one.
func grpcOutcome(r *exchange.Response) int {
	if r.Status != 200 {
		return -1
	}
	v, ok := r.Header.Lookup("Grpc-Status")
	if !ok && r.Body == nil {
		v, ok = r.Trailer.Lookup("Grpc-Status")
	}
	n, err := strconv.Atoi(string(v))
	if !ok || err != nil || n < 0 || n >= len(grpcNames) {
		return -1
	}
	return n
}
