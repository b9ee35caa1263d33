package driver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"swell"
)

// helperVar makes the test binary be one of the helper programs.
const helperVar = "DRIVER_TEST_HELPER"

func TestMain(m *testing.M) {
	if name := os.Getenv(helperVar); name != "" {
		helpers[name](os.Args[1:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var helpers = map[string]func(args []string){
	// serve answers on $PORT until SIGTERM.
	"serve": func([]string) { serve(true) },
	// stubborn ignores SIGTERM.
	"stubborn": func([]string) { signal.Ignore(syscall.SIGTERM); serve(false) },
	// crash says why and fails.
	"crash": func([]string) {
		fmt.Println("on my way")
		fmt.Fprintln(os.Stderr, "first trouble")
		fmt.Fprintln(os.Stderr, "no database at db:5432")
		os.Exit(3)
	},
	// sleep does nothing, for ever.
	"sleep": func([]string) { select {} },
	// family has a child in its group, and one that left it, and serves.
	"family": func([]string) {
		for _, own := range []bool{false, true} {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), helperVar+"=sleep")
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: own}
			if err := c.Start(); err != nil {
				panic(err)
			}
			fmt.Println("child", c.Process.Pid)
		}
		serve(true)
	},
	// shell is one that dies of SIGTERM at once, while its child takes its time.
	"shell": func([]string) {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), helperVar+"=slow")
		c.Stdout = os.Stdout
		if err := c.Start(); err != nil {
			panic(err)
		}
		select {}
	},
	"slow": func([]string) { serve(true); time.Sleep(300 * time.Millisecond); fmt.Println("all done") },
	// echo says its arguments and a variable, and serves.
	"echo": func(args []string) {
		fmt.Println("args", strings.Join(args, " "))
		for _, k := range []string{"URL", "PORT", "HOME", "SWELL_SERVICE", "SECRET_OF_THE_PARENT"} {
			fmt.Printf("%s=%s\n", k, os.Getenv(k))
		}
		serve(true)
	},
	// busy burns a core, in a child.
	"busy": func([]string) {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), helperVar+"=burn")
		if err := c.Start(); err != nil {
			panic(err)
		}
		serve(true)
	},
	"burn": func([]string) {
		for n := 0; ; n++ {
			_ = n * n
		}
	},
	// flood writes a lot, then serves.
	"flood": func([]string) {
		line := strings.Repeat("x", 1000)
		for n := range 20000 {
			fmt.Println(n, line)
		}
		serve(true)
	},
	// grpc serves gRPC's health service, SERVING after a moment.
	"grpc": func([]string) {
		l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
		if err != nil {
			panic(err)
		}
		s, h := grpc.NewServer(), health.NewServer()
		h.SetServingStatus("shop", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		time.AfterFunc(200*time.Millisecond, func() { h.SetServingStatus("shop", grpc_health_v1.HealthCheckResponse_SERVING) })
		grpc_health_v1.RegisterHealthServer(s, h)
		_ = s.Serve(l)
	},
	// keep is the keeper of a folder.
	"keep": func(args []string) {
		if err := Keep(args[0], os.Stdin, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	},
	// tick writes numbers, in two steps each, and serves.
	"tick": func([]string) {
		go func() {
			for n := 0; ; n++ {
				fmt.Print("tick")
				time.Sleep(500 * time.Microsecond)
				fmt.Println("", n)
			}
		}()
		serve(true)
	},
	// kept is like swell, with a keeper.
	"kept": func(args []string) {
		d := NewProcess(ProcessOptions{Dir: args[0], Keeper: keeperOf(args[0])})
		if err := d.Apply(context.Background(), []swell.Workload{helper("family", 2)}); err != nil {
			panic(err)
		}
		go func() {
			_ = d.Follow(context.Background(), 0, func(lines []swell.Line) error {
				for _, l := range lines {
					fmt.Println(l.Stream, l.Text)
				}
				return nil
			})
		}()
		if err := d.Run(context.Background()); err != nil {
			panic(err)
		}
	},
	// swell is a driver with an instance of family, in the folder given, for ever.
	"swell": func(args []string) {
		d := NewProcess(ProcessOptions{Dir: args[0], Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err := d.Apply(context.Background(), []swell.Workload{helper("family", 2)}); err != nil {
			panic(err)
		}
		go func() {
			_ = d.Follow(context.Background(), 0, func(lines []swell.Line) error {
				for _, l := range lines {
					fmt.Println(l.Stream, l.Text)
				}
				return nil
			})
		}()
		if err := d.Run(context.Background()); err != nil {
			panic(err)
		}
	},
}

// serve answers HTTP on $PORT, healthy until /hang is asked for.
func serve(graceful bool) {
	l, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var hung atomic.Bool
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			hung.Store(true)
		} else if hung.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})}
	if graceful {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		go func() { <-c; _ = s.Close() }()
	}
	_ = s.Serve(l)
	fmt.Println("bye")
}

