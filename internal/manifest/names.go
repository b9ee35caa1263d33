package manifest

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// label reports what is wrong with a DNS label (RFC 1123), "" if nothing.
func label(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > 63:
		return "is longer than 63 characters"
	case strings.ContainsFunc(s, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }):
		return "has characters other than lower-case letters, digits and dashes"
	case s[0] == '-' || s[len(s)-1] == '-':
		return "begins or ends with a dash"
	}
	return ""
}

// asLabel makes a DNS label of any text.
func asLabel(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	out := strings.Trim(b.String(), "-")
	if len(out) > 63 {
		out = strings.Trim(out[:63], "-")
	}
	if out == "" {
		return "app"
	}
	return out
}

// host reports what is wrong with a host in a match, "" if nothing.
func host(s string, wildcard bool) string {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return ""
	}
	if _, _, err := net.SplitHostPort(s); err == nil {
		return "has a port, and a host is matched without it"
	}
	name := s
	if rest, ok := strings.CutPrefix(s, "*."); ok && wildcard {
		name = rest
	}
	if len(name) > 253 {
		return "is longer than 253 characters"
	}
	for l := range strings.SplitSeq(strings.ToLower(name), ".") {
		if strings.Contains(l, "*") {
			return "has a * elsewhere than as its whole first label: *.example.com"
		}
		if label(strings.ReplaceAll(l, "_", "-")) != "" {
			return "is not a host name"
		}
	}
	return ""
}

// pathPattern reports what is wrong with a path in a match, and what would be
// right; "" if nothing.
func pathPattern(s string) (wrong, hint string) {
	if wrong := plainPath(s); wrong != "" {
		return wrong, ""
	}
	names := map[string]bool{}
	segments := strings.Split(s[1:], "/")
	for i, seg := range segments {
		switch {
		case seg == "**":
			if i != len(segments)-1 {
				return "has /** before its end", "/** takes everything below and can only be last; {name} takes one segment"
			}
		case strings.HasPrefix(seg, "{") && strings.HasSuffix(seg, "}"):
			name := seg[1 : len(seg)-1]
			if !variable.MatchString(name) {
				return fmt.Sprintf("has %s, whose name has characters other than letters, digits and underscores", seg), ""
			}
			if names[name] {
				return fmt.Sprintf("has %s twice", seg), ""
			}
			names[name] = true
		case strings.ContainsAny(seg, "{}"):
			return fmt.Sprintf("has braces in a part of a segment, %q", seg), "{name} stands for a whole segment"
		case strings.Contains(seg, "*"):
			return fmt.Sprintf("has a * in %q", seg), "/** at the end takes everything below, {name} takes one segment"
		}
	}
	return "", ""
}

// plainPath reports what is wrong with a path, "" if nothing.
func plainPath(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return "does not begin with a slash"
	case strings.ContainsAny(s, "?#"):
		return "has a ? or #, which a path ends at"
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "has spaces or control characters"
	}
	return ""
}

// isToken reports whether s is a token of RFC 9110, as methods and header names are.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

// hostPort reports what is wrong with host:port, "" if nothing. For listening the
// host may be missing and the port 0.
func hostPort(s string, listen bool) string {
	h, p, err := net.SplitHostPort(s)
	if err != nil {
		return "is not host:port"
	}
	n, err := strconv.Atoi(p)
	if err != nil || n < 0 || n > 65535 || n == 0 && !listen {
		return "has no port between 1 and 65535"
	}
	if h == "" {
		if listen {
			return ""
		}
		return "has no host"
	}
	return host(h, false)
}

// folder is the absolute folder of a file's name.
func folder(file string) string {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return filepath.Dir(file)
	}
	return dir
}
