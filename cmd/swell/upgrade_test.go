package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"swell/internal/web"
)

// upgrader is a swell that may change its process.
type upgrader struct {
	*web.Client
	t       *testing.T
	dir     string
	program string // what is started again
	gateway string // host:port
	secure  string // likewise, of TLS
	admin   string
	roots   *x509.CertPool
	pidFile string
	out     *safeBuffer
	first   *exec.Cmd
	ended   chan error
	fds     []*os.File // as from systemd
	env     []string
}

// newUpgrader prepares one in a folder of its own.
func newUpgrader(t *testing.T) *upgrader {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("upgrades are for Linux")
	}
	if testing.Short() {
		t.Skip("takes seconds")
	}
	u := &upgrader{t: t, dir: t.TempDir(), out: &safeBuffer{}}
	u.program = filepath.Join(u.dir, "swell")
	u.put(os.Args[0])
	for _, a := range []*string{&u.gateway, &u.secure, &u.admin} {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		*a = "127.0.0.1:" + port
	}
	for i := range 2 {
		u.certificate(fmt.Sprintf("tls%d", i))
	}
	u.Client, u.pidFile = web.NewClient(u.admin, ""), filepath.Join(u.dir, "pid")
	return u
}

// certificate makes a certificate of the gateway that signs itself.
func (u *upgrader) certificate(name string) {
	u.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		u.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(int64(len(name))), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		u.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		u.t.Fatal(err)
	}
	for ext, b := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(u.dir, name+ext), pem.EncodeToMemory(b), 0o600); err != nil {
			u.t.Fatal(err)
		}
	}
	if u.roots == nil {
		u.roots = x509.NewCertPool()
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		u.t.Fatal(err)
	}
	u.roots.AddCert(parsed)
}

// put makes another file the program.
func (u *upgrader) put(file string) {
	u.t.Helper()
	tmp := u.program + ".new"
	if err := os.Symlink(file, tmp); err != nil {
		u.t.Fatal(err)
	}
	if err := os.Rename(tmp, u.program); err != nil {
		u.t.Fatal(err)
	}
}

// write writes the manifest, with the gateway's address and the program of the
// services filled in.
func (u *upgrader) write(text string) {
	u.t.Helper()
	text = strings.NewReplacer("GATEWAY", u.gateway, "SECURE", u.secure, "SELF", os.Args[0]).Replace(text)
	tmp := filepath.Join(u.dir, "new.yaml")
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		u.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(u.dir, "swell.yaml")); err != nil {
		u.t.Fatal(err)
	}
}

// start runs it until the test's end.
func (u *upgrader) start() {
	u.t.Helper()
	args := []string{"up", "--plain", "--admin", u.admin, "--pid-file", u.pidFile, u.dir}
	u.first = exec.Command(u.program, args...)
	if len(u.fds) > 0 {
		u.first = exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, u.program}, args...)...)
		u.first.ExtraFiles = u.fds
	}
	u.first.Env = append(append(os.Environ(), "TEST_SWELL=1"), u.env...)
	// Not u.out itself: Wait would wait for all processes that write there.
	r, w, err := os.Pipe()
	if err != nil {
		u.t.Fatal(err)
	}
	go func() { _, _ = io.Copy(u.out, r) }()
	u.first.Stdout, u.first.Stderr = w, w
	if err := u.first.Start(); err != nil {
		u.t.Fatal(err)
	}
	w.Close()
	u.ended = make(chan error, 1)
	go func() { u.ended <- u.first.Wait() }()
	u.t.Cleanup(func() {
		u.stop()
		if u.t.Failed() {
			u.t.Logf("swell said:\n%s", u.out)
		}
		_ = u.first.Process.Kill() // if it never served; else it has ended
	})
	u.until("it is ready", func() bool { return u.Ready(u.t.Context()) == nil })
	u.until("it says its number", func() bool { return u.pid() == u.first.Process.Pid })
}

// pid is the number of the process that serves; 0 if there is none.
func (u *upgrader) pid() int {
	b, err := os.ReadFile(u.pidFile)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

func (u *upgrader) until(what string, ok func() bool) {
	u.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			u.t.Fatalf("not so after a minute: %s\n%s", what, u.out)
		}
	}
}

