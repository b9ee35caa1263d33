package balance_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"swell/internal/balance"
	"swell/internal/balance/balancetest"
)

// Keys of queries and cookies are found where net/url and net/http find them: a request
// whose only parameter is that one, written in the plainest way, goes the same way.
func FuzzKeys(f *testing.F) {
	f.Add("a=1&u=x%20y&u=z", "a=b; u=7; c=d")
	f.Add("u", "u=")
	f.Add("%75=+%2b&&=&u=%zz", " u = 1 ;u=2;;")
	f.Add("uu=1&u==&u%3d=2", "uu=1; xu=2; u=\"a b\"")
	weights := make([]int, 101)
	byQuery, byCookie := makeWith(f, "maglev", `{"by":"query:u"}`), makeWith(f, "maglev", `{"by":"cookie:u"}`)
	byQuery.Update(balancetest.Endpoints(weights...))
	byCookie.Update(balancetest.Endpoints(weights...))
	// steady returns where a request goes, nil if that is left to chance.
	steady := func(b balance.Balancer, r *balance.Request) *balance.Endpoint {
		e := b.Pick(r)
		for range 8 {
			if b.Pick(r) != e {
				return nil
			}
		}
		return e
	}
	f.Fuzz(func(t *testing.T, query, cookies string) {
		var want string
		found, sure := false, true
		for part := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(part, "=")
			n, err1 := url.QueryUnescape(name)
			v, err2 := url.QueryUnescape(value)
			if err1 != nil || n == "u" && err2 != nil {
				sure = false // what can't be decoded is taken as it is: chosen by us alone
				break
			}
			if n == "u" {
				want, found = v, true
				break
			}
		}
		r := asking("/?" + query)
		r.X.Request.Target = []byte("/?" + query)
		got := steady(byQuery, r)
		if sure && !strings.Contains(query, "#") {
			if plain := asking("/?u=" + url.QueryEscape(want)); found && got != byQuery.Pick(plain) {
				t.Errorf("query %q: not where %q goes", query, want)
			} else if !found && got != nil {
				t.Errorf("query %q has no u, and goes to %s again and again", query, got.ID)
			}
		}
		if strings.ContainsFunc(cookies, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return // no header has it
		}
		got = steady(byCookie, asking("/", "Cookie", cookies))
		if list, err := http.ParseCookie(cookies); err == nil {
			for _, c := range list {
				if c.Name == "u" && !c.Quoted {
					if got != byCookie.Pick(asking("/", "Cookie", "u="+c.Value)) {
						t.Errorf("cookies %q: not where %q goes", cookies, c.Value)
					}
					return
				}
				if c.Name == "u" {
					return
				}
			}
			if got != nil {
				t.Errorf("cookies %q have no u, and go to %s again and again", cookies, got.ID)
			}
		}
	})
}
