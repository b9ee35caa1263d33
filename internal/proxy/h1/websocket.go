package h1

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"

	"swell/internal/exchange"
)

// A WebSocket that a client opened by HTTP/2 or HTTP/3 (RFC 8441, RFC 9220) has
// neither a Sec-WebSocket-Key nor the Accept that answers it. An upstream that
// speaks HTTP/1.1 needs and gives them, so they are made and checked here.
const (
	keyField    = "Sec-WebSocket-Key"
	acceptField = "Sec-WebSocket-Accept"
	keySalt     = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, 1.3
)

func hasKey(h *exchange.Header) bool {
	_, ok := h.Lookup(keyField)
	return ok
}

// newKey returns 16 random bytes in base64.
func newKey() []byte {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.StdEncoding.AppendEncode(nil, b[:])
}

// accepted reports that an answer accepts the key, and takes the field out, which
// means nothing to the client.
func accepted(h *exchange.Header, key []byte) bool {
	got, ok := h.Lookup(acceptField)
	sum := sha1.Sum(append(append(make([]byte, 0, len(key)+len(keySalt)), key...), keySalt...))
	if !ok || string(got) != base64.StdEncoding.EncodeToString(sum[:]) {
		return false
	}
	h.DelName(acceptField)
	return true
}
