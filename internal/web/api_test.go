package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"swell"
)

const patience = 20 * time.Second // on a machine that does much else

// serve runs a server on loopback for the test and returns its address.
func serve(t *testing.T, opt Options) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	srv := New(opt)
	go func() { done <- srv.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the server ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the server does not end")
		}
	})
	return l.Addr().String()
}

func do(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
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

// TestAnswers asks every endpoint, well and badly.
func TestAnswers(t *testing.T) {
	opt := newShop().options()
	opt.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up 1\n") })
	base := "http://" + serve(t, opt)
	const manifest = "app: shop\n"
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string // a regular expression that the answer matches
	}{
		{"GET", "/healthz", "", 200, `^ok`},
		{"GET", "/readyz", "", 200, `^ready`},
		{"GET", "/metrics", "", 200, `^up 1`},
		{"GET", "/debug/pprof/", "", 404, `error`},
		{"GET", "/", "", 200, `<!doctype html>`},
		{"POST", "/", "", 404, `"error"`},
		{"GET", "/nothing.js", "", 404, `there is no page /nothing.js`},
		{"GET", "/../server.go", "", 404, ``},
		{"GET", "/api/v1/app", "", 200, `"name":"shop","policy":"enforce","listen":":8080","services":8,"routes":4`},
		{"GET", "/api/v1/services", "", 200, `^\[\{"name":"cart","status":"ok","ready":\d`},
		{"GET", "/api/v1/services/catalog", "", 200, `"callers":\[\{"caller":"gateway"[^]]*\{"caller":"web".*"callees":\[\{"caller":"catalog","callee":"pricing".*"decision":\{`},
		{"GET", "/api/v1/services/catalogue", "", 404, `no service is named \\"catalogue\\"; there are: cart, catalog, `},
		{"GET", "/api/v1/services/catalog/decisions?n=2", "", 200, `^\[\{"service":"catalog".*"previous":\d+.*"steps":\[\{"name":"signal"`},
		{"GET", "/api/v1/services/nope/decisions", "", 404, `no service`},
		{"GET", "/api/v1/services/catalog/decisions?n=zero", "", 400, `n is \\"zero\\": it is a number from 1 to 1000`},
		{"GET", "/api/v1/services/catalog/history", "", 200, `^\[\{"at":"[^"]+","rate":[\d.]+`},
		{"GET", "/api/v1/services/nope/history", "", 404, `no service`},
		{"GET", "/api/v1/instances", "", 200, `"state":"ready".*"cpu":0.\d+,"memory":\d{8}`},
		{"GET", "/api/v1/instances?service=thumbnails", "", 200, `^\[\]`},
		{"GET", "/api/v1/edges", "", 200, `\{"caller":"web","callee":"catalog","declared":true,"rate":\d`},
		{"GET", "/api/v1/routes", "", 200, `"match":"/\*\* X-Beta: 1","to":\[\{"service":"web","share":0.95\}.*"redirect":"308 /"`},
		{"GET", "/api/v1/routes?url=/api/orders/1&method=post", "", 200, `"method":"POST".*"route":\{"name":"orders"`},
		{"GET", "/api/v1/routes?url=/nowhere", "", 200, `\{"method":"GET","url":"/nowhere"\}`},
		{"GET", "/api/v1/routes?url=nonsense", "", 400, `\\"nonsense\\" is not a URL`},
		{"GET", "/api/v1/decisions?n=3", "", 200, `"by":"latency"`},
		{"GET", "/api/v1/decisions?n=1000000", "", 400, `from 1 to 1000`},
		{"GET", "/api/v1/logs?service=web&n=1", "", 200, `^\[\{"seq":\d+,"at":"[^"]+","service":"web"[^]]*\]`},
		{"GET", "/api/v1/logs?q=CARD+declined&n=2", "", 200, `card declined`},
		{"GET", "/api/v1/logs?instance=none", "", 200, `^\[\]`},
		{"GET", "/api/v1/logs?n=-1", "", 400, `n is`},
		{"GET", "/api/v1/logs/stream?since=x", "", 400, `since is \\"x\\"`},
		{"GET", "/api/v2/app", "", 404, `the API is under /api/v1/`},
		{"DELETE", "/api/v1/services/web", "", 404, `there is no DELETE /api/v1/services/web`},
		{"POST", "/api/v1/apply?dry_run=1", manifest, 200, `"applied":false,"changes":\[\{"op":"~","what":"app","text":"policy: enforce → audit"`},
		{"POST", "/api/v1/apply?dry_run=perhaps", manifest, 400, `dry_run is \\"perhaps\\"`},
		{"POST", "/api/v1/apply", " \n", 400, `the body is empty`},
		{"POST", "/api/v1/apply?name=x.yaml", "prot: 1", 422, `"status":422,"message":"the manifest has 2 problems","problems":\[\{"file":"x.yaml","line":12,"column":7,"width":4,"text":"unknown field \\"prot\\"","hint":"did you mean \\"port\\"\?","source":`},
		{"POST", "/api/v1/apply", strings.Repeat("#", maxBody+1), 413, `larger than \d+ bytes`},
		{"POST", "/api/v1/apply", manifest, 200, `"applied":true.*"warnings":\[\{"file":"swell.yaml","line":1`},
		{"POST", "/api/v1/services/web/scale", `{"replicas":5,"for":"30m"}`, 200, `"service":"web","replicas":5,"until":"`},
		{"POST", "/api/v1/services/web/scale", `{"replicas":0}`, 200, `"replicas":0`},
		{"POST", "/api/v1/services/nope/scale", `{"replicas":5}`, 404, `no service`},
		{"POST", "/api/v1/services/payments/scale", `{"replicas":5}`, 422, `is not run by Swell`},
		{"POST", "/api/v1/services/web/scale", `{"replicas":500}`, 422, `0 to 20 instances \(scale.max in the manifest\), not 500`},
		{"POST", "/api/v1/services/web/scale", `{"replicas":-1}`, 422, `not -1`},
		{"POST", "/api/v1/services/web/scale", `{"replicas":1,"for":"soon"}`, 400, `"for\\" is \\"soon\\": it is a duration of at most 24h`},
		{"POST", "/api/v1/services/web/scale", `{"replicas":1,"for":"48h"}`, 400, `at most 24h`},
		{"POST", "/api/v1/services/web/scale", `{}`, 400, `\\"replicas\\" is missing`},
		{"POST", "/api/v1/services/web/scale", `{"replica":1}`, 400, `unknown field`},
		{"POST", "/api/v1/services/web/scale", `replicas`, 400, `the body is not`},
	} {
		status, body := do(t, c.method, base+c.path, c.body)
		if ok, err := regexp.MatchString("(?s)"+c.want, body); status != c.status || !ok || err != nil {
			t.Errorf("%s %s: %d %.400s\nwant %d %s %v", c.method, c.path, status, body, c.status, c.want, err)
		}
		if status >= 400 && c.want != "" && !strings.HasPrefix(body, `{"error":{"status":`+fmt.Sprint(status)) {
			t.Errorf("%s %s: %.200s is no error of the API", c.method, c.path, body)
		}
	}
}

