package manifest

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"swell"
	"swell/internal/plug"
)

// listeners compiles what the gateway listens on beside its clear listener, and the
// bounds on its clients.
func (b *builder) listeners(in *gateway, out *swell.Gateway) {
	for _, p := range in.Proxies {
		if v := netip.Prefix(p); v.IsValid() && !slices.Contains(out.Proxies, v) {
			out.Proxies = append(out.Proxies, v)
		}
	}
	l := in.Limits
	out.Limits = swell.Limits{
		Connections: l.Connections, PerAddress: l.PerAddress, Streams: l.Streams,
		Head: int(l.Head), Target: int(l.Target), Fields: l.Fields, Body: int64(l.Body),
		HeadTime: l.HeadTime.D(), IdleTime: l.IdleTime.D(), ReadTime: l.ReadTime.D(), WriteTime: l.WriteTime.D(), Drain: l.Drain.D(),
	}
	taken := map[string]string{}
	if out.Listen != "" {
		taken[out.Listen] = "listen"
	}
	listen := func(addr, what string, path ...any) {
		at := b.at(append([]any{"gateway"}, path...)...)
		shown := b.show(addr, append([]any{"gateway"}, path...)...)
		if wrong := hostPort(addr, true); wrong != "" {
			b.fail(at, `write it as ":8443" or "127.0.0.1:8443"`, "listen %s %s", shown, wrong)
		} else if by := taken[addr]; by != "" && !strings.HasSuffix(addr, ":0") {
			b.fail(at, "give it another port", "%s has %s already", by, shown)
		}
		taken[addr] = what
	}
	if in.TLS != nil {
		listen(in.TLS.Listen, "tls", "tls", "listen")
		out.TLS = b.tls(in.TLS)
	}
	for i, t := range in.TCP {
		listen(t.Listen, "another tcp listener", "tcp", i, "listen")
		switch {
		case !b.known(t.To):
			b.fail(b.at("gateway", "tcp", i, "to"), b.hint(t.To, b.root.Find("gateway", "tcp", i, "to"), b.services), "no service is named %s", b.show(t.To, "gateway", "tcp", i, "to"))
		case b.doc.Services[t.To].Protocol != string(swell.TCP):
			b.fail(b.at("gateway", "tcp", i, "to"), "write protocol: tcp in service "+t.To, "service %s does not speak plain TCP", t.To)
		}
		out.TCP = append(out.TCP, swell.TCPRoute{Listen: t.Listen, Service: t.To})
	}
}

func (b *builder) tls(in *tls) *swell.TLS {
	path := func(p ...any) []any { return append([]any{"gateway", "tls"}, p...) }
	out := &swell.TLS{
		Listen: in.Listen, HTTP3: in.HTTP3, Minimum: in.Minimum, Redirect: in.Redirect,
		HSTS: swell.HSTS{Age: in.HSTS.Age.D(), Subdomains: in.HSTS.Subdomains, Preload: in.HSTS.Preload},
	}
	for i, c := range in.Certificates {
		out.Certificates = append(out.Certificates, swell.Certificate{
			Cert: b.file(c.Cert, path("certificates", i, "cert")...), Key: b.file(c.Key, path("certificates", i, "key")...),
		})
	}
	if a := in.ACME; a != nil {
		out.ACME = &swell.ACME{Email: a.Email, Directory: a.Directory, Storage: b.path(a.Storage, path("acme", "storage")...)}
		if a.CA != "" {
			out.ACME.CA = b.file(a.CA, path("acme", "ca")...)
		}
		for i, h := range a.Hosts {
			if wrong := host(h, false); wrong != "" {
				b.fail(b.at(path("acme", "hosts", i)...), "", "the host %s %s", b.show(h, path("acme", "hosts", i)...), wrong)
			}
		}
		out.ACME.Hosts = slices.Compact(sorted(slices.Clone(a.Hosts)))
		if len(a.Hosts) == 0 {
			for _, r := range b.doc.Gateway.Routes {
				if h := strings.ToLower(r.Match.Host); h != "" && !strings.Contains(h, "*") {
					out.ACME.Hosts = append(out.ACME.Hosts, h)
				}
			}
			if out.ACME.Hosts = slices.Compact(sorted(out.ACME.Hosts)); len(out.ACME.Hosts) == 0 {
				b.fail(b.at(path("acme")...), "write acme: {hosts: [shop.example]}, or give routes a host", "there is no host to have a certificate for")
			}
		}
	}
	if len(in.Certificates) == 0 && in.ACME == nil {
		b.fail(b.at(path()...), "add certificates: [{cert: FILE, key: FILE}], or acme: {email: NAME}", "tls has no certificate")
	}
	if c := in.Clients; c != nil {
		out.Clients = &swell.Clients{CA: b.file(c.CA, path("clients", "ca")...), Required: c.Required}
	}
	if in.HSTS.Age == 0 && (in.HSTS.Subdomains || in.HSTS.Preload) {
		b.fail(b.at(path("hsts")...), "write for example age: 8760h", "hsts without an age is no field at all")
	}
	if in.Redirect && b.doc.Gateway.Listen == "" {
		b.fail(b.at(path("redirect")...), `add gateway.listen, for example ":8080"`, "there is no listener in the clear whose requests could be redirected")
	}
	return out
}

