package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// TestSettled tells in virtual time when a change is looked at.
func TestSettled(t *testing.T) {
	const ms = time.Millisecond
	type event struct {
		at   time.Duration
		name string
		op   fsnotify.Op
		err  error
	}
	var burst []event // without a rest, for 250 ms
	for at := 0 * ms; at < 250*ms; at += 10 * ms {
		burst = append(burst, event{at: at, name: "a", op: fsnotify.Write})
	}
	for _, c := range []struct {
		name   string
		events []event
		want   []time.Duration // when changed was called
		fails  bool
	}{
		{"an edit", []event{{0, "a", fsnotify.Write, nil}}, []time.Duration{settle}, false},
		{"an edit in steps", []event{{0, "a", fsnotify.Create, nil}, {10 * ms, "a", fsnotify.Write, nil}, {20 * ms, "a", fsnotify.Write, nil}}, []time.Duration{20*ms + settle}, false},
		{"two edits", []event{{0, "a", fsnotify.Write, nil}, {50 * ms, "b", fsnotify.Write, nil}}, []time.Duration{settle, 50*ms + settle}, false},
		{"another file", []event{{0, "c", fsnotify.Write, nil}}, nil, false},
		{"only its mode", []event{{0, "a", fsnotify.Chmod, nil}}, nil, false},
		{"another file does not prolong it", []event{{0, "a", fsnotify.Write, nil}, {10 * ms, "c", fsnotify.Write, nil}}, []time.Duration{settle}, false},
		{"deleted and put back", []event{{0, "a", fsnotify.Remove, nil}, {time.Second, "a", fsnotify.Create, nil}}, []time.Duration{settle, time.Second + settle}, false},
		{"a burst", burst, []time.Duration{90*ms + settle, 200*ms + settle, 240*ms + settle}, false},
		{"events were lost", []event{{0, "", 0, fsnotify.ErrEventOverflow}}, []time.Duration{settle}, false},
		{"the watcher broke", []event{{0, "", 0, errors.New("broken")}}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				events, failures := make(chan fsnotify.Event), make(chan error)
				var got []time.Duration
				start := time.Now()
				ended := make(chan error, 1)
				go func() {
					ended <- settled(ctx, map[string]bool{"a": true, "b": true}, events, failures,
						func() { got = append(got, time.Since(start)) })
				}()
				for _, e := range c.events {
					time.Sleep(e.at - time.Since(start))
					if e.err != nil {
						failures <- e.err
					} else {
						events <- fsnotify.Event{Name: e.name, Op: e.op}
					}
				}
				time.Sleep(time.Minute)
				cancel()
				if err := <-ended; errors.Is(err, context.Canceled) == c.fails {
					t.Errorf("ended with %v", err)
				}
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("looked at %v, want %v", got, c.want)
				}
			})
		})
	}
}

// TestWatchFiles changes real files in the ways that editors do: after each way
// the content that stays is seen, and a neighbour's is not.
func TestWatchFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "swell.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "first")
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan string, 1000)
	ended := make(chan error, 1)
	go func() {
		ended <- watchFiles(ctx, []string{file}, func() {
			b, err := os.ReadFile(file)
			if err != nil {
				b = []byte("gone")
			}
			seen <- string(b)
		})
	}()
	until := func(want string) {
		t.Helper()
		end := time.After(30 * time.Second)
		for {
			select {
			case got := <-seen:
				if got == "neighbour" {
					t.Fatal("another file was looked at")
				}
				if got == want {
					return
				}
			case <-end:
				t.Fatalf("%q was never seen", want)
			}
		}
	}
	// The watch begins some time after the goroutine does.
	for n, begun := 0, false; !begun; n++ {
		write(file, fmt.Sprint("begin ", n))
		select {
		case <-seen:
			begun = true
		case <-time.After(100 * time.Millisecond):
		}
		if n > 300 {
			t.Fatal("the watch never began")
		}
	}
	write(file, "edited")
	until("edited")

	write(file+".new", "replaced")
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	until("replaced")

	for n := range 50 {
		write(file, fmt.Sprint("burst ", n))
	}
	until("burst 49")

	write(filepath.Join(dir, "neighbour.yaml"), "neighbour")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	until("gone")
	write(file, "back")
	until("back")

	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWatchNoFolder(t *testing.T) {
	if err := watchFiles(t.Context(), []string{filepath.Join(t.TempDir(), "nowhere", "swell.yaml")}, func() {}); err == nil {
		t.Error("a folder that is not there was watched")
	}
}