// helper is a workload of a helper program.
func helper(name string, replicas int, args ...string) swell.Workload {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return swell.Workload{
		Service: name, Revision: "r1", Replicas: replicas,
		Run: swell.Run{Command: append([]string{exe}, args...), Dir: os.TempDir(), Env: []swell.Pair{
			{Name: helperVar, Value: name},
			{Name: "GORACE", Value: "atexit_sleep_ms=0"}, // else each end takes a second under -race
		}},
		Health: swell.Health{Kind: "http", Path: "/", Interval: 100 * time.Millisecond, Timeout: 10 * time.Second, Failures: 3, Start: time.Minute},
		Stop:   swell.Stop{Drain: time.Second, Grace: 20 * time.Second},
	}
}

// tester is a process driver that runs until the test's end.
type tester struct {
	*testing.T
	*Driver
	dir string
	log *journal
	end func() // stops it and waits
}

func start(t *testing.T, change ...func(*ProcessOptions)) *tester {
	t.Helper()
	x := prepare(t, change...)
	x.begin()
	return x
}

// prepare makes a tester whose driver does not run yet.
func prepare(t *testing.T, change ...func(*ProcessOptions)) *tester {
	t.Helper()
	x := &tester{T: t, dir: t.TempDir(), log: &journal{}}
	o := ProcessOptions{Dir: x.dir, Log: slog.New(slog.NewTextHandler(x.log, nil))}
	for _, c := range change {
		c(&o)
	}
	x.dir = o.Dir
	x.Driver = NewProcess(o)
	return x
}

func (x *tester) begin() {
	t := x.T
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Driver.Run(ctx) }()
	x.end = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(time.Minute):
			t.Errorf("Run did not end")
		}
	})
	t.Cleanup(x.end)
}

// until waits for a condition on what the driver tells.
func (x *tester) until(what string, ok func() bool) {
	x.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			x.Fatalf("waited in vain until %s: %+v\n%s", what, x.now(), x.log)
		}
	}
}

func (x *tester) want(ws ...swell.Workload) {
	x.Helper()
	if err := x.Apply(context.Background(), ws); err != nil {
		x.Fatal(err)
	}
}

// await returns what Watch shows once it is as wanted.
func (x *tester) await(what string, ok func([]swell.Instance) bool) []swell.Instance {
	x.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var last []swell.Instance
	err := x.Watch(ctx, func(all []swell.Instance) error {
		last = all
		if ok(all) {
			return io.EOF
		}
		return nil
	})
	if err != io.EOF {
		for _, l := range x.Tail("", 50) {
			x.Log(l.Instance, l.Stream, l.Text)
		}
		x.Fatalf("waited in vain for %s: %+v\n%s", what, last, x.log)
	}
	return last
}

// awaitReady returns n ready instances of the service, when no more live.
func (x *tester) awaitReady(service string, n int) []swell.Instance {
	x.Helper()
	var out []swell.Instance
	x.await(fmt.Sprintf("%d ready of %s", n, service), func(all []swell.Instance) bool {
		out = out[:0]
		alive := 0
		for _, i := range all {
			if i.Service == service && i.State != swell.Gone {
				alive++
			}
			if i.Service == service && i.State == swell.Ready {
				out = append(out, i)
			}
		}
		return len(out) == n && alive == n
	})
	return out
}

// awaitGone returns the instance when it is gone.
func (x *tester) awaitGone(id string) (gone swell.Instance) {
	x.Helper()
	x.await(id+" gone", func(all []swell.Instance) bool {
		for _, i := range all {
			if i.ID == id && i.State == swell.Gone {
				gone = i
				return true
			}
		}
		return false
	})
	return gone
}

// awaitLine returns the first line of the service for which ok holds.
func (x *tester) awaitLine(service string, ok func(swell.Line) bool) (found swell.Line) {
	x.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := x.Follow(ctx, 0, func(lines []swell.Line) error {
		for _, l := range lines {
			if l.Service == service && ok(l) {
				found = l
				return io.EOF
			}
		}
		return nil
	})
	if err != io.EOF {
		x.Fatalf("no such line: %v", err)
	}
	return found
}

// lives reports whether the process is there, and no zombie.
func lives(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !os.IsNotExist(err)
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(after, "Z")
}

// awaitDead waits for the end of processes that nobody tells about.
func awaitDead(t *testing.T, pids ...int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for _, pid := range pids {
		for lives(pid) {
			select {
			case <-tick.C:
			case <-late:
				t.Fatalf("process %d lives on", pid)
			}
		}
	}
}

// journal is a log that can be read while it is written.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}
