package web

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// policy lets the page load what this server sends and nothing else: no inline
// script, no other host, no frame around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard refuses what a web page of somebody else could make a browser send: a
// request for a name that is not ours (DNS rebinding), and one that changes
// something and comes from another origin. It asks for the token where there is one.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !s.ours(r.Host) {
			refuse(w, &Error{Status: http.StatusForbidden, Message: "this server is not called " + quoteHost(r.Host) + "; reach it as localhost or 127.0.0.1"})
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !sameOrigin(r) {
			refuse(w, &Error{Status: http.StatusForbidden, Message: "a page of another origin may not change anything here"})
			return
		}
		if s.guarded(r.URL.Path) && !s.authorized(r) {
			h.Set("WWW-Authenticate", `Bearer realm="swell"`)
			refuse(w, &Error{Status: http.StatusUnauthorized, Message: "this address asks for a token: send it as Authorization: Bearer TOKEN (swell --token, or the page's own form)"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ours says whether host, as a request names it, is a name of this server.
func (s *Server) ours(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || slices.Contains(s.opt.Hosts, name) {
		return true
	}
	ip, err := netip.ParseAddr(name)
	// An address can't be rebound to another one. Beyond loopback the token guards.
	return err == nil && (ip.IsLoopback() || s.opt.Token != "")
}

// sameOrigin trusts what browsers can't be made to lie about. A client that is
// no browser sends neither header.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// guarded says whether a path tells or changes something. The page's own files
// don't: they ask the API, with the token.
func (s *Server) guarded(path string) bool {
	return s.opt.Token != "" && (strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/debug/") || path == "/metrics")
}

func (s *Server) authorized(r *http.Request) bool {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return ok && strings.EqualFold(scheme, "Bearer") &&
		subtle.ConstantTimeCompare([]byte(strings.TrimSpace(token)), []byte(s.opt.Token)) == 1
}

func loopback(a net.Addr) bool {
	if a.Network() == "unix" {
		return true
	}
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// quoteHost keeps a message short and plain, whatever a client sent.
func quoteHost(h string) string {
	if len(h) > 80 {
		h = h[:80] + "…"
	}
	return `"` + strings.Map(func(r rune) rune {
		if r < ' ' || r == '"' || r > '~' {
			return '?'
		}
		return r
	}, h) + `"`
}
