package frames

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"swell/internal/exchange"
)

func TestFramesAreReadByAnother(t *testing.T) {
	var b []byte
	b = append(AppendHead(b, 6, Settings, 0, 0), AppendSetting(nil, MaxFrameSize, 20000)...)
	b = AppendReset(b, 3, Cancel)
	b = AppendWindowUpdate(b, 5, 77)
	b = AppendPing(b, true, []byte("12345678"))
	b = AppendGoAway(b, 9, EnhanceYourCalm, "calm")
	b = AppendSection(b, 7, true, 10, []byte("0123456789abcdefghijk"))
	fr := http2.NewFramer(io.Discard, bytes.NewReader(b))
	var got []string
	for {
		f, err := fr.ReadFrame()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(f.Header()))
	}
	want := "SETTINGS len=6|RST_STREAM stream=3 len=4|WINDOW_UPDATE stream=5 len=4|PING flags=ACK len=8|GOAWAY len=12|HEADERS flags=END_STREAM stream=7 len=10|CONTINUATION stream=7 len=10|CONTINUATION flags=END_HEADERS stream=7 len=1"
	if s := strings.NewReplacer("[FrameHeader ", "", "]", "").Replace(strings.Join(got, "|")); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
}

func TestUnpad(t *testing.T) {
	for _, c := range []struct {
		h    Head
		in   string
		want string
		code Code
	}{
		{Head{Type: Data}, "abc", "abc", 0},
		{Head{Type: Data, Flags: Padded}, "\x02abcd", "ab", 0},
		{Head{Type: Data, Flags: Padded}, "\x04abcd", "", 0},
		{Head{Type: Data, Flags: Padded}, "\x05abcd", "", ProtocolError},
		{Head{Type: Data, Flags: Padded}, "", "", FrameSizeError},
		{Head{Type: Headers, Flags: Prioritied}, "12345ab", "ab", 0},
		{Head{Type: Headers, Flags: Prioritied | Padded}, "\x0112345ab", "a", 0},
		{Head{Type: Headers, Flags: Prioritied}, "1234", "", FrameSizeError},
	} {
		p, err := c.h.Unpad([]byte(c.in))
		if string(p) != c.want || (err != nil) != (c.code != 0) || err != nil && err.Code != c.code {
			t.Errorf("%+v %q: %q, %v", c.h, c.in, p, err)
		}
	}
}

