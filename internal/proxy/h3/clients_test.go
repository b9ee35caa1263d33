package h3

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swell/internal/exchange"
)

// The client of ngtcp2 and nghttp3, which share no code with ours.
func TestNgtcp2(t *testing.T) {
	program, err := exec.LookPath("gtlsclient")
	if err != nil {
		absentHere(t, "gtlsclient is not installed (Debian: apt-get install ngtcp2-client)")
	}
	r := newRig(t, echo)
	dir := t.TempDir()
	upload := filepath.Join(dir, "upload")
	if err := os.WriteFile(upload, []byte(strings.Repeat("0123456789abcdef", 1<<16)), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(r.addr)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	for _, c := range []struct {
		name, path string
		flags      []string
		size       int
		want       []string // in what it reports
	}{
		{"one GET", "/a%2Fb?x=1", nil, 0, []string{"[:status: 200]", "[x-method: GET]", "[x-target: /a%2Fb?x=1]"}},
		{"several GETs", "/many", []string{"-n", "20"}, 0, []string{"[:status: 200]"}},
		{"an upload that comes back", "/up", []string{"-m", "POST", "-d", upload}, 1 << 20, []string{"[:status: 200]", "[x-method: POST]", "[content-length: 1048576]"}},
	} {
		got := filepath.Join(dir, "got")
		if err := os.RemoveAll(got); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(got, 0o700); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"--exit-on-all-streams-close", "--no-quic-dump", "--timeout=20s", "--download=" + got}, c.flags...)
		args = append(args, host, port, "https://localhost:"+port+c.path)
		client := exec.CommandContext(ctx, program, args...)
		client.WaitDelay = time.Second
		out, err := client.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, out)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(string(out), w) {
				t.Errorf("%s: the client saw no %s in\n%s", c.name, w, out)
			}
		}
		if c.size > 0 {
			if b, err := os.ReadFile(filepath.Join(got, filepath.Base(c.path))); err != nil || len(b) != c.size {
				t.Errorf("%s: %d bytes came back, %v", c.name, len(b), err)
			}
		}
	}
}

// chromium finds a browser: SWELL_CHROMIUM, or where Debian and others put it.
func chromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("SWELL_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	absentHere(t, "Chromium is not installed (Debian: apt-get install chromium; or name one by SWELL_CHROMIUM)")
	return ""
}

// page asks for more by itself, and tells how all of it came.
const page = `<!doctype html><title>h3</title><script>
(async () => {
	const out = {page: performance.getEntriesByType('navigation')[0].nextHopProtocol}
	try {
		const posted = await fetch('/echo', {method: 'POST', body: 'x'.repeat(300000)})
		out.posted = (await posted.text()).length
		const parts = await fetch('/stream')
		const reader = parts.body.getReader()
		out.parts = 0
		for (;;) {
			const {done} = await reader.read()
			if (done) break
			out.parts++
		}
		try {
			const broken = await fetch('/broken')
			await broken.text()
			out.broken = 'whole'
		} catch (e) { out.broken = 'broken' }
		out.all = performance.getEntriesByType('resource').map(e => e.nextHopProtocol).join()
	} catch (e) { out.error = String(e) }
	await fetch('/report', {method: 'POST', body: JSON.stringify(out)})
})()
</script>`

func TestChromium(t *testing.T) {
	browser := chromium(t)
	reported := make(chan string, 1)
	r := newRig(t, func(x *exchange.Exchange) {
		a := &x.Response
		switch string(x.Request.Path()) {
		case "/":
			a.Status, a.Length, a.Body = 200, int64(len(page)), exchange.Bytes([]byte(page))
			a.Header.Set(exchange.ContentType, "text/html")
		case "/echo":
			echo(x)
		case "/stream":
			n := 0
			a.Status, a.Length = 200, -1
			a.Body = &steps{next: func() ([]byte, error) {
				if n++; n > 5 {
					return nil, io.EOF
				}
				time.Sleep(50 * time.Millisecond)
				return []byte("part\n"), nil
			}}
		case "/broken":
			a.Status, a.Length = 200, 10
			a.Body = &steps{next: func() ([]byte, error) { return nil, exchange.ErrShort }}
		case "/report":
			var text []byte
			for {
				p, err := x.Request.Body.Next()
				if err != nil {
					break
				}
				text = append(text, p...)
			}
			select {
			case reported <- string(text):
			default:
			}
			x.Reply(200, "thanks")
		default:
			x.Reply(404, "")
		}
	})
	_, port, _ := net.SplitHostPort(r.addr)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	run := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--user-data-dir="+t.TempDir(), "--no-proxy-server",
		"--origin-to-force-quic-on=localhost:"+port, "--ignore-certificate-errors-spki-list="+r.spki,
		"--host-resolver-rules=MAP localhost 127.0.0.1", "--remote-debugging-port=0", "https://localhost:"+port+"/")
	var log lockedBuffer
	run.Stderr = &log
	run.WaitDelay = 5 * time.Second
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	text := ""
	select {
	case text = <-reported:
	case <-ctx.Done():
	}
	cancel()
	_ = run.Wait()
	if text == "" {
		t.Fatalf("the page did not report\n%s", log.String())
	}
	var got struct {
		Page, All, Broken, Error string
		Posted, Parts            int
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if got.Error != "" || got.Page != "h3" || got.Posted != 300_000 || got.Parts < 2 || got.Broken != "broken" || !strings.HasPrefix(got.All, "h3,h3") {
		t.Errorf("the browser saw %s", text)
	}
}
