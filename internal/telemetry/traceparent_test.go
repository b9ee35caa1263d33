package telemetry

import (
	"bytes"
	"testing"
)

func TestParseTraceparent(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, c := range []struct {
		in          string
		ok, sampled bool
	}{
		{good, true, true},
		{good[:53] + "00", true, false},
		{good[:53] + "ff", true, true}, // unknown flags are for later versions
		{good[:53] + "fe", true, false},
		{"cc" + good[2:], true, true}, // a later version
		{"cc" + good[2:] + "-what-comes-later", true, true},
		{"cc" + good[2:] + "x", false, false},
		{"ff" + good[2:], false, false}, // forbidden
		{good + "-", false, false},      // version 00 is no longer
		{good + "-x", false, false},
		{good[:54], false, false},
		{"", false, false},
		{"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false, false}, // upper case
		{"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false, false},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false, false},
		{"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", false, false},
		{"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false, false},
		{"0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false, false},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0 ", false, false},
		{" " + good[:54], false, false},
	} {
		trace, span, sampled, ok := ParseTraceparent([]byte(c.in))
		if ok != c.ok || sampled != c.sampled {
			t.Errorf("%q: ok %v, sampled %v", c.in, ok, sampled)
		}
		if ok == (trace == [16]byte{}) || ok == (span == [8]byte{}) {
			t.Errorf("%q: trace %x, span %x", c.in, trace, span)
		}
		if c.in == good && string(AppendTraceparent(nil, trace, span, sampled)) != good {
			t.Errorf("came back as %q", AppendTraceparent(nil, trace, span, sampled))
		}
	}
}

func TestIDsDiffer(t *testing.T) {
	traces, spans := map[[16]byte]bool{}, map[[8]byte]bool{}
	for range 1000 {
		traces[NewTraceID()] = true
		spans[NewSpanID()] = true
	}
	if len(traces) != 1000 || len(spans) != 1000 || traces[[16]byte{}] || spans[[8]byte{}] {
		t.Errorf("%d traces, %d spans", len(traces), len(spans))
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add([]byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	f.Add([]byte("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		trace, span, sampled, ok := ParseTraceparent(in)
		if !ok {
			if trace != [16]byte{} || span != [8]byte{} || sampled {
				t.Fatal("IDs of a traceparent that is none")
			}
			return
		}
		out := AppendTraceparent(nil, trace, span, sampled)
		if !bytes.Equal(out[3:53], in[3:53]) {
			t.Fatalf("%q came back as %q", in, out)
		}
		if tr, sp, sa, ok := ParseTraceparent(out); !ok || tr != trace || sp != span || sa != sampled {
			t.Fatalf("our own %q is not read", out)
		}
	})
}

// BenchmarkTraceparent is what an unsampled request costs: read, a new span, write.
func BenchmarkTraceparent(b *testing.B) {
	in := []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
	out := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		trace, _, sampled, _ := ParseTraceparent(in)
		out = AppendTraceparent(out[:0], trace, NewSpanID(), sampled)
	}
}

// BenchmarkNewTrace is what it costs without one in the request.
func BenchmarkNewTrace(b *testing.B) {
	out := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		out = AppendTraceparent(out[:0], NewTraceID(), NewSpanID(), false)
	}
}
