package filter_test

import (
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/filter/filtertest"
)

const (
	webMessage = "\x00\x00\x00\x00\x03abc"
	webEnding  = "\x80\x00\x00\x00\x22grpc-status: 5\r\ngrpc-message: no\r\n"
)

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// webMessages is a body of pieces whose trailer comes with the end.
type webMessages struct {
	pieces
	x *exchange.Exchange
}

func (m *webMessages) Next() ([]byte, error) {
	p, err := m.pieces.Next()
	if err == io.EOF {
		m.x.Response.Trailer.AddName("Grpc-Status", "5")
		m.x.Response.Trailer.AddName("grpc-message", "no")
	}
	return p, err
}

func TestGRPCWeb(t *testing.T) {
	for _, c := range []struct {
		kind, accept, sent, got string
		wantKind, want          string
	}{
		{"application/grpc-web", "", webMessage, webMessage, "application/grpc-web+proto", webMessage + webMessage + webEnding},
		{"application/grpc-web+proto", "", webMessage, webMessage, "application/grpc-web+proto", webMessage + webMessage + webEnding},
		{"application/grpc-web+proto", "application/grpc-web-text", webMessage, webMessage, "application/grpc-web-text+proto", encode(webMessage) + encode(webMessage) + encode(webEnding)},
		{"application/grpc-web-text", "", encode(webMessage), webMessage, "application/grpc-web-text+proto", encode(webMessage) + encode(webMessage) + encode(webEnding)},
		{"Application/gRPC-Web-Text+proto", "", encode(webMessage[:4]) + encode(webMessage[4:]), webMessage, "application/grpc-web-text+proto", encode(webMessage) + encode(webMessage) + encode(webEnding)},
		{"application/grpc", "", webMessage, webMessage, "application/grpc+proto", webMessage + webMessage},
		{"application/grpc-webish", "", webMessage, webMessage, "application/grpc+proto", webMessage + webMessage},
	} {
		t.Run(c.kind, func(t *testing.T) {
			web := c.wantKind != "application/grpc+proto"
			round := build(t, "grpc-web", ``)(filter.Env{})(func(x *exchange.Exchange) error {
				got, err := filtertest.ReadAll(x.Request.Body)
				if got != c.got || err != nil {
					t.Errorf("the service gets %q, %v", got, err)
				}
				if kind := string(x.Request.Header.Get(exchange.ContentType)); web && !strings.HasPrefix(kind, "application/grpc") || web && strings.Contains(kind, "web") {
					t.Errorf("the service gets %s", kind)
				}
				if te := string(x.Request.Header.Get(exchange.TE)); web && te != "trailers" {
					t.Errorf("te %q", te)
				}
				x.Response.Status, x.Response.Length = 200, -1
				x.Response.Header.AddName("content-type", "application/grpc+proto")
				x.Response.Body = &webMessages{pieces{[]string{webMessage, webMessage}}, x}
				return nil
			})
			x := filtertest.Exchange("POST", "/a.B/C", "")
			var sent []string // byte by byte
			for i := range len(c.sent) {
				sent = append(sent, c.sent[i:i+1])
			}
			x.Request.Body, x.Request.Length = &pieces{sent}, int64(len(c.sent))
			x.Request.Header.AddName("Content-Type", c.kind)
			if c.accept != "" {
				x.Request.Header.AddName("Accept", c.accept)
			}
			if err := round(x); err != nil {
				t.Fatal(err)
			}
			got, err := filtertest.ReadAll(x.Response.Body)
			if got != c.want || err != nil {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
			if kind := string(x.Response.Header.Get(exchange.ContentType)); kind != c.wantKind {
				t.Errorf("answered %s, want %s", kind, c.wantKind)
			}
			if n := x.Response.Trailer.Len(); web != (n == 0) {
				t.Errorf("%d trailer fields", n)
			}
			if kind := string(x.Request.Header.Get(exchange.ContentType)); kind != c.kind {
				t.Errorf("afterwards the request is %s", kind)
			}
			filtertest.End(x)
		})
	}
}

func TestGRPCWebLeavesOtherAnswersAlone(t *testing.T) {
	round := build(t, "grpc-web", ``)(filter.Env{})(func(x *exchange.Exchange) error {
		x.Reply(502, "a page")
		return nil
	})
	x := filtertest.Exchange("POST", "/", "")
	x.Request.Header.AddName("content-type", "application/grpc-web+proto")
	if err := round(x); err != nil || x.Response.Status != 502 {
		t.Error(err, x.Response.Status)
	}
	if got, _ := filtertest.ReadAll(x.Response.Body); got != "a page\n" {
		t.Errorf("%q", got)
	}
	filtertest.End(x)

	round = build(t, "grpc-web", ``)(filter.Env{})(func(x *exchange.Exchange) error {
		x.Response.Status = 200
		x.Response.Header.AddName("content-type", "application/grpc")
		x.Response.Header.AddName("grpc-status", "12")
		return nil
	})
	x = filtertest.Exchange("POST", "/", "")
	x.Request.Header.AddName("content-type", "application/grpc-web+proto")
	if err := round(x); err != nil || x.Response.Body != nil || string(x.Response.Header.Get(exchange.ContentType)) != "application/grpc-web" {
		t.Errorf("%v, a Trailers-Only answer has the body %v", err, x.Response.Body)
	}
	filtertest.End(x)
}

func TestGRPCWebRefusesWhatIsNoBase64(t *testing.T) {
	for _, sent := range []string{"AAA", "A!AA", "=AAA", "AAAA=", "AA==A"} {
		var err error
		round := build(t, "grpc-web", ``)(filter.Env{})(func(x *exchange.Exchange) error {
			_, err = filtertest.ReadAll(x.Request.Body)
			return &filter.Failure{Cause: filter.Request, Err: err}
		})
		x := filtertest.Exchange("POST", "/", sent)
		x.Request.Header.AddName("content-type", "application/grpc-web-text")
		if round(x) == nil || err == nil || !strings.Contains(err.Error(), "base64") {
			t.Errorf("%q: %v", sent, err)
		}
		filtertest.End(x)
	}
}

func FuzzGRPCWebText(f *testing.F) {
	f.Add([]byte(encode(webMessage)), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		read := func(parts ...string) (string, error) {
			var out string
			var err error
			round := build(t, "grpc-web", ``)(filter.Env{})(func(x *exchange.Exchange) error {
				out, err = filtertest.ReadAll(x.Request.Body)
				return nil
			})
			x := filtertest.Exchange("POST", "/", "")
			x.Request.Body, x.Request.Length = &pieces{parts}, -1
			x.Request.Header.AddName("content-type", "application/grpc-web-text")
			_ = round(x)
			filtertest.End(x)
			return out, err
		}
		k := min(int(cut), len(in))
		whole, err1 := read(string(in))
		halves, err2 := read(string(in[:k]), string(in[k:]))
		if (err1 == nil) != (err2 == nil) || err1 == nil && whole != halves {
			t.Errorf("%q is %q, %v; cut at %d it is %q, %v", in, whole, err1, k, halves, err2)
		}
	})
}