// path is a file's name made absolute: relative ones are in the folder of the
// manifest that names them.
func (b *builder) path(name string, path ...any) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(folder(b.at(path...).File), name)
}

// file is path for a file that is to be there.
func (b *builder) file(name string, path ...any) string {
	out := b.path(name, path...)
	switch _, err := os.Stat(out); {
	case name == "":
		b.fail(b.at(path...), "name the file", "%s is not given", path[len(path)-1])
	case err != nil && !b.hidden(path...):
		b.warn(b.at(path...), "", "the file %s is not there", b.show(name, path...))
	}
	return out
}

// regex checks a regular expression.
func (b *builder) regex(text string, path ...any) {
	if n := b.root.Find(path...); n != nil && n.Shape == plug.Map {
		path = append(path, "regex")
	}
	if _, err := regexp.Compile(text); err != nil {
		why := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		if b.hidden(path...) {
			why = "the reason is not shown"
		}
		b.fail(b.at(path...), "the syntax is RE2's", "%s is no regular expression: %s", b.show(text, path...), why)
	}
}

// upstream compiles how a service is reached.
func (b *builder) upstream(name string, in service, out *swell.Service) {
	where := func(path ...any) []any { return append([]any{"services", name}, path...) }
	if t := in.TLS; t != nil {
		out.TLS = &swell.UpstreamTLS{Name: t.Name, Insecure: t.Insecure}
		if t.CA != "" {
			out.TLS.CA = b.file(t.CA, where("tls", "ca")...)
		}
		if t.Cert != "" || t.Key != "" {
			out.TLS.Cert = swell.Certificate{Cert: b.file(t.Cert, where("tls", "cert")...), Key: b.file(t.Key, where("tls", "key")...)}
		}
		if t.Name != "" {
			if wrong := host(t.Name, false); wrong != "" {
				b.fail(b.at(where("tls", "name")...), "", "the name %s %s", b.show(t.Name, where("tls", "name")...), wrong)
			}
		}
		if t.Insecure {
			b.warn(b.at(where("tls", "insecure")...), "give it a ca: FILE instead", "service %s could be anybody: its certificate is not verified", name)
		}
	}
	out.Proxy = map[string]int{"v1": 1, "v2": 2}[in.Proxy]
	if out.Proxy != 0 && (in.Protocol == "http2" || in.Protocol == "grpc") {
		b.fail(b.at(where("proxy-protocol")...), "use Forwarded fields, which are set anyway", "the PROXY protocol tells one client's address for a whole connection, and those of %s carry requests of many", in.Protocol)
	}
	s, o, p := in.Spread, in.Outliers, in.Pool
	out.Spread = swell.Spread{SlowStart: s.SlowStart.D(), Panic: float64(s.Panic), Zones: s.Zones, Subset: s.Subset}
	out.Outliers = swell.Outliers{
		Consecutive: o.Consecutive, SuccessRate: o.SuccessRate, Latency: o.Latency, Requests: o.Requests,
		Interval: o.Interval.D(), Base: o.Base.D(), Longest: o.Longest.D(), MaxEjected: float64(o.MaxEjected),
	}
	if o.Longest < o.Base {
		b.fail(b.at(where("outliers", "longest")...), "", "longest is shorter than base")
	}
	out.Pool = swell.Pool{Connections: p.Connections, Pending: p.Pending, Idle: p.Idle, IdleTime: p.IdleTime.D(), Connect: p.Connect.D()}
	if in.Protocol == string(swell.TCP) {
		for _, r := range b.doc.Gateway.Routes {
			for _, t := range r.To {
				if t.Service == name && t.node != nil && !slices.Contains(r.Match.Methods, "CONNECT") {
					b.fail(t.node.Pos, "lead to it by gateway.tcp: [{listen: HOST:PORT, to: "+name+"}]", "service %s speaks plain TCP, so no route for HTTP can lead to it", name)
				}
			}
		}
	}
}
