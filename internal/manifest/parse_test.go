package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"swell"
)

func parse(t *testing.T, o Options, files ...File) *Result {
	t.Helper()
	r, err := Parse(files, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestShortest(t *testing.T) {
	r := parse(t, testOptions(), File{Name: "/srv/My Shop/swell.yaml", Data: []byte("services: {web: {command: [sh]}}\ngateway: {routes: [{to: web}]}\n")})
	want := swell.App{
		Name: "my-shop", Policy: swell.Enforce,
		Gateway: swell.Gateway{Listen: ":8080", Routes: []swell.Route{{Name: "/**", To: []swell.Target{{Service: "web", Weight: 1}}}}},
		Services: []swell.Service{{
			Name:     "web",
			Run:      swell.Run{Command: []string{"sh"}, Dir: "/srv/My Shop"},
			Protocol: "http",
			Health:   swell.Health{Kind: "tcp", Interval: time.Second, Timeout: 500 * time.Millisecond, Failures: 3, Start: time.Minute},
			Balance:  swell.Use{Name: "p2c", Options: []byte("{}")},
			Outliers: swell.Outliers{Consecutive: 5, Requests: 100, Interval: 10 * time.Second, Base: time.Second, Longest: 30 * time.Second, MaxEjected: 0.5},
			Pool:     swell.Pool{Pending: 1024, Idle: 256, IdleTime: 4 * time.Second, Connect: 5 * time.Second},
			Scale: swell.Scale{
				Min: 1, Max: 10,
				Up:   swell.Behavior{Period: 15 * time.Second},
				Down: swell.Behavior{Stabilization: 5 * time.Minute, Period: 15 * time.Second},
				Idle: 5 * time.Minute, Hold: swell.Hold{Max: 10000, Timeout: time.Minute},
			},
			Stop: swell.Stop{Drain: 15 * time.Second, Grace: 10 * time.Second},
		}},
	}
	if !reflect.DeepEqual(r.App, want) {
		t.Errorf("got  %+v\nwant %+v", r.App, want)
	}
}

func TestFull(t *testing.T) {
	data, err := os.ReadFile("testdata/good/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := parse(t, testOptions(), File{Name: "/srv/shop/swell.yaml", Data: data})
	slash := "/"
	first := swell.Route{
		Name: "catalog",
		Match: swell.Match{
			Host: "*.shop.example", Path: "/api/catalog/**", Methods: []string{"GET", "HEAD"},
			Headers: []swell.Value{{Name: "X-Beta", Exact: "1"}}, Query: []swell.Value{{Name: "v", Exact: "2"}},
		},
		To:      []swell.Target{{Service: "catalog", Weight: 95}, {Service: "web", Weight: 5}},
		Rewrite: swell.Rewrite{Prefix: &slash, Host: "catalog.example"},
		Use:     []swell.Use{{Name: "retry", Options: []byte(`{"attempts":3,"on":["connect","502","503"],"budget":"20%","wait":"10ms"}`)}},
	}
	g := r.App.Gateway
	if !reflect.DeepEqual(g.Routes[0], first) {
		t.Errorf("first route: %+v", g.Routes[0])
	}
	if g.Routes[1].Name != "/users/{id}/cart" || g.Routes[3].Name != "/**" || *g.Routes[2].Redirect != (swell.Redirect{Scheme: "https", Host: "new.example", Path: "/", Port: 8443, Status: 308}) {
		t.Errorf("routes: %+v", g.Routes)
	}
	if len(g.Use) != 2 || string(g.Use[0].Options) != `{"attempts":2,"on":["connect"],"budget":"20%","wait":"0s"}` {
		t.Errorf("the gateway's filters: %s", g.Use)
	}
	catalog, payments, web := r.App.Services[0], r.App.Services[1], r.App.Services[2]
	wantRun := swell.Run{
		Command: []string{"./bin/web", "--listen", ":${PORT}", "--workers", "4"}, Dir: "/srv/shop/web",
		Env: []swell.Pair{
			{Name: "CATALOG", Value: "${edge:catalog.host}:${edge:catalog.port}"}, {Name: "DEBUG", Value: "true"}, {Name: "HOME_DIR", Value: "/home/x"},
			{Name: "LOG_LEVEL", Value: "info"}, {Name: "PRICE", Value: "5$"}, {Name: "TOKEN", Value: theSecret}, {Name: "VERSION", Value: "1.10"},
		},
	}
	if !reflect.DeepEqual(web.Run, wantRun) {
		t.Errorf("web runs %+v", web.Run)
	}
	wantScale := swell.Scale{
		Min: 0, Max: 20, SLO: swell.SLO{Quantile: 0.9990000000000001, Latency: 200 * time.Millisecond},
		Targets: swell.Targets{Concurrency: 20, RPS: 100.5, CPU: 0.7},
		Up:      swell.Behavior{Percent: 100, Pods: 4, Period: 30 * time.Second},
		Down:    swell.Behavior{Stabilization: time.Minute, Period: 15 * time.Second},
		Idle:    90 * time.Second, Hold: swell.Hold{Max: 100, Timeout: 5 * time.Second},
		CPU: 0.5, Memory: 256 << 20,
	}
	wantScale.SLO.Quantile = web.Scale.SLO.Quantile
	if q := web.Scale.SLO.Quantile; q < 0.99899 || q > 0.99901 || !reflect.DeepEqual(web.Scale, wantScale) {
		t.Errorf("web scales %+v", web.Scale)
	}
	if web.Health != (swell.Health{Kind: "http", Path: "/healthz", Interval: 2 * time.Second, Timeout: 300 * time.Millisecond, Failures: 5, Start: 10 * time.Second}) || web.Stop != (swell.Stop{Drain: 5 * time.Second}) {
		t.Errorf("web's health %+v, stop %+v", web.Health, web.Stop)
	}
	if !reflect.DeepEqual(web.Uses, []string{"catalog", "payments"}) || string(web.Balance.Options) != `{"by":"header:X-User"}` {
		t.Errorf("web uses %q, balance %s", web.Uses, web.Balance.Options)
	}
	if catalog.Health.Kind != "grpc" || catalog.Run.Port != 3000 || catalog.Scale.Max != 1 {
		t.Errorf("catalog: %+v", catalog)
	}
	if !reflect.DeepEqual(payments.Address, []swell.Address{{Addr: "10.0.0.7:8080", Weight: 1}, {Addr: "10.0.0.8:8080", Weight: 1}}) || payments.Run.Dir != "" {
		t.Errorf("payments: %+v", payments)
	}
	if !reflect.DeepEqual(r.Secrets, []string{theSecret}) || len(r.Warnings) != 0 {
		t.Errorf("secrets %q, warnings %v", r.Secrets, r.Warnings)
	}

	o := testOptions()
	o.Profile = "prod"
	r = parse(t, o, File{Name: "/srv/shop/swell.yaml", Data: data})
	web = r.App.Services[2]
	if r.App.Policy != swell.Enforce || len(r.App.Gateway.Routes) != 4 || len(r.App.Gateway.Routes[0].To) != 1 || r.App.Gateway.Routes[0].Match.Path != "/api/catalog/**" {
		t.Errorf("with the profile: %+v", r.App.Gateway)
	}
	if web.Scale.Min != 3 || web.Scale.Max != 20 || len(web.Run.Env) != 6 || web.Run.Env[2].Value != "warn" {
		t.Errorf("with the profile, web: %+v", web)
	}
}

func TestMerge(t *testing.T) {
	r := parse(t, testOptions(),
		File{Name: "/srv/shop/swell.yaml", Data: []byte("app: shop\nservices:\n  web: {command: [./web], dir: here, env: {A: 1, B: 2}}\ngateway: {listen: \":1\", routes: [{name: all, to: web}]}\n")},
		File{Name: "/srv/team/swell.yaml", Data: []byte("services:\n  web: {env: {B: 3, A: null}, dir: there}\n  cart: {command: [./cart]}\ngateway: {routes: [{match: {path: /cart}, to: cart}, {name: all, match: {path: /**}}]}\n")},
		File{Name: "/srv/empty/swell.yaml"},
	)
	cart, web := r.App.Services[0], r.App.Services[1]
	if web.Run.Dir != "/srv/team/there" || cart.Run.Dir != "/srv/team" || !reflect.DeepEqual(web.Run.Env, []swell.Pair{{Name: "B", Value: "3"}}) {
		t.Errorf("web %+v, cart %+v", web.Run, cart.Run)
	}
	if g := r.App.Gateway; g.Listen != ":1" || len(g.Routes) != 2 || g.Routes[0].Match.Path != "/**" || g.Routes[1].To[0].Service != "cart" {
		t.Errorf("gateway %+v", g)
	}
	_, err := Parse([]File{
		{Name: "a.yaml", Data: []byte("services:\n  web: {command: [./web]}\n  web: {}\n")},
		{Name: "b.yaml", Data: []byte("services:\n  web: {prot: 1}\n")},
	}, testOptions())
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 2 || problems[0].File != "a.yaml" || problems[1].File != "b.yaml" || problems[1].Line != 2 {
		t.Errorf("got %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if _, err := Load([]string{dir}, testOptions()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), FileName) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Load([]string{filepath.Join(dir, "nope.yaml")}, testOptions()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	compose := write("compose.yaml", "services: {web: {command: [sh]}}\n")
	r, err := Load([]string{dir}, testOptions())
	if err != nil || r.App.Policy != swell.Audit {
		t.Fatalf("a Compose file alone: %+v, %v", r, err)
	}
	path := write("swell.yaml", "services: {web: {command: [./web]}}\n")
	r, err = Load([]string{dir}, testOptions())
	if err != nil || r.App.Policy != swell.Enforce || r.Files[0] != path || r.App.Services[0].Run.Dir != dir {
		t.Errorf("the manifest: %+v, %v", r, err)
	}
	if _, err = Load([]string{path, compose}, testOptions()); err == nil || !strings.Contains(err.Error(), "can't be mixed") {
		t.Errorf("both: %v", err)
	}
	if _, err = Load([]string{write("large.yaml", strings.Repeat("# much\n", maxFile/6))}, testOptions()); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a large file: %v", err)
	}
}

func TestSecretLookup(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SWELL_SECRETS_DIR", dir)
	t.Setenv("SWELL_SECRET_DB_PASS_WORD", "from the environment")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"db-pass.word": "from the environment", "token": "from a file"} {
		if got, err := lookupSecret(name); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := lookupSecret("none"); err == nil || !strings.Contains(err.Error(), "SWELL_SECRET_NONE") {
		t.Errorf("none: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, maxSecret+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lookupSecret("big"); err == nil {
		t.Error("a huge secret is taken")
	}
}

func TestReferencesAreFollowedOnce(t *testing.T) {
	o := testOptions()
	o.Env = func(string) (string, bool) { return "${edge:b.url}", true }
	_, err := Parse([]File{{Name: "swell.yaml", Data: []byte("services: {a: {command: [\"${X}\"]}}\n")}}, o)
	if err == nil || !strings.Contains(err.Error(), "are not followed") {
		t.Errorf("got %v", err)
	}
}

// TestBounded: inputs made to be slow are not.
func TestBounded(t *testing.T) {
	many := func(n int, f func(int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	num := func(i int) string {
		return string(rune('a'+i%26)) + strings.Repeat("x", i%7) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26))
	}
	for name, text := range map[string]string{
		"services": "services:\n" + many(900, func(i int) string { return "  " + num(i) + ": {command: [x], uses: [" + num(i+1) + "]}\n" }),
		"routes":   "services: {a: {command: [x]}}\ngateway:\n  routes:\n" + many(4000, func(i int) string { return "    - {to: " + num(i) + "}\n" }),
		"brackets": "a: " + strings.Repeat("[", 300_000),
		"dashes":   strings.Repeat("- ", 300_000),
		"question": strings.Repeat("? ", 100_000),
		"indents":  many(700, func(i int) string { return strings.Repeat(" ", i) + "a:\n" }),
		"anchors":  "a: " + strings.Repeat("&a ", 100_000),
		"comments": many(5_000, func(i int) string { return "# c\na" + num(i) + ": 1\n" }),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, _ = Parse([]File{{Name: "swell.yaml", Data: []byte(text)}}, testOptions())
			parsed := time.Since(start)
			_, _ = Format([]byte(text))
			t.Logf("%d bytes: parse %v, format %v", len(text), parsed, time.Since(start)-parsed)
			if time.Since(start) > time.Minute {
				t.Error("much too slow")
			}
		})
	}
}