// TestAbsentSources asks a server that has nothing but a state.
func TestAbsentSources(t *testing.T) {
	h := New(Options{State: func() State { return State{} }}).Handler()
	for path, want := range map[string]int{
		"/readyz": 503, "/api/v1/services": 200, "/api/v1/edges": 200, "/api/v1/decisions": 200,
		"/api/v1/logs": 501, "/api/v1/logs/stream": 501, "/api/v1/routes?url=/": 501, "/metrics": 404,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost:7070"
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
		}
		if strings.Contains(w.Body.String(), "null") {
			t.Errorf("%s answers null for an empty list: %s", path, w.Body)
		}
	}
}

// TestGuard sends what pages of others would make a browser send.
func TestGuard(t *testing.T) {
	addr := serve(t, newShop().options())
	base := "http://" + addr
	for _, c := range []struct {
		what, method, path string
		header             []string
		status             int
	}{
		{"a name that was rebound", "GET", "/api/v1/app", []string{"Host", "evil.example"}, 403},
		{"a name that was rebound, with our port", "GET", "/api/v1/app", []string{"Host", "evil.example:7070"}, 403},
		{"the page itself under that name", "GET", "/", []string{"Host", "evil.example"}, 403},
		{"an address of another machine", "GET", "/api/v1/app", []string{"Host", "10.1.2.3:7070"}, 403},
		{"localhost", "GET", "/api/v1/app", []string{"Host", "localhost:7070"}, 200},
		{"a name below localhost", "GET", "/api/v1/app", []string{"Host", "swell.localhost"}, 200},
		{"loopback in version 6", "GET", "/api/v1/app", []string{"Host", "[::1]:7070"}, 200},
		{"another origin", "POST", "/api/v1/apply?dry_run=1", []string{"Origin", "https://evil.example"}, 403},
		{"an origin that is hidden", "POST", "/api/v1/apply?dry_run=1", []string{"Origin", "null"}, 403},
		{"another port of this machine", "POST", "/api/v1/apply?dry_run=1", []string{"Origin", "http://127.0.0.1:1"}, 403},
		{"a page of another site, as browsers say it", "POST", "/api/v1/apply?dry_run=1", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"our own page", "POST", "/api/v1/apply?dry_run=1", []string{"Origin", base, "Sec-Fetch-Site", "same-origin"}, 200},
		{"no browser", "POST", "/api/v1/apply?dry_run=1", nil, 200},
	} {
		if status, body := do(t, c.method, base+c.path, "app: shop\n", c.header...); status != c.status {
			t.Errorf("%s: %d %.200s, want %d", c.what, status, body, c.status)
		}
	}
	resp, err := http.Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy is %q", csp)
	}
}

