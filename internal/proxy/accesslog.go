package proxy

import (
	"sync"
	"time"

	"swell/internal/exchange"
	"swell/internal/telemetry"
)

// logLine is the memory of one line of the access log.
type logLine struct {
	entry telemetry.Entry
	text  []byte
}

var logLines = sync.Pool{New: func() any { return new(logLine) }}

// accessLog returns what writes a line when an exchange has ended.
func (p *Plane) accessLog(format string) func(*exchange.Exchange) {
	return func(x *exchange.Exchange) {
		l := logLines.Get().(*logLine)
		took := time.Duration(exchange.Now() - x.Start)
		e := &l.entry
		notes := e.Notes[:0]
		for _, n := range x.Notes {
			notes = append(notes, telemetry.Note(n))
		}
		*e = telemetry.Entry{
			Time: time.Now().Add(-took), Duration: took, Client: x.Peer.Addr().Unmap().String(),
			Caller: x.Caller, Route: x.Route, Service: x.Service, Instance: x.Endpoint, Attempts: x.Attempt,
			Method: x.Request.Method, Target: x.Request.Target, Proto: "HTTP/1.1", Host: x.Request.Host,
			Status: x.Response.Status, In: x.Request.Bytes, Out: x.Response.Bytes,
			UserAgent: x.Request.Header.Get(exchange.UserAgent), RequestID: x.Request.Header.Get(exchange.RequestID),
			Trace: x.TraceID, Span: [8]byte(x.SpanID[:8]), Notes: notes,
		}
		switch {
		case x.Request.Major == 0:
			e.Proto = "TCP"
		case x.Request.Major == 2:
			e.Proto = "HTTP/2.0"
		case x.Request.Major == 3:
			e.Proto = "HTTP/3.0"
		case x.Request.Minor == 0:
			e.Proto = "HTTP/1.0"
		}
		e.Referer, _ = x.Request.Header.Lookup("Referer")
		if st, ok := x.Plane.(*state); ok && st.raw != nil {
			e.Target = st.raw
		}
		if format == "common" {
			l.text = telemetry.AppendCommon(l.text[:0], e)
		} else {
			l.text = telemetry.AppendJSON(l.text[:0], e)
		}
		_, _ = p.opt.AccessLog.Write(l.text) // a log that can't be written stops nothing
		e.Target, e.Host, e.Referer, e.UserAgent, e.RequestID = nil, nil, nil, nil, nil
		if cap(l.text) <= 16<<10 {
			logLines.Put(l)
		}
	}
}
