package exchange

// ID names a header field that the data plane knows, so that finding it is a
// comparison of bytes. None is every other.
type ID uint8

// The known header fields.
const (
	None ID = iota
	Accept
	AcceptEncoding
	Age
	Authorization
	CacheControl
	Connection
	ContentEncoding
	ContentLength
	ContentType
	Cookie
	Date
	ETag
	Expect
	Forwarded
	Host
	KeepAlive
	Location
	Origin
	ProxyAuthenticate
	ProxyAuthorization
	ProxyConnection
	Range
	RequestID // X-Request-Id
	RetryAfter
	Server
	SetCookie
	TE
	Traceparent
	Tracestate
	Trailer
	TransferEncoding
	Upgrade
	UserAgent
	Vary
	Via
	ForwardedFor   // X-Forwarded-For
	ForwardedHost  // X-Forwarded-Host
	ForwardedProto // X-Forwarded-Proto
	HTTP2Settings
	known // their number
)

var names = [known]string{
	Accept: "Accept", AcceptEncoding: "Accept-Encoding", Age: "Age", Authorization: "Authorization",
	CacheControl: "Cache-Control", Connection: "Connection", ContentEncoding: "Content-Encoding",
	ContentLength: "Content-Length", ContentType: "Content-Type", Cookie: "Cookie", Date: "Date",
	ETag: "ETag", Expect: "Expect", Forwarded: "Forwarded", Host: "Host", KeepAlive: "Keep-Alive",
	Location: "Location", Origin: "Origin", ProxyAuthenticate: "Proxy-Authenticate",
	ProxyAuthorization: "Proxy-Authorization", ProxyConnection: "Proxy-Connection", Range: "Range",
	RequestID: "X-Request-Id", RetryAfter: "Retry-After", Server: "Server", SetCookie: "Set-Cookie",
	TE: "TE", Traceparent: "Traceparent", Tracestate: "Tracestate", Trailer: "Trailer",
	TransferEncoding: "Transfer-Encoding", Upgrade: "Upgrade", UserAgent: "User-Agent", Vary: "Vary",
	Via: "Via", ForwardedFor: "X-Forwarded-For", ForwardedHost: "X-Forwarded-Host",
	ForwardedProto: "X-Forwarded-Proto", HTTP2Settings: "HTTP2-Settings",
}

// nameBytes are the names again, for fields: nobody changes a field's name in place.
var nameBytes = func() (b [known][]byte) {
	for i, s := range names {
		b[i] = []byte(s)
	}
	return b
}()

// Name returns the field's name as it is usually written; "" for None.
func (id ID) Name() string { return names[id] }

// table is a perfect-enough hash over length, first and last letter: at most a
// few candidates share a place, and Identify compares them.
var table [256][]ID

func place(n int, first, last byte) uint8 {
	return uint8(n)*7 ^ (first|0x20)*13 ^ (last|0x20)*29
}

func init() {
	for id := ID(1); id < known; id++ {
		s := names[id]
		p := place(len(s), s[0], s[len(s)-1])
		table[p] = append(table[p], id)
	}
}

// Identify returns the ID of a field name in any case.
func Identify(name []byte) ID {
	if len(name) == 0 {
		return None
	}
	for _, id := range table[place(len(name), name[0], name[len(name)-1])] {
		if equalFold(name, names[id]) {
			return id
		}
	}
	return None
}

func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		x, y := b[i], s[i]
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}

// Field is one header field. Name and Value are never changed in place.
type Field struct {
	ID          ID
	Name, Value []byte
}

// Header is a list of fields in the order they came in. The zero Header is empty.
type Header struct {
	fields []Field
	arena  []byte // what was added by Set and Add
}

// Reset empties the header and keeps its memory.
func (h *Header) Reset() { clear(h.fields); h.fields, h.arena = h.fields[:0], h.arena[:0] }

// Fields returns the fields, to range over and not to keep.
func (h *Header) Fields() []Field { return h.fields }

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// Append adds a field whose bytes the caller keeps unchanged as long as the
// header lives. It is for codecs.
func (h *Header) Append(id ID, name, value []byte) {
	h.fields = append(h.fields, Field{id, name, value})
}

// share makes h the fields of o, whose bytes are shared.
func (h *Header) share(o *Header) {
	h.fields, h.arena = append(h.fields[:0], o.fields...), h.arena[:0]
}

// Get returns the value of the first field with that ID; nil if there is none.
func (h *Header) Get(id ID) []byte {
	for i := range h.fields {
		if h.fields[i].ID == id {
			return h.fields[i].Value
		}
	}
	return nil
}

// Has reports whether a field with that ID is there.
func (h *Header) Has(id ID) bool {
	for i := range h.fields {
		if h.fields[i].ID == id {
			return true
		}
	}
	return false
}

// Lookup returns the value of the first field of that name, in any case.
func (h *Header) Lookup(name string) ([]byte, bool) {
	for i := range h.fields {
		if equalFold(h.fields[i].Name, name) {
			return h.fields[i].Value, true
		}
	}
	return nil, false
}

// Set makes value the only value of the known field id.
func (h *Header) Set(id ID, value string) { h.Del(id); h.add(id, names[id], value) }

// Add adds one more value of the known field id.
func (h *Header) Add(id ID, value string) { h.add(id, names[id], value) }

// SetBytes is Set for bytes, which are copied.
func (h *Header) SetBytes(id ID, value []byte) { h.Del(id); h.AddBytes(id, value) }

// AddBytes is Add for bytes, which are copied.
func (h *Header) AddBytes(id ID, value []byte) {
	i := len(h.arena)
	h.arena = append(h.arena, value...)
	h.fields = append(h.fields, Field{id, nameBytes[id], h.arena[i:len(h.arena):len(h.arena)]})
}

// SetName is Set for a field by its name.
func (h *Header) SetName(name, value string) { h.DelName(name); h.AddName(name, value) }

// AddName is Add for a field by its name.
func (h *Header) AddName(name, value string) { h.add(Identify([]byte(name)), name, value) }

func (h *Header) add(id ID, name, value string) {
	v := h.keep(value)
	n := nameBytes[id]
	if len(n) != len(name) || string(n) != name {
		n = h.keep(name)
	}
	h.fields = append(h.fields, Field{id, n, v})
}

// keep copies s into the arena. Slices that were given out before stay valid
// when the arena grows: they keep the old one alive.
func (h *Header) keep(s string) []byte {
	i := len(h.arena)
	h.arena = append(h.arena, s...)
	return h.arena[i:len(h.arena):len(h.arena)]
}

// Del removes all fields with that ID.
func (h *Header) Del(id ID) {
	out := h.fields[:0]
	for _, f := range h.fields {
		if f.ID != id {
			out = append(out, f)
		}
	}
	h.fields = out
}

// DelName removes all fields of that name, in any case.
func (h *Header) DelName(name string) {
	out := h.fields[:0]
	for _, f := range h.fields {
		if !equalFold(f.Name, name) {
			out = append(out, f)
		}
	}
	h.fields = out
}
