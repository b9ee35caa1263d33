package manifest

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"swell"
)

// noEnv is an environment with two variables.
func noEnv(name string) (string, bool) {
	v, ok := map[string]string{"TAG": "1.4", "HOME": "/home/x"}[name]
	return v, ok
}

func compose1(t *testing.T, text string, more ...string) (*Result, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(more); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, more[i]), []byte(more[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "compose.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return Load([]string{dir}, Options{Env: noEnv, Secret: func(string) (string, error) { return "s3cret", nil }, FindProgram: func(string, string) error { return nil }})
}

func TestCompose(t *testing.T) {
	r, err := compose1(t, `
name: shop
services:
  web:
    image: shop/web:${TAG}
    entrypoint: ["./web"]
    command: ["--name", "$${NAME}", "--port", "${PORT}"]
    environment:
      LEVEL: info
      CATALOG: ${edge:catalog.url}
      KEY: ${secret:key}
    env_file: web.env
    ports: ["8088:80", "9999:81"]
    depends_on: [catalog]
    volumes: ["./data:/data"]
    privileged: true
    networks: [front]
    stop_grace_period: 3s
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost:80/healthz"]
      interval: 5s
      retries: 4
    deploy:
      replicas: 3
      resources:
        limits: {cpus: "0.5", memory: 256M}
        reservations: {memory: 64M}
      placement: {constraints: [node.role == manager]}
  catalog:
    command: node catalog.js
    environment: [PORT=3000, HOME]
    x-swell:
      scale: {min: 2, max: 4, slo: {latency: {p95: 100ms}}}
x-swell:
  gateway: {routes: [{match: {path: /api/**}, to: catalog}]}
networks:
  front: {}
`, "web.env", "FROM_FILE=1\n")
	if err != nil {
		t.Fatal(err)
	}
	if r.App.Name != "shop" || r.App.Policy != swell.Audit || r.App.Gateway.Listen != ":8088" || len(r.App.Gateway.Routes) != 2 {
		t.Errorf("app: %+v", r.App)
	}
	catalog, web := r.App.Services[0], r.App.Services[1]
	if want := []string{"./web", "--name", "${NAME}", "--port", "${PORT}"}; !reflect.DeepEqual(web.Run.Command, want) {
		t.Errorf("web's command is %q", web.Run.Command)
	}
	wantEnv := []swell.Pair{{Name: "CATALOG", Value: "${edge:catalog.url}"}, {Name: "FROM_FILE", Value: "1"}, {Name: "KEY", Value: "s3cret"}, {Name: "LEVEL", Value: "info"}}
	if !reflect.DeepEqual(web.Run.Env, wantEnv) {
		t.Errorf("web's env is %q", web.Run.Env)
	}
	if web.Health.Kind != "http" || web.Health.Path != "/healthz" || web.Health.Interval != 5*time.Second || web.Health.Failures != 4 {
		t.Errorf("web's health is %+v", web.Health)
	}
	if web.Scale.Min != 3 || web.Scale.Max != 10 || web.Scale.CPU != 0.5 || web.Scale.Memory != 256<<20 || web.Stop.Grace != 3*time.Second {
		t.Errorf("web's scale is %+v, stop %+v", web.Scale, web.Stop)
	}
	if !reflect.DeepEqual(web.Uses, []string{"catalog"}) {
		t.Errorf("web uses %q", web.Uses)
	}
	if catalog.Scale.Min != 2 || catalog.Scale.SLO.Latency != 100*time.Millisecond || !reflect.DeepEqual(catalog.Run.Env, []swell.Pair{{Name: "HOME", Value: "/home/x"}}) {
		t.Errorf("catalog is %+v", catalog)
	}
	var said []string
	for _, w := range r.Warnings {
		if w.Line == 0 {
			t.Errorf("no line for: %s", w)
		}
		said = append(said, w.Text)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{"image is not used", "volumes of service web", "privileged of service web", "networks of service web", "networks has no effect",
		"port 9999", "deploy.placement", "deploy.resources.reservations", "PORT is set by Swell"} {
		if !strings.Contains(all, want) {
			t.Errorf("no warning has %q in:\n%s", want, all)
		}
	}
	if !reflect.DeepEqual(r.Secrets, []string{"s3cret"}) || len(r.Files) != 2 {
		t.Errorf("secrets %q, files %q", r.Secrets, r.Files)
	}
}

func TestComposeErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"image only":    {"services:\n  db:\n    image: postgres\n", "compose.yaml:3:5: service db has no command: this version runs commands, not images"},
		"build only":    {"services:\n  db:\n    build: .\n", "compose.yaml:3:5: service db has no command"},
		"unknown field": {"services:\n  web:\n    command: [sh]\n    prots: [80]\n", "compose.yaml:4:5: Compose: "},
		"not YAML":      {"services: [\n", "this is not YAML"},
		"x-swell":       {"services:\n  web:\n    command: [sh]\n    x-swell:\n      scal: {}\n", `compose.yaml:5:7: unknown field "scal"`},
		"no such use":   {"services:\n  web:\n    command: [sh]\n    depends_on: [nope]\n", "nope"},
		"a list":        {"- a\n", "must be a mapping"},
		"x-swell list":  {"services:\n  web:\n    command: [sh]\n    x-swell: [1]\n", "x-swell must be a mapping"},
		"edge":          {"services:\n  web:\n    command: [sh]\n    environment: {A: \"${edge:b.url}\"}\n  b:\n    command: [sh]\n", "service web does not use b"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compose1(t, c.text)
			var problems Problems
			if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestComposeHealth(t *testing.T) {
	for test, want := range map[string]swell.Health{
		`["CMD-SHELL", "wget -qO- http://127.0.0.1:3000/up?x=1 || exit 1"]`: {Kind: "http", Path: "/up?x=1"},
		`curl -f http://localhost || exit 1`:                                {Kind: "http", Path: "/"},
		`["CMD", "grpc_health_probe", "-addr=:5000"]`:                       {Kind: "grpc"},
		`["CMD", "pg_isready"]`:                                             {Kind: "tcp"},
		`["NONE"]`:                                                          {Kind: "tcp"},
	} {
		r, err := compose1(t, "services:\n  web:\n    command: [sh]\n    healthcheck:\n      test: "+test+"\n")
		if err != nil {
			t.Errorf("%s: %v", test, err)
			continue
		}
		got := r.App.Services[0].Health
		if got.Kind != want.Kind || got.Path != want.Path {
			t.Errorf("%s: got %+v", test, got)
		}
		if warned := len(r.Warnings) > 0; warned != strings.Contains(test, "pg_isready") {
			t.Errorf("%s: warnings: %v", test, r.Warnings)
		}
	}
}

func TestComposeProfileAndVariables(t *testing.T) {
	r, err := compose1(t, "services:\n  web:\n    command: [sh, \"${A}\", \"${B:-b}\"]\n  dev:\n    command: [sh]\n    profiles: [dev]\n", ".env", "A=a\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.App.Services[0].Run.Command; !reflect.DeepEqual(got, []string{"sh", "a", "b"}) || len(r.App.Services) != 1 {
		t.Errorf("got %q of %d services", got, len(r.App.Services))
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0].Text, "service dev is left out") {
		t.Errorf("warnings: %v", r.Warnings)
	}
}