// upgrade asks for an upgrade and waits until another process has the place.
func (u *upgrader) upgrade() {
	u.t.Helper()
	old := u.pid()
	if err := syscall.Kill(old, syscall.SIGUSR2); err != nil {
		u.t.Fatal(err)
	}
	u.until("another process serves", func() bool { p := u.pid(); return p != 0 && p != old })
}

// stop ends whatever serves, and sees that nothing is left.
func (u *upgrader) stop() {
	pid := u.pid()
	if pid == 0 {
		return // it did already, or never served
	}
	list, err := u.Instances(context.Background(), "")
	_ = syscall.Kill(pid, syscall.SIGTERM)
	u.gone("swell", pid)
	if err == nil {
		for _, i := range list {
			u.gone(i.ID, i.PID)
		}
	}
}

// gone waits until a process has ended.
func (u *upgrader) gone(what string, pid int) {
	for end := time.Now().Add(time.Minute); runs(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			u.t.Errorf("%s (process %d) did not end", what, pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return
		}
	}
}

// pids are the instances' processes, by ID.
func (u *upgrader) pids() map[string]int {
	u.t.Helper()
	list, err := u.Instances(u.t.Context(), "")
	if err != nil {
		u.t.Fatal(err)
	}
	out := map[string]int{}
	for _, i := range list {
		if i.State == "ready" {
			out[i.ID] = i.PID
		}
	}
	return out
}

// version of the manifest: every reload changes something else.
func manifestAt(n int) string { return manifestWith(n, 0) }

// manifestWith has another environment for the service api with each level.
func manifestWith(n, level int) string {
	return fmt.Sprintf(`app: test
gateway:
  listen: GATEWAY
  limits: {idle-time: %[1]ds}
  tls:
    listen: SECURE
    certificates: [{cert: tls%[6]d.crt, key: tls%[6]d.key}]
  routes:
    - match: {path: /ws}
      to: web
    - match: {path: /grpc.testing.TestService/**}
      to: orders
    - match: {path: "/extra-%[2]d/**"}
      to: web
    - match: {path: /**}
      to: web
      use: [{headers: {response: {set: {X-Version: "%[3]d"}}}}]
services:
  web:
    command: [SELF]
    env: {TEST_SERVICE: web, CALLEE_URL: "${edge:api.url}", WORK: 2ms, WORKERS: "64"}
    uses: [api]
    health: {path: /healthz, interval: 200ms}
    balance: %[4]s
    scale: {min: 2, max: 2}
  api:
    command: [SELF]
    env: {TEST_SERVICE: api, LEVEL: "%[5]d"}
    health: {path: /healthz, interval: 200ms}
    scale: {min: 2, max: 2}
  orders:
    command: [SELF]
    env: {TEST_SERVICE: grpc}
    protocol: grpc
    health: {tcp: true, interval: 200ms}
    scale: {min: 2, max: 2}
`, 60+n%7, n%5, n, []string{"round-robin", "p2c", "least-connections"}[n%3], level, n%2)
}

// TestUpgradeUnderLoad reloads a hundred times and upgrades five times, while GETs,
// POSTs that nobody could send again, WebSockets and streams of gRPC go on, in the clear
// and over TLS: nothing fails, nothing is dropped, no instance is restarted.
func TestUpgradeUnderLoad(t *testing.T) {
	u := newUpgrader(t)
	u.write(manifestAt(0))
	u.start()
	u.until("all are ready", func() bool { return len(u.pids()) == 6 })
	before := u.pids()
	x := &strictLoad{t: t, u: u, stop: make(chan struct{})}
	x.sockets(20)
	x.calls(20)
	x.requests(8)
	processes := []int{u.pid()}
	for n := 1; n <= 100; n++ {
		u.write(manifestAt(n))
		want := strconv.Itoa(n)
		u.until("version "+want+" is in use", func() bool {
			resp, err := http.Get("http://" + u.gateway + "/")
			if err != nil {
				x.fail("GET: %v", err)
				return false
			}
			resp.Body.Close()
			return resp.Header.Get("X-Version") == want
		})
		if n%20 == 10 {
			u.upgrade()
			processes = append(processes, u.pid())
			u.until("the API answers", func() bool { return u.Ready(t.Context()) == nil })
			if now := u.pids(); !sameMap(now, before) {
				t.Fatalf("the instances were %v, are %v", before, now)
			}
		}
	}
	if now := u.pids(); !sameMap(now, before) {
		t.Errorf("the instances were %v, are %v", before, now)
	}
	x.finish()
	for _, pid := range processes[:len(processes)-1] {
		u.gone("an earlier swell", pid)
	}
	u.stop()
	u.once(x.posts.Load())
	slices.Sort(processes)
	if len(slices.Compact(processes)) != 6 {
		t.Errorf("there were processes %v", processes)
	}
}

