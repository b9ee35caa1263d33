package proxy

//lint:file-ignore SA1019 net/http has no extended CONNECT for clients; x/net/http2 has

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"

	"swell"
)

// echoSocket is a WebSocket server that sends back what it gets, and does on demand
// what servers do: "do:ping", "do:close", "do:cut".
func echoSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{"echo"}, InsecureSkipVerify: true,
		CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 1,
	})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(64 << 20)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	var pings sync.WaitGroup
	defer pings.Wait()
	defer cancel()
	for {
		kind, data, err := c.Read(ctx)
		if err != nil {
			return
		}
		switch string(data) {
		case "do:close":
			_ = c.Close(4002, "enough")
			return
		case "do:cut":
			return
		case "do:ping":
			pings.Go(func() { _ = c.Ping(ctx) }) // the next Read reads its answer
		}
		if err := c.Write(ctx, kind, data); err != nil {
			return
		}
	}
}

func socketBed(t *testing.T) *bed {
	t.Helper()
	u := newUpstream(t, echoSocket)
	b := newBed(t)
	b.set(one(to("s", u.addr)))
	return b
}

// script runs a client of the suite that is not Go's.
func script(t *testing.T, command []string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "ok "); n < 10 {
		t.Fatalf("%d cases only:\n%s", n, out)
	}
}

// need skips the test where what it needs is absent; in CI that is a failure.
func need(t *testing.T, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("CI") != "":
		t.Fatalf("%s is not there", what)
	default:
		t.Skipf("%s is not there", what)
	}
}

func TestWebSocketsOfNode(t *testing.T) {
	npm, err := exec.LookPath("npm")
	need(t, err == nil, "npm")
	dir := t.TempDir()
	for _, f := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join("testdata/websocket", f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "ci", "--no-audit", "--no-fund", "--loglevel=error")
	install.Dir = dir
	out, err := install.CombinedOutput()
	need(t, err == nil, "npm's package ws ("+strings.TrimSpace(string(out))+")")
	b := socketBed(t)
	client, err := filepath.Abs("testdata/websocket/client.mjs")
	if err != nil {
		t.Fatal(err)
	}
	script(t, []string{"node", client, "ws://" + b.addr + "/"}, "SUITE="+dir)
}

func TestWebSocketsOfPython(t *testing.T) {
	const python = "/usr/bin/python3" // Debian's, which has Debian's packages
	err := exec.Command(python, "-c", "import websockets").Run()
	need(t, err == nil, "Python's websockets (Debian's package python3-websockets)")
	b := socketBed(t)
	script(t, []string{python, "testdata/websocket/client.py", "ws://" + b.addr + "/"})
}

func TestWebSocketsOfGo(t *testing.T) {
	b := socketBed(t)
	t.Run("HTTP/1.1", func(t *testing.T) { goSockets(t, "ws://"+b.addr+"/", nil) })
	t.Run("HTTP/2", func(t *testing.T) {
		tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
		t.Cleanup(tr.CloseIdleConnections)
		goSockets(t, "ws://"+b.addr+"/", &http.Client{Transport: &extended{tr}})
	})
}

// extended makes of an HTTP/1.1 upgrade an extended CONNECT (RFC 8441), and of its
// answer the one that the client knows.
type extended struct{ tr *http2.Transport }

func (e *extended) RoundTrip(r *http.Request) (*http.Response, error) {
	in, out := io.Pipe()
	up := r.Clone(r.Context())
	up.Method, up.Body, up.ContentLength = "CONNECT", in, -1
	key := r.Header.Get("Sec-WebSocket-Key")
	for _, f := range []string{"Connection", "Upgrade", "Sec-WebSocket-Key"} {
		up.Header.Del(f)
	}
	up.Header.Set(":protocol", "websocket")
	resp, err := e.tr.RoundTrip(up)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != 200 {
		return resp, nil
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	resp.StatusCode = http.StatusSwitchingProtocols
	resp.Header.Set("Connection", "Upgrade")
	resp.Header.Set("Upgrade", "websocket")
	resp.Header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	resp.Body = &stream{resp.Body, out}
	return resp, nil
}

type stream struct {
	io.ReadCloser
	w *io.PipeWriter
}

func (s *stream) Write(p []byte) (int, error) { return s.w.Write(p) }
func (s *stream) Close() error {
	_ = s.w.Close()
	return s.ReadCloser.Close()
}

func goSockets(t *testing.T, url string, client *http.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		open := func() *websocket.Conn {
			c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
				HTTPClient: client, Subprotocols: []string{"echo"}, CompressionMode: mode, CompressionThreshold: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.CloseNow() })
			c.SetReadLimit(64 << 20)
			if c.Subprotocol() != "echo" {
				t.Errorf("subprotocol %q", c.Subprotocol())
			}
			return c
		}
		c := open()
		for _, n := range []int{0, 1, 125, 126, 65535, 65536, 16 << 20} {
			want := make([]byte, n)
			_, _ = rand.Read(want)
			if err := c.Write(ctx, websocket.MessageBinary, want); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes: %d came back, %v", n, len(got), err)
			}
		}
		w, err := c.Writer(ctx, websocket.MessageText) // in fragments
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if _, err := io.WriteString(w, strings.Repeat("x", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || len(got) != 190 {
			t.Fatalf("%d bytes of 190, %v", len(got), err)
		}
		read := make(chan error, 1)
		go func() { _, _, err := c.Read(ctx); read <- err }() // a pong is read by a Read
		if err := c.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.Write(ctx, websocket.MessageText, []byte("do:close")); err != nil {
			t.Fatal(err)
		}
		var closed websocket.CloseError
		if err := <-read; !errors.As(err, &closed) || closed.Code != 4002 || closed.Reason != "enough" {
			t.Errorf("closed by the server: %v", err)
		}
		c = open()
		if err := c.Write(ctx, websocket.MessageText, []byte("do:cut")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(ctx); err == nil || errors.As(err, &closed) && closed.Code != 4002 {
			t.Errorf("cut by the server: %v", err)
		}
		if err := open().Close(3001, "done"); err != nil {
			t.Errorf("closed by the client: %v", err)
		}
	}
}

// TestSwitchedProtocolsCloseByHalf: each side of a tunnel may be done before the other.
func TestSwitchedProtocolsCloseByHalf(t *testing.T) {
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		_ = rw.Flush()
		got, _ := io.ReadAll(rw) // until the client is done
		fmt.Fprintf(c, "%d bytes", len(got))
	})
	b := newBed(t)
	b.set(&swell.Snapshot{App: "t", Gateway: swell.Gateway{Routes: []swell.Route{all("s")}}, Upstreams: []swell.Upstream{to("s", u.addr)}})
	c := dialTCP(t, b.addr)
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "raw" {
		t.Fatalf("%+v, %v", resp, err)
	}
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "1048576 bytes" {
		t.Fatalf("%q, %v", got, err)
	}
}
