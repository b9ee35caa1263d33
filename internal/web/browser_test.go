package web

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// absentHere skips the test, or fails it where everything must be there.
func absentHere(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// packages makes sure that what npm brings is there.
func packages(t *testing.T, ctx context.Context) {
	t.Helper()
	if _, err := os.Stat("ui/node_modules/playwright-core"); err != nil {
		if _, err := exec.LookPath("npm"); err != nil {
			absentHere(t, "npm is not installed, which brings the dashboard's packages")
		}
		npm := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
		npm.Dir = "ui"
		if out, err := npm.CombinedOutput(); err != nil {
			absentHere(t, "npm ci: "+err.Error()+"\n"+string(out))
		}
	}
}

// bundled bundles the dashboard as it is now. It leaves dist alone: other packages
// that embed it may be built at this moment.
func bundled(t *testing.T, ctx context.Context) *page {
	t.Helper()
	packages(t, ctx)
	dir := t.TempDir()
	bundle := exec.CommandContext(ctx, "go", "run", "./internal/web/bundle", "-o", dir)
	bundle.Dir = "../.."
	if out, err := bundle.CombinedOutput(); err != nil {
		t.Fatalf("bundle the dashboard: %v\n%s", err, out)
	}
	return pageOf(os.DirFS(dir))
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

// TestTypes checks the types of the dashboard's source.
func TestTypes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := exec.LookPath("node"); err != nil {
		absentHere(t, "Node is not installed")
	}
	packages(t, ctx)
	tsc := exec.CommandContext(ctx, filepath.FromSlash("node_modules/.bin/tsc"), "--noEmit")
	tsc.Dir = "ui"
	if out, err := tsc.CombinedOutput(); err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
}

// TestInTheBrowser drives the dashboard with a live shop behind it. What it looks
// for is in ui/test/drive.mjs. With SWELL_SHOTS it leaves pictures there.
func TestInTheBrowser(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		absentHere(t, "Node is not installed, which drives the browser")
	}
	browser := chromium(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	files := bundled(t, ctx)

	s := newShop()
	srv := New(s.options())
	*srv.page = *files
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	live, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.run(live, 500*time.Millisecond) })
	wg.Go(func() { srv.Run(live, l) })
	defer wg.Wait()
	defer stop()

	drive := exec.CommandContext(ctx, "node", "test/drive.mjs")
	drive.Dir = "ui"
	drive.Env = append(os.Environ(), "SWELL_URL=http://"+l.Addr().String(), "SWELL_CHROMIUM="+browser, "SWELL_PROFILE="+t.TempDir())
	drive.WaitDelay = 10 * time.Second
	out, err := drive.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
