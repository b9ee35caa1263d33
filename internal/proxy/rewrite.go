package proxy

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"

	"swell"
	"swell/internal/exchange"
)

// compileRewrite checks a route's rewrite; it returns the template of its path, nil
// if there is none.
func compileRewrite(src swell.Route, m *matcher) (*template, error) {
	r := src.Rewrite
	for i := range len(r.Host) {
		if c := r.Host[i]; c <= ' ' || c >= 0x7f || c == '/' {
			return nil, fmt.Errorf("rewrite.host %q is not a host", r.Host)
		}
	}
	switch {
	case r.Prefix != nil && r.Path != nil:
		return nil, fmt.Errorf("rewrite has both prefix and path; leave one out")
	case r.Prefix != nil:
		return nil, checkPrefix("rewrite", *r.Prefix, m)
	case r.Path != nil:
		return compileTemplate("rewrite.path", *r.Path, m)
	}
	return nil, nil
}

// checkPrefix checks what is to replace a prefix; "" is as good as "/".
func checkPrefix(what, prefix string, m *matcher) error {
	if m.kind != prefixedPath && m.kind != anyPath {
		return fmt.Errorf("%s.prefix replaces what /** stands behind, but the path is %q; use %s.path", what, cmp.Or(m.src.Path, m.src.Regex), what)
	}
	if prefix != "" && prefix[0] != '/' {
		return fmt.Errorf("%s.prefix %q: a path begins with a slash", what, prefix)
	}
	for i := range len(prefix) {
		if c := prefix[i]; c <= ' ' || c >= 0x7f || c == '#' || c == '?' {
			return fmt.Errorf("%s.prefix %q: %q can't be in a path; write it percent-encoded", what, prefix, c)
		}
	}
	return nil
}

// replacePrefix adds a path to dst whose first segments, those of the route's
// pattern, are replaced. What follows them stays as it came. (Gateway API,
// HTTPPathModifier: ReplacePrefixMatch.)
func (m *matcher) replacePrefix(dst, path []byte, p *parsedPath, prefix string) []byte {
	rest, depth := path[len(path):], len(m.segments)
	if depth < len(p.segments) {
		rest = path[p.segments[depth].raw:]
	} else if p.slash && depth > 0 {
		rest = path[len(path)-1:] // "/a/" under "/a/**"
	}
	begin := len(dst)
	dst = append(dst, strings.TrimSuffix(prefix, "/")...)
	switch {
	case len(rest) > 0 && rest[0] != '/':
		dst = append(append(dst, '/'), rest...)
	case len(rest) > 0:
		dst = append(dst, rest...)
	case len(dst) == begin || strings.HasSuffix(prefix, "/"):
		dst = append(dst, '/')
	}
	return dst
}

// rewrite changes target and host. It starts from the target as it came, so that a
// filter may run the round twice.
func (rt *route) rewrite(x *exchange.Exchange, st *state) error {
	w := &rt.src.Rewrite
	if w.Host != "" {
		st.text = append(st.text[:0], w.Host...)
		x.Request.Host = st.text
	}
	if w.Prefix == nil && rt.path == nil {
		return nil
	}
	if st.raw == nil {
		st.raw = x.Request.Target
	}
	path, query, has := bytes.Cut(st.raw, []byte{'?'})
	out, sep := st.target[:0], byte('?')
	if rt.path != nil {
		var err error
		if out, err = rt.path.fill(out, path, &st.search.path, &rt.match); err != nil {
			return err
		}
		if rt.path.query {
			sep = '&'
		}
	} else {
		out = rt.match.replacePrefix(out, path, &st.search.path, *w.Prefix)
	}
	if has {
		out = append(append(out, sep), query...)
	}
	st.target = out
	x.Request.Target = out
	return nil
}

// redirect is a compiled swell.Redirect.
type redirect struct {
	scheme string
	host   string // without port
	port   string
	path   *template
	prefix *string
	status int
}

func compileRedirect(src swell.Route, m *matcher) (*redirect, error) {
	r := src.Redirect
	out := &redirect{scheme: strings.ToLower(r.Scheme), host: r.Host, prefix: r.Prefix, status: r.Status}
	switch r.Status {
	case 301, 302, 303, 307, 308:
	default:
		return nil, fmt.Errorf("redirect status %d is none of 301, 302, 303, 307, 308", r.Status)
	}
	for i := range len(r.Scheme) {
		if c := r.Scheme[i] | 0x20; (c < 'a' || c > 'z') && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(r.Scheme[i]))) {
			return nil, fmt.Errorf("redirect.scheme %q is not a scheme, such as https", r.Scheme)
		}
	}
	for i := range len(r.Host) {
		if c := r.Host[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`/?#@\`, c) >= 0 {
			return nil, fmt.Errorf("redirect.host %q is not a host", r.Host)
		}
	}
	if h, p, err := net.SplitHostPort(r.Host); err == nil {
		out.host, out.port = h, p
	}
	out.host = strings.Trim(out.host, "[]")
	if r.Port < 0 || r.Port > 65535 {
		return nil, fmt.Errorf("redirect.port %d is not a port", r.Port)
	} else if r.Port > 0 {
		out.port = strconv.Itoa(r.Port)
	}
	var err error
	switch {
	case r.Prefix != nil && r.Path != "":
		return nil, fmt.Errorf("redirect has both prefix and path; leave one out")
	case r.Prefix != nil:
		err = checkPrefix("redirect", *r.Prefix, m)
	case r.Path != "":
		out.path, err = compileTemplate("redirect.path", r.Path, m)
	}
	return out, err
}

// redirect answers with another place to look. Where no port is given, it is the
// well-known one of a scheme that is given, else the one that the request came to
// (Gateway API, HTTPRequestRedirectFilter); a scheme's own port is left out.
func (rt *route) redirect(x *exchange.Exchange) error {
	to, st := rt.location, x.Plane.(*state)
	scheme, host, port := to.scheme, to.host, to.port
	if scheme == "" {
		scheme = "http"
		// As mark has it: a trusted proxy may have taken off the TLS.
		if string(x.Request.Header.Get(exchange.ForwardedProto)) == "https" {
			scheme = "https"
		}
	}
	own, ownPort := string(x.Request.Host), ""
	if h, p, err := net.SplitHostPort(own); err == nil {
		own, ownPort = h, p
	}
	if host == "" {
		host = strings.Trim(own, "[]")
	}
	if port == "" && to.scheme == "" {
		port = ownPort
	}
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		port = ""
	}
	out := append(append(st.target[:0], scheme...), "://"...)
	if strings.Contains(host, ":") {
		out = append(append(append(out, '['), host...), ']')
	} else {
		out = append(out, host...)
	}
	if port != "" {
		out = append(append(out, ':'), port...)
	}
	path, query, has := bytes.Cut(x.Request.Target, []byte{'?'})
	switch {
	case to.path != nil:
		var err error
		if out, err = to.path.fill(out, path, &st.search.path, &rt.match); err != nil {
			x.Reply(400, err.Error())
			return nil
		}
		has = has && !to.path.query
	case to.prefix != nil:
		out = rt.match.replacePrefix(out, path, &st.search.path, *to.prefix)
	default:
		out = append(out, path...)
	}
	if has {
		out = append(append(out, '?'), query...)
	}
	x.Reply(to.status, "")
	x.Response.Header.SetBytes(exchange.Location, out)
	st.target = out
	return nil
}