// TestDecoderAgrees with x/net's, on sections of its encoder that repeat, evict
// and change the table's size.
func TestDecoderAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var wire bytes.Buffer
	enc := hpack.NewEncoder(&wire)
	var dec Decoder
	dec.Init(DefaultTable)
	var s Section
	for range 3000 {
		wire.Reset()
		if r.IntN(50) == 0 {
			enc.SetMaxDynamicTableSize(uint32(r.IntN(DefaultTable + 1)))
		}
		var want []string
		for range r.IntN(12) {
			n, v := fmt.Sprintf("x-%d", r.IntN(60)), strings.Repeat("v", r.IntN(200))+fmt.Sprint(r.IntN(20))
			switch r.IntN(10) {
			case 0:
				n = "user-agent"
			case 1:
				n, v = "accept-encoding", "gzip, deflate"
			}
			want = append(want, n+": "+v)
			if err := enc.WriteField(hpack.HeaderField{Name: n, Value: v, Sensitive: r.IntN(9) == 0}); err != nil {
				t.Fatal(err)
			}
		}
		var h exchange.Header
		s.Begin(Request, &h)
		if err := dec.Decode(wire.Bytes(), &s); err != nil || s.Bad != "" || s.Large {
			t.Fatal(err, s.Bad)
		}
		var got []string
		for _, f := range h.Fields() {
			got = append(got, string(f.Name)+": "+string(f.Value))
			if f.ID != exchange.Identify(f.Name) {
				t.Fatalf("%s has ID %d", f.Name, f.ID)
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func section(of Of, fields ...string) (Section, exchange.Header) {
	var wire bytes.Buffer
	enc := hpack.NewEncoder(&wire)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	var dec Decoder
	dec.Init(DefaultTable)
	var h exchange.Header
	s := Section{MaxBytes: 1000, MaxFields: 10}
	s.Begin(of, &h)
	if err := dec.Decode(wire.Bytes(), &s); err != nil {
		panic(err)
	}
	return s, h
}

func TestSection(t *testing.T) {
	for _, c := range []struct {
		of     Of
		fields []string
		bad    string
	}{
		{Request, []string{":method", "GET", ":path", "/", "a", "b"}, ""},
		{Request, []string{"a", "b", ":method", "GET"}, "late-pseudo-field"},
		{Request, []string{":method", "GET", ":method", "GET"}, "two-pseudo-fields"},
		{Request, []string{":status", "200"}, "pseudo-field"},
		{Request, []string{":other", "200"}, "field-name"},
		{Request, []string{"", "200"}, "field-name"},
		{Request, []string{"A", "200"}, "field-name"},
		{Request, []string{"a b", "200"}, "field-name"},
		{Request, []string{"a", " b"}, "field-value"},
		{Request, []string{"a", "b\t"}, "field-value"},
		{Request, []string{"a", "b\nc"}, "field-value"},
		{Request, []string{"a", "b\x00c"}, "field-value"},
		{Request, []string{"a", "b\tc"}, ""},
		{Request, []string{":path", "/a\r"}, "field-value"},
		{Request, []string{"connection", "close"}, "connection-field"},
		{Request, []string{"upgrade", "x"}, "connection-field"},
		{Request, []string{"keep-alive", "x"}, "connection-field"},
		{Request, []string{"proxy-connection", "x"}, "connection-field"},
		{Request, []string{"transfer-encoding", "chunked"}, "connection-field"},
		{Request, []string{"te", "trailers"}, ""},
		{Request, []string{"te", "gzip"}, "te"},
		{Request, []string{"host", "a", "host", "a"}, "two-hosts"},
		{Request, []string{"content-length", "1", "content-length", "2"}, "content-length"},
		{Request, []string{"content-length", "1", "content-length", "1"}, ""},
		{Request, []string{"content-length", "+1"}, "content-length"},
		{Response, []string{":status", "200", "a", "b"}, ""},
		{Response, []string{":path", "/"}, "pseudo-field"},
		{Trailer, []string{":path", "/"}, "pseudo-field"},
		{Trailer, []string{"content-length", "1"}, "length-in-trailer"},
		{Trailer, []string{"a", "1"}, ""},
	} {
		if s, _ := section(c.of, c.fields...); s.Bad != c.bad {
			t.Errorf("%q: %q, want %q", c.fields, s.Bad, c.bad)
		}
	}
	s, h := section(Request, "cookie", "a=1", "x", "y", "cookie", "b=2", "host", "h", "content-length", "7", "expect", "100-Continue", "cookie", "c=3", "http2-settings", "x")
	if string(h.Get(exchange.Cookie)) != "a=1; b=2; c=3" || h.Len() != 2 || string(s.Host) != "h" || s.Length != 7 || !s.Expect {
		t.Errorf("%q, %+v", h.Get(exchange.Cookie), s)
	}
	if s, _ := section(Request, "a", strings.Repeat("x", 1000)); !s.Large {
		t.Error("no bound of bytes")
	}
	if s, _ := section(Request, strings.Split(strings.Repeat("a,b,", 11), ",")[:22]...); !s.Large {
		t.Error("no bound of fields")
	}
}

func TestEncodeIsReadByAnother(t *testing.T) {
	var h exchange.Header
	h.Set(exchange.ContentType, "text/plain")
	h.Add(exchange.SetCookie, "a=b")
	h.AddName("X-Thing", strings.Repeat("long", 100))
	h.Set(exchange.Connection, "close")
	h.AddName("bad name", "x")
	h.AddName("X-Bad", "a\nb")
	h.AddName("X-Blank", " c ")
	var out []byte
	for _, st := range []int{200, 204, 206, 304, 400, 404, 500, 503, 100} {
		out = AppendStatus(out, st)
	}
	out = AppendPseudo(out, Method, "GET")
	out = AppendPseudo(out, Method, "PATCH")
	out = AppendPseudo(out, Path, "/")
	out = AppendPseudo(out, Path, "/x")
	out = AppendPseudo(out, Scheme, []byte("https"))
	out = AppendPseudo(out, Authority, "h")
	out = AppendPseudo(out, Protocol, "websocket")
	out = AppendFields(out, &h)
	out = AppendLength(out, 12345)
	out = AppendDate(out)
	var got []string
	d := hpack.NewDecoder(0, func(f hpack.HeaderField) { got = append(got, f.Name+"="+f.Value) })
	if _, err := d.Write(out); err != nil {
		t.Fatal(err)
	}
	want := ":status=200 :status=204 :status=206 :status=304 :status=400 :status=404 :status=500 :status=503 :status=100 " +
		":method=GET :method=PATCH :path=/ :path=/x :scheme=https :authority=h :protocol=websocket " +
		"content-type=text/plain set-cookie=a=b x-thing=" + strings.Repeat("long", 100) + " x-blank=c content-length=12345 date="
	if s := strings.Join(got, " "); !strings.HasPrefix(s, want) {
		t.Errorf("%s\nwant %s", s, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x82, 0x40, 1, 'a', 1, 'b', 0xbe})
	f.Add([]byte{0x3f, 0xe1, 0x1f, 0x20})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h exchange.Header
		s := Section{MaxBytes: 1 << 20}
		s.Begin(Request, &h)
		var d Decoder
		d.Init(DefaultTable)
		err := d.Decode(b, &s)
		ref := hpack.NewDecoder(DefaultTable, nil)
		fields, want := ref.DecodeFull(b)
		if err == nil && want != nil {
			t.Fatalf("%v, and the reference: %v", err, want)
		}
		if err == nil && !s.Large && s.fields != len(fields) {
			t.Fatalf("%d fields, want %d", s.fields, len(fields))
		}
	})
}

func TestWriterWaitsForWindows(t *testing.T) {
	a, b := net.Pipe()
	var w Writer
	w.Init(a)
	var o Outlet
	if !w.Initial(10) {
		t.Fatal("initial")
	}
	o.Open(&w, 1)
	sent := make(chan error)
	go func() {
		err := o.Head(false, []byte{0x88})
		if err == nil {
			err = o.Data(bytes.Repeat([]byte("x"), 25))
		}
		if err == nil {
			err = o.End()
		}
		if err == nil {
			err = w.Flush()
		}
		sent <- err
	}()
	fr := http2.NewFramer(io.Discard, b)
	var got []string
	for range 4 {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(f.Header().Type, f.Header().Length, f.Header().Flags))
		if f.Header().Type == http2.FrameData && len(got) < 4 && !o.Update(10) {
			t.Fatal("window")
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(got); s != "[HEADERS 1 4 DATA 10 0 DATA 10 0 DATA 5 1]" {
		t.Error(s)
	}
	if o.Update(MaxWindow) {
		t.Error("a window may be too wide")
	}
	if !o.Close() {
		t.Error("not ended")
	}
}

func BenchmarkDecode(b *testing.B) {
	var wire bytes.Buffer
	enc := hpack.NewEncoder(&wire)
	write := func() []byte {
		wire.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "shop.example:8080"}, {":path", "/api/catalog/items?page=2"},
			{"user-agent", "bench/1.0 (linux; amd64)"}, {"accept", "application/json, text/plain, */*"}, {"cookie", "session=0123456789abcdef"}} {
			_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		return bytes.Clone(wire.Bytes())
	}
	var d Decoder
	d.Init(DefaultTable)
	var s Section
	var h exchange.Header
	s.Begin(Request, &h)
	if err := d.Decode(write(), &s); err != nil {
		b.Fatal(err)
	}
	in := write()
	b.ReportAllocs()
	for b.Loop() {
		h.Reset()
		s.Begin(Request, &h)
		if err := d.Decode(in, &s); err != nil || h.Len() != 3 {
			b.Fatal(err)
		}
	}
}
