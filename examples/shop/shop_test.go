// Package shop_test runs the shop's programs as they are, without Swell.
package shop_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// program is one of them, running.
type program struct {
	url  string
	cmd  *exec.Cmd
	logs chan struct{} // closed when its output ended
}

// run starts a program on a free port and waits until it is ready.
func run(t *testing.T, env []string, name string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), append(env, "PORT=0")...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: cmd, logs: make(chan struct{})}
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-p.logs; _ = cmd.Wait() })
	ready := make(chan string, 1)
	go func() {
		defer close(p.logs)
		var addr string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var line struct{ Msg, Addr string }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Errorf("%s logs %q, which is not JSON", name, lines.Text())
			}
			switch line.Msg {
			case "listening":
				addr = line.Addr
			case "ready":
				ready <- addr
			}
		}
	}()
	select {
	case addr := <-ready:
		p.url = "http://" + addr
	case <-time.After(30 * time.Second):
		t.Fatalf("%s did not get ready", name)
	}
	return p
}

// end sends SIGTERM and returns how the program ended.
func (p *program) end() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-p.logs
	return p.cmd.Wait()
}

// binaries builds the programs in Go once for all tests.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", dir+"/", "./...")
	build.Stderr = os.Stderr
	return dir, build.Run()
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := binaries(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

func call(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestTheShop(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	pricing := run(t, nil, filepath.Join(bin, "pricing"), "--work", "1ms", "--startup", "1ms")
	catalog := run(t, []string{"PRICING_URL=" + pricing.url}, filepath.Join(bin, "catalog"), "--work", "1ms", "--startup", "1ms")
	cart := run(t, nil, "node", "cart/server.js", "--work", "1ms", "--startup=1ms")
	web := run(t, []string{"CATALOG_URL=" + catalog.url, "CART_URL=" + cart.url}, filepath.Join(bin, "web"), "--work", "1ms", "--startup", "1ms")

	for _, c := range []struct {
		method, url, body string
		status            int
		want              string
	}{
		{"GET", pricing.url + "/prices?ids=rope&quantity=10", "", 200, `{"id":"rope","quantity":10,"net":9900,"rebate":990,"tax":1693,"total":10603}`},
		{"GET", pricing.url + "/prices?ids=rope,boat", "", 404, `no product is named \"boat\"`},
		{"GET", pricing.url + "/prices?ids=rope&quantity=0", "", 400, `quantity \"0\"`},
		{"GET", catalog.url + "/products/rope", "", 200, `"price":1178,"currency":"EUR"`},
		{"GET", catalog.url + "/products/boat", "", 404, `no product is named`},
		{"GET", web.url + "/api/home", "", 200, `"cart":{"user":"ann","items":[],"count":0},"total":0`},
		{"POST", web.url + "/api/cart/items", `{"id":"rope","quantity":2}`, 201, `"items":[{"id":"rope","quantity":2}],"count":2`},
		{"POST", web.url + "/api/cart/items", `{"id":"boat"}`, 404, `no product is named`},
		{"POST", web.url + "/api/cart/items", `{"id":"rope","quantity":-1}`, 400, `quantity is a number`},
		{"POST", web.url + "/api/cart/items", `rope`, 400, `is not an item`},
		{"GET", web.url + "/api/home", "", 200, `"total":2356`},
		{"GET", web.url + "/", "", 200, `2 × rope; 23.56 EUR`},
		{"GET", web.url + "/nothing", "", 404, ``},
		{"GET", cart.url + "/carts/bob", "", 200, `{"user":"bob","items":[],"count":0}`},
		{"POST", cart.url + "/carts/bob", "", 405, `POST is not for`},
		{"POST", cart.url + "/carts/bob/items", strings.Repeat("x", 5000), 413, `4096`},
	} {
		status, body := call(t, c.method, c.url, c.body, "X-User", "ann")
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: got %d %s; want %d %s", c.method, c.url, status, body, c.status, c.want)
		}
	}

	for name, p := range map[string]*program{"web": web, "catalog": catalog, "pricing": pricing, "cart": cart} {
		if err := p.end(); err != nil {
			t.Errorf("%s ended with %v after SIGTERM", name, err)
		}
	}
}

func TestAnInstanceSaturatesAtItsRate(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	p := run(t, nil, filepath.Join(bin, "pricing"), "--workers", "2", "--work", "20ms", "--startup", "1ms")
	var done atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range 16 { // each sends its next request when it has its answer
		all.Go(func() {
			for time.Since(began) < 2*time.Second {
				resp, err := http.Get(p.url + "/prices?ids=rope")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				done.Add(1)
			}
		})
	}
	all.Wait()
	rate := float64(done.Load()) / time.Since(began).Seconds()
	if rate > 105 || rate < 60 { // never more; less only if the machine is very busy
		t.Errorf("2 workers of 20ms carried %.1f requests a second; 100 are right", rate)
	}
}

func TestSIGTERMFinishesWhatIsInFlight(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*program{
		"/prices?ids=rope": run(t, nil, filepath.Join(bin, "pricing"), "--work", "1s", "--startup", "1ms"),
		"/carts/ann":       run(t, nil, "node", "cart/server.js", "--work", "1s", "--startup", "1ms"),
	} {
		got := make(chan int, 1)
		go func() {
			resp, err := http.Get(p.url + name)
			if err != nil {
				got <- 0
				return
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				got <- -1
				return
			}
			got <- resp.StatusCode
		}()
		// The request takes a second; what was sent before the signal is in flight.
		<-time.After(400 * time.Millisecond)
		if err := p.end(); err != nil {
			t.Errorf("%s: ended with %v", name, err)
		}
		if status := <-got; status != http.StatusOK {
			t.Errorf("%s: the request in flight got %d", name, status)
		}
	}
}

func TestABadStartSaysWhy(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, want string }{{"pricing", "PORT is not set"}, {"catalog", "PRICING_URL is"}, {"web", "CATALOG_URL is"}} {
		cmd := exec.Command(filepath.Join(bin, c.name))
		cmd.Env = []string{}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, %s", c.name, err, out)
		}
	}
}
