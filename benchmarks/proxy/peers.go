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
	"strings"
	"time"
)

// peer is a proxy that is measured.
type peer struct {
	name    string
	program string
	ports   listeners
	version []string                  // arguments that print its version
	files   map[string]string         // its configuration
	args    func(dir string) []string // of its command
}

// listeners are where a proxy takes which load.
type listeners struct {
	plain int // HTTP/1.1
	h2c   int // HTTP/2 in the clear
	tls   int // both over TLS
	grpc  int // HTTP/2 in the clear, to an origin that speaks it
}

// The origins' ports, and those for proxies, are taken at the start, free ones.
var (
	ports      = freePorts(32)
	originPort = ports[0]
	serverPort = ports[1] // of the origin for large bodies and gRPC
	adminPort  = ports[2]
)

// portsOf returns the ports of the i-th proxy.
func portsOf(i int) listeners {
	p := ports[4+4*i:]
	return listeners{p[0], p[1], p[2], p[3]}
}

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
	sw, ng, ha, ca, tr, rp := portsOf(0), portsOf(1), portsOf(2), portsOf(3), portsOf(4), portsOf(5)
	sw.h2c, sw.grpc = sw.plain, sw.plain // it tells them apart
	ca.h2c, tr.h2c = ca.plain, tr.plain
	crt, key, pem := filepath.Join(o.dir, "bench.crt"), filepath.Join(o.dir, "bench.key"), filepath.Join(o.dir, "bench.pem")
	fill := func(text string, l listeners) string {
		return strings.NewReplacer(
			"{user}", user, "{plain}", strconv.Itoa(l.plain), "{h2c}", strconv.Itoa(l.h2c), "{tls}", strconv.Itoa(l.tls), "{grpc}", strconv.Itoa(l.grpc),
			"{origin}", addr(originPort), "{server}", addr(serverPort), "{crt}", crt, "{key}", key, "{pem}", pem,
		).Replace(text)
	}
	return []peer{
		{
			name: "swell", program: swell, ports: sw, version: []string{"--version"},
			files: map[string]string{"swell.yaml": fill(swellConfig, sw)},
			args:  func(dir string) []string { return []string{"up", dir, "--admin", addr(adminPort)} },
		},
		{
			name: "nginx", program: "nginx", ports: ng, version: []string{"-v"},
			files: map[string]string{"nginx.conf": fill(nginxConfig, ng)},
			args: func(dir string) []string {
				return []string{"-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr"}
			},
		},
		{
			name: "HAProxy", program: "haproxy", ports: ha, version: []string{"-v"},
			files: map[string]string{"haproxy.cfg": fill(haproxyConfig, ha)},
			args:  func(dir string) []string { return []string{"-db", "-f", filepath.Join(dir, "haproxy.cfg")} },
		},
		{
			name: "Caddy", program: "caddy", ports: ca, version: []string{"version"},
			files: map[string]string{"Caddyfile": fill(caddyConfig, ca)},
			args: func(dir string) []string {
				return []string{"run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile"}
			},
		},
		{
			name: "Traefik", program: "traefik", ports: tr, version: []string{"version"},
			files: map[string]string{"traefik.yaml": fill(traefikConfig, tr), "dynamic.yaml": fill(traefikDynamic, tr)},
			args:  func(dir string) []string { return []string{"--configFile=" + filepath.Join(dir, "traefik.yaml")} },
		},
		{
			name: "ReverseProxy", program: self()[0], ports: listeners{plain: rp.plain},
			args: func(string) []string {
				return []string{"role-reverseproxy", addr(rp.plain), addr(originPort), addr(serverPort)}
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
	for name, text := range p.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
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

// reverseProxyMain serves Go's own proxy: its arguments are where it listens, where
// the origin is, and where that for large bodies.
func reverseProxyMain(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("it takes three addresses and got %d", len(args))
	}
	origin, large := &url.URL{Scheme: "http", Host: args[1]}, &url.URL{Scheme: "http", Host: args[2]}
	server := &http.Server{
		Addr: args[0], ReadHeaderTimeout: 10 * time.Second,
		Handler: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				if r.In.URL.Path == "/large" {
					r.SetURL(large)
				} else {
					r.SetURL(origin)
				}
				r.SetXForwarded()
			},
			Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		},
	}
	return server.ListenAndServe()
}
