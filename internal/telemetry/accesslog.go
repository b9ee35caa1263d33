package telemetry

import "time"

// Entry is one line of an access log.
type Entry struct {
	Time     time.Time     // when the request's head was complete
	Duration time.Duration // until the end of the answer
	Client   string        // the client's address, without the port
	Caller   string
	Route    string
	Service  string
	Instance string // of the last attempt
	Attempts int
	Method   string
	Target   []byte // raw
	Proto    string // "HTTP/1.1"
	Host     []byte
	Status   int // 0: the exchange broke
	In, Out  int64
	Referer  []byte
	Agent    []byte
	Request  []byte   // X-Request-Id
	Trace    [16]byte // all zero is none
	Span     [8]byte
	Notes    []Note
}

// Note is one more fact of an [Entry].
type Note struct{ Name, Value string }

// AppendJSON appends e to dst as one line of JSON.
func AppendJSON(dst []byte, e *Entry) []byte { return append(dst, "{}\n"...) }

// AppendCommon appends e to dst as one line of the Common Log Format.
func AppendCommon(dst []byte, e *Entry) []byte { return append(dst, '\n') }
