package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"
)

// inFlight sends a request, waits until the service works on it, and returns
// where its outcome will be.
func (u *program) inFlight() <-chan error {
	u.t.Helper()
	result := make(chan error, 1)
	go func() {
		client := &http.Client{Timeout: 2 * time.Minute}
		resp, err := client.Get(u.gateway + "/slow")
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = errors.Join(err, errors.New(resp.Status))
			}
		}
		result <- err
	}()
	u.until("a request is in flight", func() bool {
		s, err := u.Service(u.t.Context(), "web")
		return err == nil && s.Inflight > 0
	})
	return result
}

func (u *program) interrupt() {
	u.t.Helper()
	if err := u.cmd.Process.Signal(os.Interrupt); err != nil {
		u.t.Fatal(err)
	}
}

// code waits for the program's end and returns its exit code.
func (u *program) code(most time.Duration) int {
	u.t.Helper()
	select {
	case err := <-u.ended:
		u.ended <- err
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return exit.ExitCode()
		} else if err != nil {
			u.t.Fatal(err)
		}
		return 0
	case <-time.After(most):
		u.t.Fatalf("swell did not end within %v\n%s", most, u.out)
	}
	return -1
}

// TestInterruptDrains: a request that takes two seconds is answered although the
// interrupt comes while it is in flight.
func TestInterruptDrains(t *testing.T) {
	loadTime(t)
	u := startSwell(t, `
  web:
    command: [SELF]
    env: {TEST_SERVICE: web, WORK: 2s}
    health: {path: /healthz}
`)
	u.untilReady("web", 1)
	result := u.inFlight()
	u.interrupt()
	if err := <-result; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	if code := u.code(30 * time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestInterruptTwiceKills: the second interrupt waits for nobody and leaves no
// process behind.
func TestInterruptTwiceKills(t *testing.T) {
	loadTime(t)
	u := startSwell(t, `
  web:
    command: [SELF]
    env: {TEST_SERVICE: web, WORK: 100s}
    health: {path: /healthz}
    stop: {drain: 90s}
`)
	u.untilReady("web", 1)
	list, err := u.Instances(t.Context(), "web")
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	result := u.inFlight()
	u.interrupt()
	u.until("it takes no new connection", func() bool {
		client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		_, err := client.Head(u.gateway + "/healthz")
		return err != nil
	})
	select {
	case err := <-result:
		t.Fatalf("the first interrupt did not wait for the request: %v", err)
	default:
	}
	u.interrupt()
	if code := u.code(20 * time.Second); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	if err := <-result; err == nil {
		t.Error("the request was answered")
	}
	pid := list[0].PID
	for end := time.Now().Add(10 * time.Second); runs(pid); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s (pid %d) was left behind", list[0].ID, pid)
		}
	}
}
