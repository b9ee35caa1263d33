package proxy

import (
	"bytes"
	"strconv"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
)

// What a data plane does for gRPC (grpc/doc/PROTOCOL-HTTP2.md) beside carrying it:
// it keeps the deadline that a call brings and passes on what is left of it, its own
// failures are answered as gRPC's, and a call's status counts as what it means.

// grpcCode is a status of gRPC (google.rpc.Code).
type grpcCode int

// The statuses that the data plane gives itself, and those that it knows apart.
const (
	grpcOK            grpcCode = 0
	grpcCancelled     grpcCode = 1
	grpcInvalid       grpcCode = 3
	grpcDeadline      grpcCode = 4
	grpcExhausted     grpcCode = 8
	grpcUnimplemented grpcCode = 12
	grpcInternal      grpcCode = 13
	grpcUnavailable   grpcCode = 14
)

// Names of gRPC's fields, as HTTP/2 has them.
const (
	grpcTimeout = "grpc-timeout"
	grpcStatus  = "grpc-status"
	grpcMessage = "grpc-message"
)

var grpcPrefix, grpcWebSuffix = []byte("application/grpc"), []byte("-web")

// grpcType reports whether a content type is gRPC's, or gRPC-Web's.
func grpcType(t []byte) (grpc, web bool) {
	if len(t) < len(grpcPrefix) || !bytes.EqualFold(t[:len(grpcPrefix)], grpcPrefix) {
		return false, false
	}
	switch rest := t[len(grpcPrefix):]; {
	case len(rest) == 0 || rest[0] == '+' || rest[0] == ';':
		return true, false
	case bytes.HasPrefix(rest, grpcWebSuffix):
		return false, true
	}
	return false, false
}

// grpcArrive takes the deadline of a call that just came in: it may only come sooner
// than one that is there. A timeout that is none is left for the service to refuse.
func grpcArrive(x *exchange.Exchange) {
	if grpc, web := grpcType(x.Request.Header.Get(exchange.ContentType)); !grpc && !web {
		return
	}
	v, ok := x.Request.Header.Lookup(grpcTimeout)
	if !ok {
		return
	}
	if d, ok := parseGRPCTimeout(v); ok {
		if at := time.Now().Add(d); x.Deadline.IsZero() || at.Before(x.Deadline) {
			x.Deadline = at
		}
	}
}

// grpcDepart writes what is left of the deadline onto a call before an attempt, so
// that the service gives up when nobody waits for it any more.
func grpcDepart(x *exchange.Exchange) {
	if x.Deadline.IsZero() {
		return
	}
	if grpc, _ := grpcType(x.Request.Header.Get(exchange.ContentType)); !grpc {
		return
	}
	var b [12]byte
	x.Request.Header.DelName(grpcTimeout)
	x.Request.Header.AddName(grpcTimeout, string(appendGRPCTimeout(b[:0], time.Until(x.Deadline))))
}

// longestGRPC is what longer timeouts are taken for: a time.Duration holds no more
// than 292 years, and moments are to be reckoned with it.
const longestGRPC = 100 * 365 * 24 * time.Hour

// parseGRPCTimeout reads a TimeoutValue, at most 8 digits, with its TimeoutUnit.
func parseGRPCTimeout(v []byte) (time.Duration, bool) {
	n := len(v) - 1
	if n < 1 || n > 8 {
		return 0, false
	}
	var count int64
	for _, c := range v[:n] {
		if c < '0' || c > '9' {
			return 0, false
		}
		count = count*10 + int64(c-'0')
	}
	var unit time.Duration
	switch v[n] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	if count > int64(longestGRPC/unit) {
		return longestGRPC, true
	}
	return time.Duration(count) * unit, true
}

// appendGRPCTimeout appends d in the finest unit that takes at most 8 digits. Less
// than nothing is "0n". What is cut off makes it shorter, never longer.
func appendGRPCTimeout(out []byte, d time.Duration) []byte {
	d = max(d, 0)
	const most = 99999999
	for _, u := range []struct {
		unit time.Duration
		name byte
	}{{time.Nanosecond, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}, {time.Minute, 'M'}} {
		if n := int64(d / u.unit); n <= most {
			return append(strconv.AppendInt(out, n, 10), u.name)
		}
	}
	return append(strconv.AppendInt(out, min(most, int64(d/time.Hour)), 10), 'H')
}

