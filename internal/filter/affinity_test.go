package filter_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/filter/filtertest"
)

// visit makes a request with a cookie to a service of which one endpoint answers,
// and returns which one was preferred and the cookie that was set.
func visit(round filter.Round, cookie string) (prefer, set string) {
	x := filtertest.Exchange("GET", "/", "")
	if cookie != "" {
		x.Request.Header.Set(exchange.Cookie, cookie)
	}
	round(x)
	prefer, set = x.Prefer, string(x.Response.Header.Get(exchange.SetCookie))
	filtertest.End(x)
	return prefer, set
}

func TestAffinity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, counts := counted()
		at := "catalog-1"
		service := func(x *exchange.Exchange) error { x.Endpoint = at; x.Reply(200, ""); return nil }
		round := build(t, "affinity", `{"cookie":"sticky","secret":"0123456789abcdef","ttl":"1h"}`)(env)(service)
		prefer, set := visit(round, "")
		value, attributes, _ := strings.Cut(set, "; ")
		if prefer != "" || attributes != "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax" || !strings.HasPrefix(value, "sticky=") {
			t.Fatalf("prefer %q, cookie %q", prefer, set)
		}
		if p, s := visit(round, "a=b;"+value+"; c=d"); p != at || s != "" {
			t.Errorf("with its cookie: prefer %q, cookie %q", p, s)
		}
		if p, s := visit(round, value+"x; "+value); p != at || s != "" {
			t.Errorf("with a bad one before it: prefer %q, cookie %q", p, s)
		}
		at = "catalog-2" // the other one is gone
		if p, s := visit(round, value); p != "catalog-1" || !strings.HasPrefix(s, "sticky=") || strings.HasPrefix(s, value) {
			t.Errorf("moved: prefer %q, cookie %q", p, s)
		}
		at = "catalog-1"
		time.Sleep(31 * time.Minute)
		if p, s := visit(round, value); p != at || s == "" {
			t.Errorf("after half of its time it is renewed: prefer %q, cookie %q", p, s)
		}
		time.Sleep(30 * time.Minute)
		if p, s := visit(round, value); p != "" || s == "" {
			t.Errorf("after its time: prefer %q, cookie %q", p, s)
		}
		if counts.of("swell_affinity_total/kept") != 3 || counts.of("swell_affinity_total/moved") != 1 || counts.of("swell_affinity_total/invalid") != 2 {
			t.Errorf("%v", counts.n)
		}
		x := filtertest.Exchange("GET", "/", "")
		x.TLS = new(tls.ConnectionState)
		round(x)
		if s := string(x.Response.Header.Get(exchange.SetCookie)); !strings.HasSuffix(s, "; Secure") {
			t.Errorf("over TLS %q", s)
		}
	})
}

func TestAffinityBelievesNobodyElse(t *testing.T) {
	service := func(x *exchange.Exchange) error { x.Endpoint = "e"; x.Reply(200, ""); return nil }
	make := func(options string) filter.Round { return build(t, "affinity", options)(filter.Env{})(service) }
	ours := make(`{"cookie":"c","secret":"0123456789abcdef"}`)
	_, set := visit(ours, "")
	value, _, _ := strings.Cut(set, ";")
	for _, other := range []string{
		`{"cookie":"c","secret":"0123456789abcdeF"}`, `{"cookie":"c"}`,
	} {
		if p, _ := visit(make(other), value); p != "" {
			t.Errorf("%s believes %q", other, p)
		}
	}
	if p, _ := visit(make(`{"cookie":"d","secret":"0123456789abcdef"}`), "d"+value[1:]); p != "" {
		t.Error("a cookie is good under another name")
	}
	for i := range value {
		if i < 2 {
			continue
		}
		b := []byte(value)
		b[i] ^= 1
		// The last character of base64 has bits that stand for nothing.
		if p, _ := visit(ours, string(b)); p != "" && i < len(value)-1 {
			t.Errorf("changed at %d: %q", i, p)
		}
	}
	// A failure and an error keep the cookie as it is.
	failing := build(t, "affinity", `{}`)(filter.Env{})(func(x *exchange.Exchange) error { x.Endpoint = "e"; x.Reply(500, ""); return nil })
	if _, s := visit(failing, ""); s != "" {
		t.Error(s)
	}
}

func FuzzAffinity(f *testing.F) {
	round := build(f, "affinity", `{"cookie":"c","secret":"0123456789abcdef"}`)(filter.Env{})(func(x *exchange.Exchange) error { x.Reply(200, ""); return nil })
	f.Add("c=AAAA")
	f.Add("c=; c; =c; c=" + strings.Repeat("A", 54))
	f.Fuzz(func(t *testing.T, cookie string) {
		if p, _ := visit(round, cookie); p != "" {
			t.Errorf("%q prefers %q", cookie, p)
		}
	})
}

func BenchmarkAffinity(b *testing.B) {
	round := build(b, "affinity", `{"cookie":"c"}`)(filter.Env{})(func(x *exchange.Exchange) error { x.Endpoint = "catalog-1"; x.Response.Status = 200; return nil })
	_, set := visit(round, "")
	value, _, _ := strings.Cut(set, ";")
	x := filtertest.Exchange("GET", "/", "")
	x.Request.Header.Set(exchange.Cookie, value)
	b.ReportAllocs()
	for b.Loop() {
		round(x)
	}
}