// once checks by the instances' output that each POST was received, and none twice,
// and that no line was lost.
func (u *upgrader) once(want int64) {
	u.t.Helper()
	files, err := filepath.Glob(filepath.Join(u.dir, ".swell", "logs", "web.log*"))
	if err != nil {
		u.t.Fatal(err)
	}
	seen := map[string]int{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			u.t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, "lines are missing here") {
				u.t.Errorf("output was lost: %s", line)
			}
			if _, body, ok := strings.Cut(line, "stdout: got "); ok {
				if seen[body]++; seen[body] > 1 {
					u.t.Errorf("received twice: %s", line)
				}
			}
		}
	}
	if int64(len(seen)) != want {
		u.t.Errorf("%d POSTs were received, %d answered", len(seen), want)
	}
}

func sameMap(a, b map[string]int) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// TestUpgradeFails: programs that can't take over leave the old one as it was.
func TestUpgradeFails(t *testing.T) {
	u := newUpgrader(t)
	u.write(manifestAt(1))
	dies := filepath.Join(u.dir, "dies")
	u.env = []string{"TEST_DIES=" + dies}
	u.start()
	u.until("all are ready", func() bool { return len(u.pids()) == 6 })
	before, pid := u.pids(), u.pid()
	x := &strictLoad{t: t, u: u, stop: make(chan struct{})}
	x.sockets(3)
	x.requests(4)
	failures := 0
	for _, program := range []string{"/bin/false", filepath.Join(u.dir, "nothing")} {
		u.put(program)
		if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		failures++
		u.until("it says that it failed", func() bool {
			return strings.Count(u.out.String(), "upgrade: it failed") == failures
		})
	}
	// A manifest that the new program refuses is as bad.
	u.put(os.Args[0])
	good := manifestAt(1)
	u.write("services: [")
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	failures++
	u.until("it says that it failed", func() bool { return strings.Count(u.out.String(), "upgrade: it failed") == failures })
	u.write(good)
	// And one that dies once everything was handed to it.
	if err := os.WriteFile(dies, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	failures++
	u.until("it says that it failed", func() bool { return strings.Count(u.out.String(), "upgrade: it failed") == failures })
	if err := os.Remove(dies); err != nil {
		t.Fatal(err)
	}
	if u.pid() != pid || !sameMap(before, u.pids()) {
		t.Errorf("process %d became %d, instances %v became %v", pid, u.pid(), before, u.pids())
	}
	// The driver works: what is killed is started again. And then it goes well.
	for id, p := range before {
		if !strings.HasPrefix(id, "orders-") {
			continue
		}
		_ = syscall.Kill(p, syscall.SIGKILL)
		u.until("there is another", func() bool {
			now := u.pids()
			return len(now) == 6 && now[id] == 0
		})
		break
	}
	u.upgrade()
	close(x.stop)
	x.wg.Wait()
	for _, f := range x.failures {
		t.Error(f)
	}
}

// TestUpgradeKeepsWatch: after an upgrade, instances that die are replaced, the new
// process is the one that drains, and what SIGKILL leaves is ended.
func TestUpgradeKeepsWatch(t *testing.T) {
	u := newUpgrader(t)
	u.write(manifestAt(1))
	u.start()
	u.until("all are ready", func() bool { return len(u.pids()) == 6 })
	u.upgrade()
	u.gone("the first swell", u.first.Process.Pid)
	if err := <-u.ended; err != nil {
		t.Errorf("the first swell ended with %v", err)
	}
	for id, p := range u.pids() {
		_ = syscall.Kill(p, syscall.SIGKILL)
		u.until("there is another", func() bool {
			now := u.pids()
			return len(now) == 6 && now[id] == 0
		})
		break
	}
	u.until("output is kept", func() bool {
		lines, err := u.Logs(t.Context(), web.LogQuery{Service: "web"})
		return err == nil && len(lines) > 0
	})
	pids := u.pids()
	_ = syscall.Kill(u.pid(), syscall.SIGKILL)
	for id, p := range pids {
		u.gone(id, p)
	}
	u.start()
	u.until("all are ready", func() bool { return len(u.pids()) == 6 })
}

// TestActivated listens where systemd listened, says so to it, and closes what is
// not its own.
func TestActivated(t *testing.T) {
	u := newUpgrader(t)
	var said []string
	var mu sync.Mutex
	path := filepath.Join(u.dir, "notify")
	n, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Skip(err) // the folder's name is too long for a socket
	}
	defer n.Close()
	go func() {
		b := make([]byte, 1000)
		for {
			k, err := n.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			said = append(said, string(b[:k]))
			mu.Unlock()
		}
	}()
	heard := func(want string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, want) })
		}
	}
	var listeners []net.Listener
	for _, addr := range []string{u.gateway, u.admin, "127.0.0.1:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		listeners, u.fds = append(listeners, l), append(u.fds, f)
	}
	u.env = []string{"LISTEN_FDS=3", "LISTEN_FDNAMES=gateway:admin:what", "NOTIFY_SOCKET=" + path}
	u.write(manifestAt(1))
	u.start() // it could not listen there itself: we still do
	u.until("it says which it does not use", func() bool {
		return strings.Contains(u.out.String(), listeners[2].Addr().String())
	})
	u.until("READY=1", heard("READY=1"))
	u.write(manifestAt(2))
	u.until("RELOADING=1", heard("RELOADING=1\nMONOTONIC_USEC="))
	u.upgrade()
	u.until("MAINPID", heard(fmt.Sprintf("MAINPID=%d", u.pid())))
	resp, err := http.Get("http://" + u.gateway + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	_ = syscall.Kill(u.pid(), syscall.SIGTERM)
	u.until("STOPPING=1", heard("STOPPING=1"))
}