// grpcCauses are the statuses of failures.
var grpcCauses = map[filter.Cause]grpcCode{
	filter.Connect:   grpcUnavailable,
	filter.Reset:     grpcUnavailable,
	filter.Malformed: grpcInternal,
	filter.Timeout:   grpcDeadline,
	filter.Gone:      grpcCancelled,
	filter.Request:   grpcInternal,
	filter.Nobody:    grpcUnavailable,
	filter.Full:      grpcExhausted,
	filter.Open:      grpcUnavailable,
	filter.Limit:     grpcExhausted,
	filter.Large:     grpcExhausted,
}

// grpcAnswer makes a short answer of our own, which is in x.Response with its text,
// one of gRPC if a call is answered: HTTP status 200, the call's status and the text
// as the message in the header, and no body (Trailers-Only). Other fields stay.
func grpcAnswer(x *exchange.Exchange, code grpcCode, text string) {
	kind := x.Request.Header.Get(exchange.ContentType)
	if grpc, web := grpcType(kind); !grpc && !web {
		return
	}
	r := &x.Response
	if r.Body != nil {
		r.Body.Close()
	}
	r.Status, r.Reason, r.Length, r.Body = 200, nil, 0, nil
	r.Header.SetBytes(exchange.ContentType, kind) // clients want the codec that they named
	if code == grpcOK {
		code = grpcInternal // a failure of a kind that nobody named is no success
	}
	var b [3]byte
	r.Header.SetName(grpcStatus, string(strconv.AppendInt(b[:0], int64(code), 10)))
	r.Header.SetName(grpcMessage, string(appendGRPCMessage(nil, text)))
}

// appendGRPCMessage appends text as a Status-Message: printable ASCII but for "%"
// as it is, and all else percent-encoded.
func appendGRPCMessage(out []byte, text string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		if c := text[i]; c >= ' ' && c <= '~' && c != '%' {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return out
}

// grpcOutcome returns what an answer's status counts as: for an answer of gRPC that
// of the call, as far as it is known, else the status itself. whole says that it is
// known: the trailer may be still to come. Of gRPC-Web, whose trailer is in the body,
// the filter that put it there has made a note.
func grpcOutcome(x *exchange.Exchange) (status int, whole bool) {
	r := &x.Response
	if r.Status != 200 {
		return r.Status, true
	}
	grpc, web := grpcType(r.Header.Get(exchange.ContentType))
	if !grpc && !web {
		return r.Status, true
	}
	v, ok := r.Trailer.Lookup(grpcStatus)
	if !ok {
		v, ok = r.Header.Lookup(grpcStatus)
	}
	for i := 0; web && !ok && i < len(x.Notes); i++ {
		if x.Notes[i].Name == grpcStatus {
			v, ok = []byte(x.Notes[i].Value), true
		}
	}
	if !ok {
		return r.Status, false
	}
	n, err := strconv.Atoi(string(v))
	if err != nil {
		return 500, true
	}
	return grpcCode(n).status(), true
}

// status is the status of HTTP that a call's counts as: 5xx where the service, or
// what it needs, is to blame (google/rpc/code.proto names the same ones). An UNKNOWN
// is what a server says of an error that nobody thought of.
func (c grpcCode) status() int {
	switch c {
	case grpcOK:
		return 200
	case grpcCancelled:
		return 499
	case grpcInvalid, 9, 11: // FAILED_PRECONDITION, OUT_OF_RANGE
		return 400
	case grpcDeadline:
		return 504
	case 5: // NOT_FOUND
		return 404
	case 6, 10: // ALREADY_EXISTS, ABORTED
		return 409
	case 7: // PERMISSION_DENIED
		return 403
	case grpcExhausted:
		return 429
	case grpcUnimplemented:
		return 404 // of the method; the server does well
	case grpcUnavailable:
		return 503
	case 16: // UNAUTHENTICATED
		return 401
	}
	return 500 // UNKNOWN, INTERNAL, DATA_LOSS, and what is none
}
