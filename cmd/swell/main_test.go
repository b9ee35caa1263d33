package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// The test binary is also the command under test, and the services that it runs.
func TestMain(m *testing.M) {
	if name := os.Getenv("TEST_SERVICE"); name != "" {
		service(name)
		return
	}
	if f := os.Getenv("TEST_DIES"); f != "" && os.Getenv(upgradeVar) != "" {
		if _, err := os.Stat(f); err == nil { // a program that dies with all in its hands
			_, _ = takeOver()
			os.Exit(1)
		}
	}
	if os.Getenv("TEST_SWELL") != "" {
		os.Exit(run())
	}
	testscript.Main(m, map[string]func(){
		"swell": func() { os.Exit(run()) },
		"hello": func() { service("hello") },
	})
}

// service is a small web service: it answers with its name, its instance and
// what CALLEE_URL answered, if that is set. STARTUP delays it; WORK is how long
// each of its WORKERS is busy with a request.
func service(name string) {
	startup, _ := time.ParseDuration(os.Getenv("STARTUP"))
	work, _ := time.ParseDuration(os.Getenv("WORK"))
	workers, _ := strconv.Atoi(os.Getenv("WORKERS"))
	time.Sleep(startup)
	if name == "grpc" {
		serveGRPC()
		return
	}
	free := make(chan struct{}, max(1, workers))
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/ws", echo)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{"service": name, "instance": os.Getenv("SWELL_INSTANCE"), "path": r.RequestURI, "level": os.Getenv("LEVEL")}
		if work > 0 {
			free <- struct{}{}
			time.Sleep(work)
			<-free
		}
		if callee := os.Getenv("CALLEE_URL"); callee != "" {
			req, _ := http.NewRequestWithContext(r.Context(), "GET", callee+"/from/"+name, nil)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				http.Error(w, fmt.Sprint(resp.Status, err), http.StatusBadGateway)
				return
			}
			answer["callee"] = json.RawMessage(b)
		}
		if r.Method == http.MethodPost {
			b, _ := io.ReadAll(r.Body)
			answer["body"] = string(b)
			fmt.Printf("got %q\n", b)
		}
		b, _ := json.Marshal(answer)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	})
	srv := &http.Server{Handler: mux}
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening on", l.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(end)
	}()
	if err := srv.Serve(l); err != http.ErrServerClosed {
		os.Exit(1)
	}
	<-ctx.Done()
}

// calls answers the streams of gRPC's interoperability tests: messages as long as
// they are asked for.
type calls struct {
	testgrpc.UnimplementedTestServiceServer
}

func (calls) FullDuplexCall(s grpc.BidiStreamingServer[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse]) error {
	for {
		r, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range r.GetResponseParameters() {
			if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
				return err
			}
		}
	}
}

// serveGRPC serves them.
func serveGRPC() {
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(s, calls{})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		time.AfterFunc(5*time.Second, s.Stop)
		s.GracefulStop()
	}()
	_ = s.Serve(l)
}

// echo sends every message of a WebSocket back.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, b, err := c.Read(context.Background())
		if err == nil {
			err = c.Write(context.Background(), kind, b)
		}
		if err != nil {
			return
		}
	}
}

// TestScripts runs testdata/*.txt: the command line as people type it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			port, err := freePort()
			if err != nil {
				return err
			}
			gateway, err := freePort()
			if err != nil {
				return err
			}
			e.Setenv("ADMIN", "127.0.0.1:"+port)
			e.Setenv("GATEWAY", "127.0.0.1:"+gateway)
			e.Setenv("NO_COLOR", "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// code N swell ARGS…: runs swell and wants the exit code N.
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				got := 0
				if err != nil {
					fmt.Sscanf(err.Error(), "exit status %d", &got)
				}
				if strconv.Itoa(got) != args[0] {
					ts.Fatalf("%s: exit code %d, want %s (%v)", strings.Join(args[1:], " "), got, args[0], err)
				}
			},
			// occupy ADDR: takes a port until the script ends.
			"occupy": func(ts *testscript.TestScript, _ bool, args []string) {
				l, err := net.Listen("tcp", args[0])
				ts.Check(err)
				ts.Defer(func() { l.Close() })
			},
			// until URL|FILE TEXT: asks until the answer, or reads until the file, holds the text.
			"until": func(ts *testscript.TestScript, _ bool, args []string) {
				last := ""
				for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
					if !strings.HasPrefix(args[0], "http:") {
						b, err := os.ReadFile(ts.MkAbs(args[0]))
						if last = fmt.Sprint(string(b), err); strings.Contains(string(b), args[1]) {
							return
						}
						continue
					}
					resp, err := http.Get(args[0])
					if err != nil {
						last = err.Error()
						continue
					}
					b, _ := io.ReadAll(resp.Body)
					resp.Body.Close()
					if last = fmt.Sprint(resp.StatusCode, " ", string(b)); strings.Contains(last, args[1]) {
						return
					}
				}
				ts.Fatalf("%s never held %q; the last: %s", args[0], args[1], last)
			},
		},
	})
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
