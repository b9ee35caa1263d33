package conformance

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"swell"
)

// TestWebSocketsOverHTTP2ToAService has a WebSocket go by HTTP/1.1 to a plane, by
// extended CONNECT (RFC 8441) to another one, and by HTTP/1.1 to who serves it.
func TestWebSocketsOverHTTP2ToAService(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}, InsecureSkipVerify: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(32 << 20)
		for {
			kind, p, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if string(p) == "end" {
				_ = c.Close(4001, "as you wish")
				return
			}
			if c.Write(r.Context(), kind, p) != nil {
				return
			}
		}
	}))
	defer s.Close()
	inner := run(t, front{upstream: strings.TrimPrefix(s.URL, "http://"), protocol: swell.HTTP})
	outer := run(t, front{upstream: inner, protocol: swell.HTTP2})

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 5 {
		c, _, err := websocket.Dial(ctx, "ws://"+outer+"/chat?x=1", &websocket.DialOptions{Subprotocols: []string{"echo"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		c.SetReadLimit(32 << 20)
		if c.Subprotocol() != "echo" {
			t.Errorf("subprotocol %q", c.Subprotocol())
		}
		for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20} {
			sent := bytes.Repeat([]byte("swell"), n/5+1)[:n]
			if err := c.Write(ctx, websocket.MessageBinary, sent); err != nil {
				t.Fatal(n, err)
			}
			if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes: %d came back, %v", n, len(got), err)
			}
		}
		if err := c.Ping(c.CloseRead(ctx)); err != nil {
			t.Error(err)
		}
		if err := c.Write(ctx, websocket.MessageText, []byte("end")); err != nil {
			t.Fatal(err)
		}
		_ = c.Close(websocket.StatusNormalClosure, "")
	}

	c, _, err := websocket.Dial(ctx, "ws://"+outer+"/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("end")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 4001 {
		t.Errorf("closed with %v", err)
	}

	// Who does not speak RFC 8441 is not broken for it.
	plain := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	defer plain.Close()
	addr := run(t, front{upstream: strings.TrimPrefix(plain.URL, "http://"), protocol: swell.HTTP2})
	for range 10 {
		if _, r, err := websocket.Dial(ctx, "ws://"+addr+"/", nil); err == nil || r == nil || r.StatusCode != 502 {
			t.Errorf("%v, %v", err, r)
		}
	}
	r, err := http.Get("http://" + addr + "/")
	if err != nil || r.StatusCode != 200 {
		t.Errorf("afterwards %v, %v", r, err)
	}
	if err == nil {
		_ = r.Body.Close()
	}
}
