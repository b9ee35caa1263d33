package cert

import (
	"crypto/tls"
	"slices"
	"strings"
)

// table finds certificates by name. It is immutable.
type table struct {
	exact map[string][]*tls.Certificate // lower case
	wild  map[string][]*tls.Certificate // by what stands behind "*."
	first []*tls.Certificate            // for every other name, and for none
	all   []*tls.Certificate
}

func newTable(all []*tls.Certificate) *table {
	t := &table{exact: map[string][]*tls.Certificate{}, wild: map[string][]*tls.Certificate{}, all: all}
	for i, c := range all {
		shares := i == 0
		for _, n := range names(c.Leaf) {
			n = strings.ToLower(n)
			if rest, ok := strings.CutPrefix(n, "*."); ok {
				t.wild[rest] = append(t.wild[rest], c)
			} else {
				t.exact[n] = append(t.exact[n], c)
			}
			shares = shares || slices.Contains(names(all[0].Leaf), n)
		}
		if shares { // the same names with another kind of key
			t.first = append(t.first, c)
		}
	}
	return t
}

// choose returns the certificate for a handshake: by the exact name, by a wildcard
// for its first label (RFC 6125, 6.4.3), else the first one. Where several have the
// name, it is the first whose key the client can use.
func (t *table) choose(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	list := t.first
	if name := h.ServerName; name != "" {
		name = strings.ToLower(name)
		if l := t.exact[name]; l != nil {
			list = l
		} else if i := strings.IndexByte(name, '.'); i > 0 {
			if l := t.wild[name[i+1:]]; l != nil {
				list = l
			}
		}
	}
	switch len(list) {
	case 0:
		return nil, ErrNone
	case 1:
		return list[0], nil
	}
	for _, c := range list {
		if h.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return list[0], nil
}