func TestToken(t *testing.T) {
	opt := newShop().options()
	opt.Token = "s3cret"
	addr := serve(t, opt)
	for _, c := range []struct {
		path, auth string
		status     int
	}{
		{"/api/v1/app", "", 401}, {"/api/v1/app", "Bearer wrong", 401}, {"/api/v1/app", "s3cret", 401},
		{"/api/v1/app", "Bearer s3cret", 200}, {"/api/v1/app", "bearer s3cret", 200},
		{"/api/v1/stream", "", 401}, {"/metrics", "", 401},
		{"/healthz", "", 200}, {"/readyz", "", 200}, {"/", "", 200},
	} {
		header := []string{}
		if c.auth != "" {
			header = []string{"Authorization", c.auth}
		}
		if status, body := do(t, "GET", "http://"+addr+c.path, "", header...); status != c.status {
			t.Errorf("%s with %q: %d %.100s, want %d", c.path, c.auth, status, body, c.status)
		}
	}
	if _, err := NewClient(addr, "").App(t.Context()); err == nil || !strings.Contains(err.Error(), "asks for a token") {
		t.Errorf("without a token: %v", err)
	}
	if _, err := NewClient(addr, "s3cret").App(t.Context()); err != nil {
		t.Errorf("with the token: %v", err)
	}
}

type farListener struct{ net.Listener }

func (farListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7070} }

func TestBeyondLoopbackItRefusesToServe(t *testing.T) {
	for _, token := range []string{"", "s3cret"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		opt := newShop().options()
		opt.Token = token
		err = New(opt).Run(t.Context(), farListener{l})
		if err == nil || !strings.Contains(err.Error(), "10.0.0.1:7070: beyond loopback it needs a token and TLS") {
			t.Errorf("with token %q: %v", token, err)
		}
	}
}

