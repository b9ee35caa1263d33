package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// strictLoad is a load whose every failure counts.
type strictLoad struct {
	t    *testing.T
	u    *upgrader
	stop chan struct{}
	wg   sync.WaitGroup

	gets, posts, echoes, streams atomic.Int64
	mu                           sync.Mutex
	failures                     []string
}

func (x *strictLoad) fail(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failures = append(x.failures, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

func (x *strictLoad) over() bool {
	select {
	case <-x.stop:
		return true
	default:
		return false
	}
}

// bodyOnce can be read once, so that no client sends it again by itself.
type bodyOnce struct{ io.Reader }

// get and post ask again and again, on connections that are kept.
func (x *strictLoad) requests(n int) {
	for i := range n {
		// Half of them over TLS, half of those by HTTP/2.
		to := &http.Transport{MaxIdleConnsPerHost: 4, TLSClientConfig: &tls.Config{RootCAs: x.u.roots}, ForceAttemptHTTP2: i&4 != 0}
		client, url := &http.Client{Transport: to, Timeout: 30 * time.Second}, "http://"+x.u.gateway+"/"
		if i&2 != 0 {
			url = "https://" + x.u.secure + "/"
		}
		x.wg.Go(func() {
			defer client.CloseIdleConnections()
			for k := 0; !x.over(); k++ {
				if i%2 == 0 {
					x.one(client, http.MethodGet, url, nil, &x.gets)
				} else {
					x.one(client, http.MethodPost, url, []byte(fmt.Sprintf("order %d of %d", k, i)), &x.posts)
				}
				time.Sleep(time.Duration(i%5) * time.Millisecond)
			}
		})
	}
}

func (x *strictLoad) one(client *http.Client, method, url string, body []byte, count *atomic.Int64) {
	var r io.Reader
	if body != nil {
		r = bodyOnce{bytes.NewReader(body)}
	}
	req, err := http.NewRequest(method, url, r)
	if err != nil {
		x.fail("%v", err)
		return
	}
	req.ContentLength = int64(len(body))
	if to := client.Transport.(*http.Transport); to.ForceAttemptHTTP2 && body != nil {
		// By HTTP/2 a server says which requests it did not take, and clients send those
		// again; Go's only if it may, even those that it never sent.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	resp, err := client.Do(req)
	if err != nil {
		x.fail("%s: %v", method, err)
		return
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		x.fail("%s: %s %v %.200s", method, resp.Status, err, b)
		return
	}
	var answer struct{ Body string }
	if body != nil && (json.Unmarshal(b, &answer) != nil || answer.Body != string(body)) {
		x.fail("%s: answered %.200s", method, b)
	}
	count.Add(1)
}

// sockets opens WebSockets and echoes on them until the end.
func (x *strictLoad) sockets(n int) {
	x.t.Helper()
	for i := range n {
		c, _, err := websocket.Dial(x.t.Context(), "ws://"+x.u.gateway+"/ws", nil)
		if err != nil {
			x.t.Fatal(err)
		}
		x.wg.Go(func() {
			defer c.CloseNow()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			defer cancel()
			for k := 0; !x.over(); k++ {
				want := fmt.Sprintf("message %d of %d", k, i)
				err := c.Write(ctx, websocket.MessageText, []byte(want))
				if err == nil {
					var got []byte
					if _, got, err = c.Read(ctx); err == nil && string(got) != want {
						err = fmt.Errorf("%q came back as %q", want, got)
					}
				}
				if err != nil {
					x.fail("WebSocket %d after %d messages: %v", i, k, err)
					return
				}
				x.echoes.Add(1)
				time.Sleep(5 * time.Millisecond)
			}
			if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
				x.fail("close WebSocket %d: %v", i, err)
			}
		})
	}
}

// calls opens streams of gRPC, several to a connection, and echoes on them until the
// end.
func (x *strictLoad) calls(n int) {
	x.t.Helper()
	var conn *grpc.ClientConn
	for i := range n {
		if i%5 == 0 {
			how := insecure.NewCredentials()
			to := x.u.gateway
			if i%2 == 0 {
				how, to = credentials.NewTLS(&tls.Config{RootCAs: x.u.roots}), x.u.secure
			}
			var err error
			if conn, err = grpc.NewClient("passthrough:///"+to, grpc.WithTransportCredentials(how)); err != nil {
				x.t.Fatal(err)
			}
			x.t.Cleanup(func() { conn.Close() })
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		stream, err := testgrpc.NewTestServiceClient(conn).FullDuplexCall(ctx)
		if err != nil {
			x.t.Fatal(err)
		}
		x.wg.Go(func() {
			defer cancel()
			for k := 0; !x.over(); k++ {
				size := int32(1 + k%3000)
				err := stream.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: size}}})
				if err == nil {
					var got *testgrpc.StreamingOutputCallResponse
					if got, err = stream.Recv(); err == nil && len(got.GetPayload().GetBody()) != int(size) {
						err = fmt.Errorf("%d bytes of %d", len(got.GetPayload().GetBody()), size)
					}
				}
				if err != nil {
					x.fail("stream %d after %d messages: %v", i, k, err)
					return
				}
				x.streams.Add(1)
				time.Sleep(5 * time.Millisecond)
			}
			err := stream.CloseSend()
			if err == nil {
				if _, err = stream.Recv(); err == io.EOF {
					return
				}
			}
			x.fail("end of stream %d: %v", i, err)
		})
	}
}

// finish ends the load and reports.
func (x *strictLoad) finish() {
	x.t.Helper()
	close(x.stop)
	x.wg.Wait()
	x.t.Logf("%d GETs, %d POSTs, %d echoes by WebSocket, %d messages by gRPC; %d failures",
		x.gets.Load(), x.posts.Load(), x.echoes.Load(), x.streams.Load(), len(x.failures))
	if len(x.failures) > 0 {
		x.t.Errorf("%d failures: %s", len(x.failures), strings.Join(x.failures[:min(20, len(x.failures))], "\n"))
	}
	if x.gets.Load() == 0 || x.posts.Load() == 0 || x.echoes.Load() == 0 || x.streams.Load() == 0 {
		x.t.Error("a kind of load made nothing")
	}
}
