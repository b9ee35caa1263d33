package corpus

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder is a net/http server that keeps what it understood.
type recorder struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

func newRecorder(t *testing.T) *recorder {
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		rec := record{method: q.Method, target: q.RequestURI, host: q.Host, body: string(b)}
		r.mu.Lock()
		r.got = append(r.got, rec.String())
		r.mu.Unlock()
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// startNginx starts an nginx before a recorder and returns its address; "" if there
// is no nginx.
func startNginx(t *testing.T, to string) string {
	path, err := exec.LookPath("nginx")
	if err != nil {
		if path = "/usr/sbin/nginx"; !exists(path) {
			if os.Getenv("CI") != "" {
				t.Fatal("there is no nginx, which CI must have")
			}
			return ""
		}
	}
	dir, addr := t.TempDir(), freePort(t)
	conf := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 200; }
http {
	access_log off; client_max_body_size 0; large_client_header_buffers 8 64k; underscores_in_headers on;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	server {
		listen %[2]s;
		location / { proxy_pass http://%[3]s; proxy_http_version 1.1; proxy_set_header Host $http_host; }
	}
}`, dir, addr, to)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-p", dir, "-c", file)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		select {
		case <-ended:
			t.Fatalf("nginx ended: %s", said.String())
		case <-tick.C:
		}
		if nc, err := net.Dial("tcp", addr); err == nil {
			_ = nc.Close()
			return addr
		}
	}
	t.Fatal("nginx does not listen")
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestBackEnds gives what this module's proxy forwarded to two servers that are in
// use. Each must understand it as the one request that our origin took it for, or
// refuse it, and take what follows for the next one.
func TestBackEnds(t *testing.T) {
	const sentinel = "GET /sentinel HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n"
	first, second := newRecorder(t), newRecorder(t)
	behind := strings.TrimPrefix(second.URL, "http://")
	for _, end := range []struct {
		name, addr string
		*recorder
	}{{"net/http", strings.TrimPrefix(first.URL, "http://"), first}, {"nginx", startNginx(t, behind), second}} {
		t.Run(end.name, func(t *testing.T) {
			if end.addr == "" {
				t.Skip("there is no nginx here")
			}
			seen := map[string]bool{}
			taken, refused := 0, 0
			for _, r := range results() {
				for _, rec := range r.records {
					if !rec.complete || seen[rec.raw] {
						continue
					}
					seen[rec.raw] = true
					end.take()
					answer, err := exchangeAll(end.addr, rec.raw+sentinel)
					if err != nil {
						t.Fatalf("%s: %s: %v", r.family, r.name, err)
					}
					got := end.take()
					switch {
					case len(got) == 2 && got[0] == rec.String() && strings.HasPrefix(got[1], "GET /sentinel s"):
						taken++
					case len(got) == 0 && refusal(answer), len(got) == 1 && refusal(answer) && strings.HasPrefix(got[0], "GET /sentinel s"):
						refused++
					default:
						t.Errorf("%s: %s: %.300q\nis %.300q\nand was understood as %.300q; the answer was %.100q", r.family, r.name, rec.raw, rec.String(), got, answer)
					}
				}
			}
			t.Logf("%d different messages were understood alike, %d refused", taken, refused)
			if taken < 100 {
				t.Error("too few to mean anything")
			}
		})
	}
}

// refusal reports that a connection was answered by an error first.
func refusal(answer string) bool {
	return strings.HasPrefix(answer, "HTTP/1.1 4") || strings.HasPrefix(answer, "HTTP/1.1 5")
}

// exchangeAll sends all and reads until the other side ends.
func exchangeAll(addr, raw string) (string, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	sent := make(chan struct{})
	go func() { defer close(sent); _, _ = io.WriteString(nc, raw) }()
	b, err := io.ReadAll(nc)
	_ = nc.Close()
	<-sent
	if len(b) == 0 && err != nil {
		return "", err
	}
	return string(b), nil
}