func TestClientRoundTrip(t *testing.T) {
	s := newShop()
	c := NewClient(serve(t, s.options()), "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	check := func(what string, err error, ok bool) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: %v %v", what, ok, err)
		}
	}
	app, err := c.App(ctx)
	check("app", err, app.Name == "shop" && app.Version == "test")
	services, err := c.Services(ctx)
	check("services", err, len(services) == 8 && services[7].Name == "web" && services[7].Rate > 0 && services[7].Quantile == 0.95 && slices.Equal(services[7].Goals, []string{"p95 ≤ 200ms", "20 in flight", "70 % CPU"}))
	byStatus := map[string]Status{}
	for _, x := range services {
		byStatus[x.Name] = x.Status
	}
	check("statuses", nil, byStatus["search"] == Failing && byStatus["thumbnails"] == Idle && byStatus["payments"] == External)
	detail, err := c.Service(ctx, "catalog")
	check("service", err, detail.Name == "catalog" && len(detail.Instances) > 0 && detail.Decision != nil)
	instances, err := c.Instances(ctx, "web")
	check("instances", err, len(instances) > 0 && instances[0].Service == "web" && instances[0].ReadyAt != nil)
	edges, err := c.Edges(ctx)
	check("edges", err, len(edges) >= 8)
	routes, err := c.Routes(ctx)
	check("routes", err, len(routes) == 4)
	m, err := c.Match(ctx, "GET", "http://shop.example/api/orders/1")
	check("match", err, m.Route != nil && m.Route.Name == "orders")
	ds, err := c.Decisions(ctx, "catalog", 3)
	check("decisions", err, len(ds) == 3 && ds[2].Previous != nil && len(ds[2].Steps) > 0)
	ds, err = c.Decisions(ctx, "", 0)
	check("all decisions", err, len(ds) > 3 && slices.IsSortedFunc(ds, func(a, b Decision) int { return a.At.Compare(b.At) }))
	h, err := c.History(ctx, "catalog")
	check("history", err, len(h) == 420 && h[0].At.Before(h[1].At))
	lines, err := c.Logs(ctx, LogQuery{Service: "catalog", N: 7})
	check("logs", err, len(lines) == 7 && lines[0].Seq < lines[6].Seq)
	scaled, err := c.Scale(ctx, "catalog", 9, time.Hour)
	check("scale", err, scaled.Replicas == 9 && time.Until(scaled.Until) > 50*time.Minute && s.floors["catalog"] == 9)
	check("ready", c.Ready(ctx), true)
	applied, err := c.Apply(ctx, "swell.yaml", []byte("app: shop\n"), true)
	check("dry run", err, !applied.Applied && len(applied.Changes) == 1 && s.state().App.Policy == swell.Enforce)
	_, err = c.Apply(ctx, "swell.yaml", []byte("prot: 1\n"), false)
	var invalid *Invalid
	if !errors.As(err, &invalid) || len(invalid.Problems) != 2 || !strings.HasPrefix(err.Error(), `swell.yaml:12:7: unknown field "prot" (did you mean "port"?)`) {
		t.Errorf("an invalid manifest: %v", err)
	}
	var refused *Error
	if _, err = c.Service(ctx, "a b/c"); !errors.As(err, &refused) || refused.Status != 404 || !strings.Contains(err.Error(), `no service is named "a b/c"`) {
		t.Errorf("a service that is not there: %v", err)
	}
}

func TestClientWhereNoSwellIs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = NewClient(addr, "").App(t.Context())
	want := "no swell is running at " + addr + "; start one with swell up, or name another with --admin"
	if !errors.Is(err, ErrUnreachable) || err.Error() != want {
		t.Errorf("nobody listens: %v", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }))
	defer other.Close()
	for _, f := range []func(*Client) error{
		func(c *Client) error { _, err := c.App(t.Context()); return err },
		func(c *Client) error { return c.Stream(t.Context(), func(Frame) error { return nil }) },
	} {
		if err := f(NewClient(other.URL, "")); err == nil || !strings.Contains(err.Error(), "does not answer as swell does") {
			t.Errorf("somebody else listens: %v", err)
		}
	}
	if _, err := NewClient("a b c", "").App(t.Context()); err == nil || !strings.Contains(err.Error(), "is not an address") {
		t.Errorf("no address: %v", err)
	}
}

