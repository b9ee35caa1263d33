//go:build linux

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// peer is a proxy that is measured.
type peer struct {
	name    string
	program string
	port    int
	version []string // arguments that print its version
	file    string   // of its configuration
	config  string
	args    func(dir string) []string // of its command
}

// originPort and the ones after it are taken at the start, free ones.
var (
	ports      = freePorts(8)
	originPort = ports[0]
)

// freePorts returns ports that are free now.
func freePorts(n int) []int {
	out := make([]int, n)
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err) // no loopback, no benchmark
		}
		defer func() { _ = l.Close() }() // all at the end, so that they differ
		out[i] = l.Addr().(*net.TCPAddr).Port
	}
	return out
}

func addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// self returns the command that runs this program in a role.
func self(args ...string) []string {
	exe, err := os.Executable()
	if err != nil {
		panic(err) // /proc is not mounted; nothing here works without it
	}
	return append([]string{exe}, args...)
}

// peers are the proxies, each with what a team would set for this use: one worker,
// connections to the origin kept, no limit of requests on a connection, forwarding
// headers, no access log. Swell's telemetry is on, as it is by default.
func peers(o *options) []peer {
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // otherwise its worker may not enter the directory
	}
	swell, err := filepath.Abs(o.swell)
	if err != nil {
		swell = o.swell
	}
	return []peer{
		{
			name: "swell", program: swell, port: ports[1], version: []string{"--version"}, file: "swell.yaml",
			config: fmt.Sprintf(`app: bench
gateway:
  listen: %s
  routes:
    - match: {path: /**}
      to: origin
services:
  origin:
    address: ["%s"]
`, addr(ports[1]), addr(originPort)),
			args: func(dir string) []string {
				return []string{"up", dir, "--admin", addr(ports[6])}
			},
		},
		{
			name: "nginx", program: "nginx", port: ports[2], version: []string{"-v"}, file: "nginx.conf",
			config: fmt.Sprintf(`%s
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream origin { server %s; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen %s;
    keepalive_requests 1000000000;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`, user, addr(originPort), addr(ports[2])),
			args: func(dir string) []string {
				return []string{"-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr"}
			},
		},
		{
			name: "HAProxy", program: "haproxy", port: ports[3], version: []string{"-v"}, file: "haproxy.cfg",
			config: fmt.Sprintf(`global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  option forwardfor
  http-reuse always
frontend front
  bind %s
  http-request set-header X-Forwarded-Proto http
  default_backend origin
backend origin
  server origin %s
`, addr(ports[3]), addr(originPort)),
			args: func(dir string) []string { return []string{"-db", "-f", filepath.Join(dir, "haproxy.cfg")} },
		},
		{
			name: "Caddy", program: "caddy", port: ports[4], version: []string{"version"}, file: "Caddyfile",
			config: fmt.Sprintf(`{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://:%d {
	bind 127.0.0.1
	reverse_proxy %s {
		transport http {
			keepalive_idle_conns_per_host 256
		}
	}
}
`, ports[4], addr(originPort)),
			args: func(dir string) []string {
				return []string{"run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile"}
			},
		},
		{
			name: "ReverseProxy", program: self()[0], port: ports[5],
			args: func(string) []string {
				return []string{"role-reverseproxy", addr(ports[5]), addr(originPort)}
			},
		},
	}
}

// missing says why the proxy can't be measured; "" if it can.
func (p *peer) missing() string {
	if _, err := exec.LookPath(p.program); err == nil {
		return ""
	}
	if p.name == "swell" {
		return p.program + " is not there; make build makes it"
	}
	return "the program " + p.program + " is not there; Debian has a package of that name"
}

// start runs the proxy with its files in dir.
func (p *peer) start(dir string, core int) (*process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if p.file != "" {
		if err := os.WriteFile(filepath.Join(dir, p.file), []byte(p.config), 0o644); err != nil {
			return nil, err
		}
	}
	return start(dir, p.name, core, append([]string{p.program}, p.args(dir)...))
}

var number = regexp.MustCompile(`v?\d+\.\d+(\.\d+)?[0-9A-Za-z.+~-]*|[0-9a-f]{7,40}(-dirty)?|\bdev(el)?\b`)

// release returns the proxy's version, as it says itself.
func (p *peer) release() string {
	if p.version == nil {
		return goVersion()
	}
	out, err := exec.Command(p.program, p.version...).CombinedOutput()
	if v := number.Find(out); err == nil && v != nil {
		return string(v)
	}
	return "unknown"
}

// reverseProxyMain serves Go's own proxy: its arguments are where it listens and
// where the origin is.
func reverseProxyMain(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("it takes two addresses and got %d", len(args))
	}
	origin := &url.URL{Scheme: "http", Host: args[1]}
	server := &http.Server{
		Addr: args[0], ReadHeaderTimeout: 10 * time.Second,
		Handler: &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(origin); r.SetXForwarded() },
			Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		},
	}
	return server.ListenAndServe()
}
