package inherit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// childVar makes the test binary be a program that systemd started.
const childVar = "INHERIT_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		activatedChild()
		return
	}
	os.Exit(m.Run())
}

// activatedChild says what it was handed, and answers on the first TCP socket.
func activatedChild() {
	list, err := Activated()
	for _, x := range list {
		fmt.Println(x.Name, x.Network, x.Addr)
	}
	if err != nil || os.Getenv("LISTEN_FDS") != "" {
		fmt.Println("trouble", err, os.Getenv("LISTEN_FDS"))
		return
	}
	s := NewSockets(list)
	if l, err := s.Listener(os.Getenv("WANT")); err != nil || l == nil {
		fmt.Println("no listener", l, err)
	} else if c, err := l.Accept(); err == nil {
		_, _ = c.Write([]byte("hello"))
		c.Close()
	}
	fmt.Println("left", len(s.Close()))
}

// TestActivated runs a child as systemd does. The PID is not known before the fork,
// so a shell that becomes the child sets it.
func TestActivated(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	var files []*os.File
	for _, s := range []any{l, u} {
		f, err := File(s)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	c := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	c.Env = append(os.Environ(), childVar+"=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=web:quic", "WANT="+l.Addr().String())
	c.ExtraFiles = files
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	b, err := io.ReadAll(conn)
	conn.Close()
	if err := c.Wait(); err != nil {
		t.Fatal(err, out.String())
	}
	if string(b) != "hello" || err != nil {
		t.Errorf("answered %q, %v\n%s", b, err, out.String())
	}
	want := fmt.Sprintf("web tcp %s\nquic udp %s\nleft 1\n", l.Addr(), u.LocalAddr())
	if out.String() != want {
		t.Errorf("the child said\n%swant\n%s", out.String(), want)
	}
}

func TestActivatedForAnother(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "7")
	if list, err := Activated(); len(list) > 0 || err != nil {
		t.Errorf("%v, %v: they are another process's", list, err)
	}
	t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	t.Setenv("LISTEN_FDS", "many")
	if _, err := Activated(); err == nil {
		t.Error("a count that is none was taken")
	}
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		asked, at string
		want      bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{":80", "[::]:80", true},
		{":80", "0.0.0.0:80", true},
		{"0.0.0.0:80", "[::]:80", true},
		{":80", "127.0.0.1:80", false},
		{"127.0.0.1:80", "[::]:80", false},
		{"localhost:80", "127.0.0.1:80", true},
		{"localhost:80", "[::1]:80", true},
		{"[::1]:80", "[::1]:80", true},
		{"127.0.0.1:80", "[::ffff:127.0.0.1]:80", true},
		{"nonsense", "127.0.0.1:80", false},
		{"127.0.0.1:0", "127.0.0.1:41234", false},
		{"127.0.0.1:80", "descriptor 3", false},
	} {
		if got := same(c.asked, c.at); got != c.want {
			t.Errorf("same(%q, %q) is %v", c.asked, c.at, got)
		}
	}
}

// TestSockets: in the words that it was asked for first, then by where it is; each
// is taken once; what is left is closed.
func TestSockets(t *testing.T) {
	var list []Socket
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := File(l)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Socket{Network: "tcp", Addr: l.Addr().String(), File: f})
		l.Close()
	}
	list[1].Asked, list[2].Name = "127.0.0.1:0", "edge"
	s := NewSockets(list)
	for i, take := range []func() (net.Listener, error){
		func() (net.Listener, error) { return s.Listener(list[0].Addr) },
		func() (net.Listener, error) { return s.Listener("127.0.0.1:0") },
		func() (net.Listener, error) { return s.Named("edge") },
	} {
		l, err := take()
		if err != nil || l == nil {
			t.Fatal(i, l, err)
		}
		if l.Addr().String() != list[i].Addr {
			t.Errorf("%s instead of %s", l.Addr(), list[i].Addr)
		}
		defer l.Close()
		if again, err := take(); again != nil || err != nil {
			t.Errorf("taken twice: %v, %v", again, err)
		}
	}
	if left := s.Close(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	var none *Sockets
	if l, err := none.Listener(":1"); l != nil || err != nil || none.Close() != nil {
		t.Error("nothing is not nothing")
	}
}

// TestChannel sends many files and an answer, and an end.
func TestChannel(t *testing.T) {
	a, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var files []*os.File
	for i := range 2*filesAtOnce + 7 {
		f, err := os.CreateTemp(t.TempDir(), "f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprint(f, i)
		files = append(files, f)
	}
	sent := make(chan error, 1)
	go func() {
		err := a.Send(map[string]int{"n": 1}, files...)
		if err == nil {
			err = a.Send("second")
		}
		sent <- errors.Join(err, a.Close())
	}()
	var m map[string]int
	got, err := b.Receive(&m)
	if err != nil || m["n"] != 1 || len(got) != len(files) {
		t.Fatal(err, m, len(got))
	}
	for i, f := range got {
		var n int
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fscan(f, &n); err != nil || n != i {
			t.Fatalf("file %d is %d, %v", i, n, err)
		}
		f.Close()
	}
	var s string
	if _, err := b.Receive(&s); err != nil || s != "second" {
		t.Fatal(s, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if _, err := b.Receive(&s); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// TestDuplicateLeavesTheMode: accepting on the original goes on to obey deadlines
// after a duplicate was taken over.
func TestDuplicateLeavesTheMode(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := File(l)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Socket{Addr: l.Addr().String(), File: f}.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, x := range []net.Listener{l, other} {
		_ = x.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := x.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	}
}

func TestNotify(t *testing.T) {
	if err := Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify("READY=1\nMAINPID=5"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != "READY=1\nMAINPID=5" {
		t.Errorf("%q, %v", b[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", "tcp:1")
	if err := Notify("READY=1"); err == nil {
		t.Error("an address of another kind was taken")
	}
}
