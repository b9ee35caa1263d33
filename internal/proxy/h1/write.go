package h1

import (
	"strconv"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
)

func appendField(out, name, value []byte) []byte {
	out = append(out, name...)
	out = append(out, ':', ' ')
	out = append(out, value...)
	return append(out, '\r', '\n')
}

// appendFields appends the fields that a filter or codec left in h, but for those
// that are the codec's own to make. Names and values that can't be written as one
// field (a filter's fault) are left out.
func appendFields(out []byte, h *exchange.Header) []byte {
	for _, f := range h.Fields() {
		switch f.ID {
		case exchange.Connection, exchange.ContentLength, exchange.Expect, exchange.Host,
			exchange.HTTP2Settings, exchange.KeepAlive, exchange.ProxyConnection,
			exchange.TransferEncoding, exchange.Upgrade:
			continue
		}
		if !clean(f.Value) || f.ID == exchange.None && !isToken(f.Name) {
			continue
		}
		out = appendField(out, f.Name, f.Value)
	}
	return out
}

func clean(v []byte) bool { return fieldEnd(v, 0) == len(v) }

// appendRequest appends the head of a request to the upstream at addr, which is
// the Host of HTTP/1.0 requests that had none. key is a WebSocket's that came without
// one; nil is none.
func appendRequest(out []byte, q *exchange.Request, addr string, key []byte) []byte {
	out = append(out, q.Method...)
	out = append(out, ' ')
	if q.Method == "CONNECT" {
		out = append(out, q.Host...)
	} else {
		out = append(out, q.Target...)
	}
	out = append(out, " HTTP/1.1\r\nHost: "...)
	if len(q.Host) > 0 {
		out = append(out, q.Host...)
	} else {
		out = append(out, addr...)
	}
	out = append(out, '\r', '\n')
	out = appendFields(out, &q.Header)
	switch {
	case q.Upgrade != nil:
		out = append(out, "Connection: Upgrade\r\nUpgrade: "...)
		out = append(out, q.Upgrade...)
		out = append(out, '\r', '\n')
		if key != nil {
			out = appendField(out, []byte(keyField), key)
			if _, ok := q.Header.Lookup("Sec-WebSocket-Version"); !ok {
				out = append(out, "Sec-WebSocket-Version: 13\r\n"...)
			}
		}
	case q.Header.Has(exchange.TE):
		out = append(out, "Connection: TE\r\n"...)
	}
	switch {
	case q.Body == nil:
		if q.Method == "POST" || q.Method == "PUT" || q.Method == "PATCH" {
			out = append(out, "Content-Length: 0\r\n"...)
		}
	case q.Length < 0:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	default:
		out = appendLength(out, q.Length)
	}
	if q.Expect {
		out = append(out, "Expect: 100-continue\r\n"...)
	}
	return append(out, '\r', '\n')
}

func appendLength(out []byte, n int64) []byte {
	out = append(out, "Content-Length: "...)
	out = strconv.AppendInt(out, n, 10)
	return append(out, '\r', '\n')
}

// appendStatus appends a status line.
func appendStatus(out []byte, status int, reason []byte) []byte {
	if status == 200 && (reason == nil || string(reason) == "OK") {
		return append(out, "HTTP/1.1 200 OK\r\n"...)
	}
	out = append(out, "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(status), 10)
	out = append(out, ' ')
	if reason == nil || !clean(reason) {
		out = append(out, statusText(status)...)
	} else {
		out = append(out, reason...)
	}
	return append(out, '\r', '\n')
}

// stamp is the Date field of one second.
type stamp struct {
	second int64
	line   []byte
}

var lastStamp atomic.Pointer[stamp]

// appendDate appends the Date field.
func appendDate(out []byte) []byte {
	now := time.Now()
	s := lastStamp.Load()
	if s == nil || s.second != now.Unix() {
		line := now.UTC().AppendFormat([]byte("Date: "), "Mon, 02 Jan 2006 15:04:05 GMT\r\n")
		s = &stamp{now.Unix(), line}
		lastStamp.Store(s)
	}
	return append(out, s.line...)
}

func statusText(status int) string {
	switch status {
	case 100:
		return "Continue"
	case 101:
		return "Switching Protocols"
	case 103:
		return "Early Hints"
	case 200:
		return "OK"
	case 201:
		return "Created"
	case 202:
		return "Accepted"
	case 204:
		return "No Content"
	case 206:
		return "Partial Content"
	case 301:
		return "Moved Permanently"
	case 302:
		return "Found"
	case 303:
		return "See Other"
	case 304:
		return "Not Modified"
	case 307:
		return "Temporary Redirect"
	case 308:
		return "Permanent Redirect"
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 417:
		return "Expectation Failed"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	case 505:
		return "HTTP Version Not Supported"
	}
	return ""
}
