package frames

import (
	"encoding/binary"
	"fmt"
)

// Type is the type of a frame (RFC 9113, 6).
type Type uint8

// The types of frames.
const (
	Data Type = iota
	Headers
	Priority
	Reset
	Settings
	Push
	Ping
	GoAway
	WindowUpdate
	Continuation
)

// Flags of frames. What a bit means depends on the type.
const (
	EndStream  = 0x1  // of Data and Headers
	Ack        = 0x1  // of Settings and Ping
	EndHeaders = 0x4  // of Headers and Continuation
	Padded     = 0x8  // of Data and Headers
	Prioritied = 0x20 // of Headers: five bytes of priority stand before the fields
)

// Sizes that RFC 9113 names.
const (
	HeadSize      = 9     // of a frame's head
	MinFrame      = 16384 // what every peer takes as a frame's payload
	MaxFrame      = 1<<24 - 1
	DefaultWindow = 65535
	MaxWindow     = 1<<31 - 1
	DefaultTable  = 4096 // of HPACK's dynamic table
)

// Preface is what a client begins a connection with, before its SETTINGS.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Setting is the identifier of a setting (RFC 9113, 6.5.2; RFC 8441).
type Setting uint16

// The settings.
const (
	HeaderTableSize       Setting = 1
	EnablePush            Setting = 2
	MaxConcurrentStreams  Setting = 3
	InitialWindowSize     Setting = 4
	MaxFrameSize          Setting = 5
	MaxHeaderListSize     Setting = 6
	EnableConnectProtocol Setting = 8
)

// Code says why a stream or connection ended (RFC 9113, 7).
type Code uint32

// The codes.
const (
	NoError Code = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Cancel
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

var codes = [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
	"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
	"ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"}

// String returns the code's name in the RFC.
func (c Code) String() string {
	if int(c) < len(codes) {
		return codes[c]
	}
	return fmt.Sprintf("code %#x", uint32(c))
}

// Error is a violation of the protocol, or the end of a stream or connection by
// the peer.
type Error struct {
	Code   Code
	Stream uint32 // 0: the connection
	Why    string // a slug: "padding", "settings-flood"
}

// Error says what ended and why.
func (e *Error) Error() string {
	if e.Stream == 0 {
		return fmt.Sprintf("HTTP/2 connection: %s (%s)", e.Code, e.Why)
	}
	return fmt.Sprintf("HTTP/2 stream %d: %s (%s)", e.Stream, e.Code, e.Why)
}

// Head is the head of a frame.
type Head struct {
	Length int
	Type   Type
	Flags  uint8
	Stream uint32
}

// ParseHead reads a frame's head from the first HeadSize bytes of b.
func ParseHead(b []byte) Head {
	_ = b[8]
	return Head{
		Length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		Type:   Type(b[3]), Flags: b[4],
		Stream: binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1),
	}
}

// Has reports that a flag is set.
func (h Head) Has(flag uint8) bool { return h.Flags&flag != 0 }

// Unpad returns the payload p of a Data or Headers frame without padding, and
// without priority. The error is one of the connection (RFC 9113, 6.1 and 6.2), or
// of the stream that depends on itself.
func (h Head) Unpad(p []byte) ([]byte, *Error) {
	pad := 0
	if h.Has(Padded) {
		if len(p) == 0 {
			return nil, &Error{Code: FrameSizeError, Why: "no-padding-length"}
		}
		pad, p = int(p[0]), p[1:]
	}
	if h.Type == Headers && h.Has(Prioritied) {
		if len(p) < 5 {
			return nil, &Error{Code: FrameSizeError, Why: "no-priority"}
		}
		p = p[5:]
	}
	if pad > len(p) {
		return nil, &Error{Code: ProtocolError, Why: "padding"}
	}
	return p[:len(p)-pad], nil
}

// AppendHead appends a frame's head.
func AppendHead(out []byte, n int, t Type, flags uint8, stream uint32) []byte {
	return append(out, byte(n>>16), byte(n>>8), byte(n), byte(t), flags,
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// AppendSetting appends one setting to the payload of a SETTINGS frame.
func AppendSetting(out []byte, s Setting, v uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(out, uint16(s)), v)
}

// AppendReset appends a RST_STREAM frame.
func AppendReset(out []byte, stream uint32, code Code) []byte {
	return binary.BigEndian.AppendUint32(AppendHead(out, 4, Reset, 0, stream), uint32(code))
}

// AppendWindowUpdate appends a WINDOW_UPDATE frame; n is over 0.
func AppendWindowUpdate(out []byte, stream uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(AppendHead(out, 4, WindowUpdate, 0, stream), uint32(n))
}

// AppendPing appends a PING frame, whose payload has 8 bytes.
func AppendPing(out []byte, ack bool, payload []byte) []byte {
	var flags uint8
	if ack {
		flags = Ack
	}
	return append(AppendHead(out, 8, Ping, flags, 0), payload[:8]...)
}

// AppendGoAway appends a GOAWAY frame.
func AppendGoAway(out []byte, last uint32, code Code, why string) []byte {
	out = AppendHead(out, 8+len(why), GoAway, 0, 0)
	out = binary.BigEndian.AppendUint32(out, last)
	out = binary.BigEndian.AppendUint32(out, uint32(code))
	return append(out, why...)
}

// AppendSection appends a field section as HEADERS and, beyond frame bytes,
// CONTINUATION frames.
func AppendSection(out []byte, stream uint32, end bool, frame int, section []byte) []byte {
	var flags uint8
	if end {
		flags = EndStream
	}
	t := Headers
	for {
		n := min(len(section), frame)
		if n == len(section) {
			flags |= EndHeaders
		}
		out = append(AppendHead(out, n, t, flags, stream), section[:n]...)
		if section = section[n:]; len(section) == 0 {
			return out
		}
		t, flags = Continuation, 0
	}
}