// TestUpgradeEndsInstancesInPeace replaces all instances after an upgrade, while the
// process before still has a WebSocket to one of them: that one ends when the
// WebSocket does.
func TestUpgradeEndsInstancesInPeace(t *testing.T) {
	u := newUpgrader(t)
	u.write(manifestAt(1))
	u.start()
	u.until("all are ready", func() bool { return len(u.pids()) == 6 })
	before := u.pids()
	c, _, err := websocket.Dial(t.Context(), "ws://"+u.gateway+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	echo := func() {
		t.Helper()
		err := c.Write(t.Context(), websocket.MessageText, []byte("are you there"))
		if err == nil {
			_, _, err = c.Read(t.Context())
		}
		if err != nil {
			t.Fatalf("the WebSocket: %v", err)
		}
	}
	echo()
	first := u.pid()
	u.upgrade()
	u.upgrade() // two processes further on
	u.write(strings.ReplaceAll(manifestAt(1), "WORK: 2ms", "WORK: 1ms"))
	kept := func() (id string, n int) {
		for i, pid := range before {
			if strings.HasPrefix(i, "web-") && runs(pid) {
				id = i
				n++
			}
		}
		return id, n
	}
	u.until("the other instance is replaced", func() bool {
		ready := 0
		for id := range u.pids() {
			if strings.HasPrefix(id, "web-") && before[id] == 0 {
				ready++
			}
		}
		_, n := kept()
		return ready == 2 && n <= 1
	})
	id, n := kept()
	if n != 1 {
		t.Fatalf("%d of the instances before are there", n)
	}
	list, err := u.Instances(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if i.ID == id && i.State != "draining" {
			t.Errorf("%s is %s", id, i.State)
		}
	}
	for range 10 {
		echo()
		time.Sleep(20 * time.Millisecond)
	}
	if !runs(first) {
		t.Error("the first process ended before its last connection")
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	u.gone(id, before[id])
	u.gone("the first swell", first)
}

// TestDrainSaysSo: /readyz says no as soon as draining begins, while what is in
// flight is answered.
func TestDrainSaysSo(t *testing.T) {
	loadTime(t)
	s := startSwell(t, `
  web:
    command: [SELF]
    env: {TEST_SERVICE: web, WORK: 2s}
    health: {path: /healthz}
`)
	s.untilReady("web", 1)
	result := s.inFlight()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.until("/readyz says no", func() bool {
		err := s.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "draining")
	})
	select {
	case err := <-result:
		t.Fatalf("the request ended first: %v", err)
	default:
	}
	if err := <-result; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	if code := s.code(30 * time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