var errEnough = errors.New("enough")

// TestStream follows frames: the first is whole, changes come before the second
// is over, and decisions come again only when they are others.
func TestStream(t *testing.T) {
	s := newShop()
	c := NewClient(serve(t, s.options()), "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var frames []Frame
	err := c.Stream(ctx, func(f Frame) error {
		frames = append(frames, f)
		if len(frames) == 1 {
			s.step(time.Now())
		}
		ticks := 0
		for _, f := range frames {
			if f.Tick {
				ticks++
			}
		}
		if ticks >= 2 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("%v after %d frames", err, len(frames))
	}
	first := frames[0]
	if len(first.Services) != 8 || len(first.Services[1].Spark) != 120 || len(first.Decisions) == 0 || len(first.Edges) == 0 || len(first.Routes) != 4 || first.App.Name != "shop" {
		t.Errorf("the first frame is not whole: %+v", first.App)
	}
	changed := slices.ContainsFunc(frames[1:], func(f Frame) bool { return !f.Tick })
	if !changed {
		t.Error("a change brought no frame")
	}
	last := frames[len(frames)-1]
	if last.Decisions != nil {
		t.Errorf("%d decisions came again", len(last.Decisions))
	}
	if p := last.Points["catalog"]; !last.Tick || p.Rate == 0 || p.At.IsZero() {
		t.Errorf("a tick brings the newest second: %+v", p)
	}
	if last.Services[1].Spark != nil {
		t.Error("a spark came again")
	}
}

// TestSlowClient does not read what it is sent; the server ends its stream, and
// others notice nothing.
func TestSlowClient(t *testing.T) {
	srv := New(newShop().options())
	slow, quick := srv.frames.join(), srv.frames.join()
	for i := range frameQueue + 1 {
		srv.frames.send(true)
		if _, ok := <-quick; !ok {
			t.Fatalf("who reads was dropped at frame %d", i)
		}
	}
	n := 0
	for range slow {
		n++
	}
	if n != frameQueue {
		t.Errorf("the slow one got %d frames, want %d and then the end", n, frameQueue)
	}
	if !srv.frames.watched() {
		t.Error("nobody is left")
	}
}

func TestTooManyStreams(t *testing.T) {
	opt := newShop().options()
	opt.Streams = 2
	addr := serve(t, opt)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	open := make(chan struct{}, 2)
	for range 2 {
		wg.Go(func() {
			once := false
			NewClient(addr, "").Stream(ctx, func(Frame) error {
				if !once {
					once = true
					open <- struct{}{}
				}
				return nil
			})
		})
	}
	for range 2 {
		select {
		case <-open:
		case <-time.After(patience):
			t.Fatal("the streams do not open")
		}
	}
	err := NewClient(addr, "").FollowLogs(ctx, LogQuery{}, func([]Line) error { return nil })
	var refused *Error
	if !errors.As(err, &refused) || refused.Status != 503 {
		t.Errorf("a third stream: %v", err)
	}
}

// TestFollowLogs misses no line and repeats none, over two connections.
func TestFollowLogs(t *testing.T) {
	s := newShop()
	c := NewClient(serve(t, s.options()), "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go s.run(ctx, 5*time.Millisecond)
	var got []Line
	q := LogQuery{Service: "web", N: 10}
	for _, want := range []int{40, 80} {
		err := c.FollowLogs(ctx, q, func(lines []Line) error {
			got = append(got, lines...)
			if len(got) >= want {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) {
			t.Fatalf("%v after %d lines", err, len(got))
		}
		q.Since = got[len(got)-1].Seq
	}
	var all []uint64
	for _, l := range s.Tail("web", 1<<30) {
		if l.Seq >= got[0].Seq && l.Seq <= got[len(got)-1].Seq {
			all = append(all, l.Seq)
		}
	}
	seqs := make([]uint64, len(got))
	for i, l := range got {
		seqs[i] = l.Seq
	}
	if !slices.Equal(seqs, all) {
		t.Errorf("got %v\nwant %v", seqs, all)
	}
}

func TestPages(t *testing.T) {
	get := func(p *page, path string, header ...string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		if len(header) == 2 {
			r.Header.Set(header[0], header[1])
		}
		p.ServeHTTP(w, r)
		return w
	}
	empty := pageOf(fstest.MapFS{".gitkeep": {}})
	if w := get(empty, "/"); w.Code != 200 || !strings.Contains(w.Body.String(), "make build") {
		t.Errorf("without the bundle: %d %s", w.Code, w.Body)
	}
	if w := get(empty, "/.gitkeep"); w.Code != 404 {
		t.Errorf("a file of no known kind: %d", w.Code)
	}
	full := pageOf(fstest.MapFS{"index.html": {Data: []byte("<p>")}, "main.js": {Data: []byte("1")}})
	w := get(full, "/main.js")
	if w.Code != 200 || w.Body.String() != "1" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/javascript") {
		t.Errorf("main.js: %d %s %v", w.Code, w.Body, w.Header())
	}
	if w := get(full, "/main.js", "If-None-Match", w.Header().Get("ETag")); w.Code != 304 {
		t.Errorf("main.js again: %d", w.Code)
	}
}

// TestTypesAgree holds the dashboard's types to the API's: the same names.
func TestTypesAgree(t *testing.T) {
	f, err := os.Open("ui/src/types.ts")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fields := map[string]map[string]bool{}
	opened := regexp.MustCompile(`^export interface (\w+)(?: extends (\w+))? \{`)
	field := regexp.MustCompile(`^  (\w+)(\??):`)
	current := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if m := opened.FindStringSubmatch(lines.Text()); m != nil {
			current = m[1]
			fields[current] = map[string]bool{}
			for name, must := range fields[m[2]] {
				fields[current][name] = must
			}
		} else if m := field.FindStringSubmatch(lines.Text()); m != nil {
			fields[current][m[1]] = m[2] == ""
		}
	}
	for _, v := range []any{AppInfo{}, Traffic{}, Service{}, Instance{}, Edge{}, RouteTarget{}, Route{}, RouteMatch{}, Step{}, Decision{}, Point{}, Line{}, Frame{}} {
		typ := reflect.TypeOf(v)
		want := map[string]bool{}
		for _, sf := range reflect.VisibleFields(typ) {
			if sf.Anonymous {
				continue
			}
			name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
			want[name] = options != "omitempty"
		}
		if got := fields[typ.Name()]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: types.ts has %v, api.go has %v (true: always there)", typ.Name(), got, want)
		}
	}
}

// FuzzRequests sends whatever to the API: it never panics, and what it refuses it
// refuses in its own words.
func FuzzRequests(f *testing.F) {
	h := New(newShop().options()).Handler()
	f.Add("GET", "api/v1/services/web?n=1", "")
	f.Add("POST", "api/v1/services/web/scale", `{"replicas":1,"for":"1m"}`)
	f.Add("GET", "api/v1/routes?url=%zz&method=\x00", "")
	f.Add("GET", "api/v1/logs?since=18446744073709551616", "")
	f.Fuzz(func(t *testing.T, method, target, body string) {
		r, err := http.NewRequest(method, "http://localhost/"+target, strings.NewReader(body))
		if err != nil || strings.HasSuffix(r.URL.Path, "/stream") {
			return
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 400 && w.Code != http.StatusMethodNotAllowed {
			var e struct{ Error *Error }
			if json.Unmarshal(w.Body.Bytes(), &e) != nil || e.Error == nil || e.Error.Message == "" {
				t.Errorf("%s %q: %d %q", method, target, w.Code, w.Body)
			}
		}
	})
}
