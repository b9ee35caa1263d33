package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go/http3"
)

// TestUpgradeHTTP3: connections of QUIC end with an upgrade, and new ones are made at
// once, although the process before still has others.
func TestUpgradeHTTP3(t *testing.T) {
	u := newUpgrader(t)
	u.write(manifestAt(1))
	u.start()
	u.until("all are ready", func() bool { return len(u.pids()) == 6 })
	c, _, err := websocket.Dial(t.Context(), "ws://"+u.gateway+"/ws", nil) // keeps the process
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	first := u.pid()
	get := func(client *http.Client) error {
		resp, err := client.Get("https://" + u.secure + "/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 3 || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s %s", resp.Proto, resp.Status)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	fresh := func() *http.Client {
		to := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: u.roots}}
		t.Cleanup(func() { to.Close() })
		return &http.Client{Transport: to, Timeout: 30 * time.Second}
	}
	old := fresh()
	if err := get(old); err != nil {
		t.Fatal(err)
	}
	u.upgrade()
	for range 10 {
		if err := get(fresh()); err != nil {
			t.Errorf("a new connection: %v", err)
		}
	}
	u.until("the old client comes by a new connection", func() bool { return get(old) == nil })
	if !runs(first) {
		t.Error("the first process has ended: this test shows nothing")
	}
}
