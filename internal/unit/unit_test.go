package unit

import (
	"encoding"
	"testing"
	"time"
)

func TestText(t *testing.T) {
	type text interface {
		encoding.TextUnmarshaler
		encoding.TextMarshaler
	}
	for _, c := range []struct {
		fresh func() text
		in    string
		out   string // "" is an error
	}{
		{func() text { return new(Duration) }, "200ms", "200ms"},
		{func() text { return new(Duration) }, "1.5d", "36h0m0s"},
		{func() text { return new(Duration) }, "1w", "168h0m0s"},
		{func() text { return new(Duration) }, "0", "0s"},
		{func() text { return new(Duration) }, "5", ""},
		{func() text { return new(Duration) }, "-1s", ""},
		{func() text { return new(Duration) }, "nand", ""},
		{func() text { return new(Duration) }, "-1d", ""},
		{func() text { return new(Percent) }, "0.1%", "0.1%"},
		{func() text { return new(Percent) }, "150 %", "150%"},
		{func() text { return new(Percent) }, "5", ""},
		{func() text { return new(Percent) }, "-5%", ""},
		{func() text { return new(Percent) }, "NaN%", ""},
		{func() text { return new(Rate) }, "60/m", "1/s"},
		{func() text { return new(Rate) }, "2.5", "2.5/s"},
		{func() text { return new(Rate) }, "1/y", ""},
		{func() text { return new(Rate) }, "Inf/s", ""},
		{func() text { return new(CPU) }, "0.5", "500m"},
		{func() text { return new(CPU) }, "250m", "250m"},
		{func() text { return new(CPU) }, "-1", ""},
		{func() text { return new(CPU) }, "two", ""},
		{func() text { return new(Bytes) }, "1.5Ki", "1536"},
		{func() text { return new(Bytes) }, "256Mi", "256Mi"},
		{func() text { return new(Bytes) }, "1G", "1000000000"},
		{func() text { return new(Bytes) }, "0", "0"},
		{func() text { return new(Bytes) }, "1e30", ""},
		{func() text { return new(Bytes) }, "-1", ""},
		{func() text { return new(Bytes) }, "1Zi", ""},
	} {
		v := c.fresh()
		err := v.UnmarshalText([]byte(c.in))
		if c.out == "" {
			if err == nil {
				t.Errorf("%T takes %q", v, c.in)
			}
			continue
		}
		out, werr := v.MarshalText()
		if err != nil || werr != nil || string(out) != c.out {
			t.Errorf("%T %q: %s, %v, %v", v, c.in, out, err, werr)
		}
		again := c.fresh()
		if err := again.UnmarshalText(out); err != nil {
			t.Errorf("%T does not read what it writes, %q: %v", v, out, err)
		}
	}
	if Duration(time.Second).D() != time.Second {
		t.Error("D")
	}
}

// FuzzText: what one reads, it writes so that it reads it again.
func FuzzText(f *testing.F) {
	for _, s := range []string{"1s", "5d", "20%", "100/s", "500m", "256Mi", "0x1p3", "1e9", "0020000", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d Duration
		var p Percent
		var r Rate
		var c CPU
		var b Bytes
		for _, v := range []interface {
			encoding.TextUnmarshaler
			encoding.TextMarshaler
		}{&d, &p, &r, &c, &b} {
			if v.UnmarshalText([]byte(s)) != nil {
				continue
			}
			out, err := v.MarshalText()
			if err == nil {
				err = v.UnmarshalText(out)
			}
			if err != nil {
				t.Errorf("%T: %q, then %q: %v", v, s, out, err)
			}
		}
	})
}
