package balance_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"swell/internal/balance"
	"swell/internal/balance/balancetest"
	"swell/internal/exchange"
)

func makeWith(t testing.TB, name, options string) balance.Balancer {
	t.Helper()
	m, err := balance.Kind().Build(name, json.RawMessage(options))
	if err != nil {
		t.Fatal(err)
	}
	return m()
}

func counted(b balance.Balancer, n int, r func(i int) *balance.Request) map[*balance.Endpoint]int {
	got := map[*balance.Endpoint]int{}
	for i := range n {
		got[b.Pick(r(i))]++
	}
	return got
}

func plain(i int) *balance.Request { return &balance.Request{Client: balancetest.Client(i)} }

// Round-robin is exact: after a cycle, each endpoint has had its weight.
func TestRoundRobinIsExact(t *testing.T) {
	many := make([]int, 5000)
	for i := range many {
		many[i] = 1 + i%10
	}
	equal := make([]int, 5000)
	different := make([]int, 300)
	for i := range different {
		different[i] = 1 + i
	}
	for _, weights := range [][]int{{1}, {1, 1, 1}, {5, 1, 1}, {2, 4, 6}, {7, 11, 13, 17}, {100, 1}, {65_000, 1}, many, equal, different} {
		eps := balancetest.Endpoints(weights...)
		b := make1(t, "round-robin")()
		b.Update(slices.Clone(eps))
		sum := 0
		for _, e := range eps {
			sum += e.Weight
		}
		for cycle := 1; cycle <= 2; cycle++ {
			got := counted(b, sum, plain)
			for _, e := range eps {
				if got[e] != e.Weight {
					t.Fatalf("%d endpoints, cycle %d: %s of weight %d got %d", len(eps), cycle, e.ID, e.Weight, got[e])
				}
			}
		}
	}
}

// A class of many endpoints is as smooth as its weights allow: no endpoint of weight w
// waits much longer than W ÷ w turns.
func TestRoundRobinIsSmooth(t *testing.T) {
	weights := make([]int, 3000)
	sum := 0
	for i := range weights {
		weights[i] = 1 + i%7
		sum += weights[i]
	}
	eps := balancetest.Endpoints(weights...)
	b := make1(t, "round-robin")()
	b.Update(slices.Clone(eps))
	last := map[*balance.Endpoint]int{}
	for i := range 3 * sum {
		e := b.Pick(plain(i))
		if l, ok := last[e]; ok {
			if gap := i - l; gap > 2*sum/e.Weight {
				t.Fatalf("%s of weight %d of %d waited %d turns", e.ID, e.Weight, sum, gap)
			}
		}
		last[e] = i
	}
}

// Each endpoint's part of random choices is binomial: within 5 standard deviations.
func TestRandomIsFair(t *testing.T) {
	eps := balancetest.Endpoints(1, 2, 3, 10, 50, 1, 1)
	b := make1(t, "random")()
	b.Update(slices.Clone(eps))
	const n = 100_000
	got := counted(b, n, plain)
	for _, e := range eps {
		p := float64(e.Weight) / 68
		want, dev := n*p, math.Sqrt(n*p*(1-p))
		if d := math.Abs(float64(got[e]) - want); d > 5*dev {
			t.Errorf("%s of weight %d got %d, want %.0f ± %.0f", e.ID, e.Weight, got[e], want, dev)
		}
	}
}

// When one of 100 endpoints goes, its keys move, and few others.
func TestDisruption(t *testing.T) {
	const n, keys = 100, 10_000
	for _, c := range []struct {
		name string
		most float64 // share of the others' keys that may move
	}{{"maglev", 0.02}, {"ring-hash", 0}, {"ip-hash", 0}} {
		for _, weighted := range []bool{false, true} {
			weights := make([]int, n)
			for i := range weights {
				if weighted {
					weights[i] = 1 + i%5
				}
			}
			eps := balancetest.Endpoints(weights...)
			b := make1(t, c.name)()
			worst, sum := 0.0, 0.0
			for gone := 0; gone < n; gone += 25 {
				b.Update(slices.Clone(eps))
				before := make([]*balance.Endpoint, keys)
				for i := range before {
					before[i] = b.Pick(plain(i))
				}
				b.Update(slices.Delete(slices.Clone(eps), gone, gone+1))
				moved, stayed := 0, 0
				for i, e := range before {
					if e == eps[gone] {
						continue
					}
					if b.Pick(plain(i)) == e {
						stayed++
					} else {
						moved++
					}
				}
				share := float64(moved) / float64(moved+stayed)
				worst, sum = max(worst, share), sum+share
			}
			t.Logf("%s, weighted %v: %.2f %% of the other keys move, %.2f %% at worst", c.name, weighted, 25*sum, 100*worst)
			if worst > c.most {
				t.Errorf("%s, weighted %v: %.2f %% of the other keys move", c.name, weighted, 100*worst)
			}
		}
	}
}

// Shares of hashed keys: maglev's are even, the ring's nearly.
func TestHashedShares(t *testing.T) {
	for name, most := range map[string]float64{"maglev": 0.12, "ring-hash": 0.25, "ip-hash": 0.25} {
		for _, n := range []int{3, 100} {
			weights := make([]int, n)
			sum := 0
			for i := range weights {
				weights[i] = 1 + i%3
				sum += weights[i]
			}
			eps := balancetest.Endpoints(weights...)
			b := make1(t, name)()
			b.Update(slices.Clone(eps))
			total := 1_000*n + 60_000
			got := counted(b, total, plain)
			worst := 0.0
			for _, e := range eps {
				want := float64(total) * float64(e.Weight) / float64(sum)
				worst = max(worst, math.Abs(float64(got[e])/want-1))
			}
			t.Logf("%s, %d endpoints: off by %.1f %% at worst", name, n, 100*worst)
			if worst > most {
				t.Errorf("%s, %d endpoints: one is off its share by %.1f %%", name, n, 100*worst)
			}
		}
	}
}

// Another order of the same endpoints, as another data plane may have, is the same map.
func TestHashesDoNotDependOnOrder(t *testing.T) {
	for _, name := range []string{"maglev", "ring-hash", "ip-hash"} {
		eps := balancetest.Endpoints(1, 2, 3, 1, 2, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5)
		a, b := make1(t, name)(), make1(t, name)()
		other := slices.Clone(eps)
		rand.Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
		a.Update(slices.Clone(eps))
		b.Update(other)
		for i := range 5000 {
			if x, y := a.Pick(plain(i)), b.Pick(plain(i)); x != y {
				t.Fatalf("%s: client %d belongs to %s, and to %s in another order", name, i, x.ID, y.ID)
			}
		}
	}
}

// With bounded loads, nobody has more in flight than the bound allows, however the
// keys are spread; and most keys stay where they belong.
func TestBoundedLoads(t *testing.T) {
	for _, name := range []string{"maglev", "ring-hash"} {
		for _, n := range []int{3, 8, 100} {
			weights := make([]int, n)
			sum := 0
			for i := range weights {
				weights[i] = 1 + i%2
				sum += weights[i]
			}
			eps := balancetest.Endpoints(weights...)
			b := makeWith(t, name, `{"by":"client","bound":"125%"}`)
			b.Update(slices.Clone(eps))
			free := makeWith(t, name, `{}`)
			free.Update(slices.Clone(eps))
			width := 20 * n
			keys := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.2, 8, 1<<20) // some keys are asked for again and again
			var flight []*balance.Endpoint
			home := 0
			const total = 20_000
			for i := range total {
				r := plain(int(keys.Uint64()))
				e := b.Pick(r)
				if free.Pick(r) == e {
					home++
				}
				e.Begin(int64(i))
				if flight = append(flight, e); len(flight) > width {
					flight[0].End()
					flight = flight[1:]
				}
				m := min(i+1, width+1)
				most := math.Ceil(1.25 * float64(m) * float64(e.Weight) / float64(sum))
				if n > 8 { // the census is some choices old
					most += 2
				}
				if k := float64(e.Inflight()); k > most {
					t.Fatalf("%s, %d endpoints: %s has %v in flight of %d, the bound is %v", name, n, e.ID, k, m, most)
				}
			}
			t.Logf("%s, %d endpoints: %.0f %% of the requests went where they belong", name, n, 100*float64(home)/total)
			if home < total/3 {
				t.Errorf("%s, %d endpoints: only %d of %d requests went where they belong", name, n, home, total)
			}
		}
	}
}

func asking(target string, header ...string) *balance.Request {
	x := new(exchange.Exchange)
	x.Request.Target, x.Request.Host = []byte(target), []byte("shop.example")
	for i := 0; i < len(header); i += 2 {
		x.Request.Header.AddName(header[i], header[i+1])
	}
	return &balance.Request{X: x, Client: balancetest.Client(1)}
}

// What makes the same key goes to the same endpoint, and what makes another to others.
func TestKeys(t *testing.T) {
	weights := make([]int, 50)
	for _, c := range []struct {
		by    string
		same  []*balance.Request
		other []*balance.Request // than those of same, and than each other
	}{
		{"client", []*balance.Request{plain(1), asking("/a")}, []*balance.Request{plain(2), plain(3)}},
		{"path", []*balance.Request{asking("/a?x=1"), asking("/a"), asking("/a?")}, []*balance.Request{asking("/b"), asking("/a/")}},
		{"header:X-User", []*balance.Request{asking("/", "x-user", "ann"), asking("/b", "X-User", "ann", "X-User", "joe")}, []*balance.Request{asking("/", "x-user", "joe"), asking("/", "x-user", "")}},
		{"header:host", []*balance.Request{asking("/"), asking("/b")}, nil},
		{"cookie:id", []*balance.Request{asking("/", "Cookie", "a=b; id=7; c=d"), asking("/", "cookie", "id=7"), asking("/", "Cookie", "x=id=1", "Cookie", "id=7 ; id=8")}, []*balance.Request{asking("/", "Cookie", "id=8"), asking("/", "Cookie", "id=")}},
		{"query:u", []*balance.Request{asking("/?u=a%20b"), asking("/x?v=1&u=a+b&u=c"), asking("/?%75=a%20%62")}, []*balance.Request{asking("/?u=a%2"), asking("/?u"), asking("/?u=b")}},
		{"query:a b", []*balance.Request{asking("/?a+b=1"), asking("/?a%20b=1")}, []*balance.Request{asking("/?a+b=2")}},
	} {
		b := makeWith(t, "maglev", fmt.Sprintf(`{"by":%q}`, c.by))
		b.Update(balancetest.Endpoints(weights...))
		first := b.Pick(c.same[0])
		for i, r := range c.same {
			for range 5 { // chance would not do so
				if e := b.Pick(r); e != first {
					t.Errorf("%s: request %d of those with the same key went to %s instead of %s", c.by, i, e.ID, first.ID)
				}
			}
		}
		seen := map[*balance.Endpoint]bool{first: true}
		for i, r := range c.other {
			e := b.Pick(r)
			for range 5 {
				if b.Pick(r) != e {
					t.Errorf("%s: other %d has no key", c.by, i)
				}
			}
			if seen[e] {
				t.Errorf("%s: other %d went to %s too", c.by, i, e.ID)
			}
			seen[e] = true
		}
	}
	// Without the key they are spread as by p2c.
	for by, r := range map[string]*balance.Request{
		"header:X-User": asking("/", "X-Use", "1"), "cookie:id": asking("/", "Cookie", "idx=1; xid=2"), "query:u": asking("/?uu=1&xu=2&"), "client": {}, "path": {},
	} {
		b := makeWith(t, "ring-hash", fmt.Sprintf(`{"by":%q}`, by))
		b.Update(balancetest.Endpoints(weights...))
		seen := map[*balance.Endpoint]bool{}
		for range 200 {
			seen[b.Pick(r)] = true
		}
		if len(seen) < 20 {
			t.Errorf("%s: requests without the key went to only %d endpoints", by, len(seen))
		}
	}
}

func TestKeyedPicksAllocateNothing(t *testing.T) {
	r := asking("/a?q=1&u=%20x", "Cookie", "a=b; id=7", "X-User", "ann")
	for _, by := range []string{"client", "path", "header:x-user", "cookie:id", "query:u", "query:none"} {
		for _, name := range []string{"maglev", "ring-hash"} {
			b := makeWith(t, name, fmt.Sprintf(`{"by":%q,"bound":"125%%"}`, by))
			eps := balancetest.Endpoints(1, 2, 3)
			b.Update(eps)
			eps[0].SetOut(true)
			if n := testing.AllocsPerRun(200, func() { r.Now++; b.Pick(r) }); n != 0 {
				t.Errorf("%s by %s: %v allocations", name, by, n)
			}
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct{ name, options, want string }{
		{"maglev", `{"by":"heder:x"}`, `did you mean "header"?`},
		{"maglev", `{"by":"header"}`, "write it as header:NAME"},
		{"maglev", `{"by":"header:a b"}`, "no name of a header"},
		{"maglev", `{"by":"cookie:"}`, "write it as cookie:NAME"},
		{"maglev", `{"by":"path:x"}`, "write it as path"},
		{"ring-hash", `{"by":"moon"}`, "write it as client, path, header:NAME"},
		{"maglev", `{"bound":"80%"}`, "over 100%"},
		{"ring-hash", `{"bound":"20000%"}`, "bounds nothing"},
		{"maglev", `{"table":1000}`, "1009 for instance"},
		{"maglev", `{"table":9000000}`, "5000011 for instance"},
		{"ring-hash", `{"points":1}`, "from 16"},
		{"maglev", `{"tabel":1009}`, "tabel"},
	} {
		_, err := balance.Kind().Build(c.name, json.RawMessage(c.options))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q in it", c.name, c.options, err, c.want)
		}
	}
	for _, by := range []string{"client", "path", "header:X-User", "cookie:id", "query:a b"} {
		var k balance.Key
		if err := k.UnmarshalText([]byte(by)); err != nil {
			t.Error(err)
		}
		if b, _ := k.MarshalText(); string(b) != by {
			t.Errorf("%s is written as %s", by, b)
		}
	}
}

func zoned(zones string) []*balance.Endpoint {
	eps := balancetest.Endpoints(make([]int, len(zones))...)
	for i, e := range eps {
		e.Zone = zones[i : i+1]
	}
	return eps
}

// A zone's endpoints get all as long as they can take it, and spill over exactly as
// much as makes all endpoints alike.
func TestZones(t *testing.T) {
	for _, c := range []struct {
		zones string
		out   int // of zone a
		want  float64
	}{
		{"aaabbbccc", 0, 1}, {"aaaabbbcc", 0, 1}, {"aaabbbccc", 1, 0.75}, {"aaabbbccc", 3, 0},
		{"abbbbbbbbb", 0, 0.2}, {"bbb", 0, 0}, {"aaa", 0, 1}, {"aaab", 0, 1},
	} {
		for _, name := range []string{"round-robin", "p2c", "maglev", "ip-hash", "least-connections"} {
			eps := zoned(c.zones)
			in := eps[c.out:]
			if got := balance.LocalShare(in, "a"); math.Abs(got-c.want) > 1e-6 {
				t.Fatalf("%s without %d: share %v, want %v", c.zones, c.out, got, c.want)
			}
			m, err := balance.Kind().Build(name, nil)
			if err != nil {
				t.Fatal(err)
			}
			b := balance.PreferZone(m, "a")()
			b.Update(slices.Clone(in))
			local := 0
			const n = 20_000
			for i := range n {
				if b.Pick(plain(i)).Zone == "a" {
					local++
				}
			}
			if got := float64(local) / n; math.Abs(got-c.want) > 0.03 {
				t.Errorf("%s, %s without %d: %.3f stay in the zone, want %.3f", name, c.zones, c.out, got, c.want)
			}
		}
	}
	// Those that were tried or are out are made up for by other zones at once.
	eps := zoned("ab")
	b := balance.PreferZone(make1(t, "p2c"), "a")()
	b.Update(slices.Clone(eps))
	if e := b.Pick(&balance.Request{Tried: eps[:1]}); e != eps[1] {
		t.Errorf("after the only one in its zone was tried: %v", e)
	}
	// A key stays where it is, spilled over or not.
	b = balance.PreferZone(make1(t, "maglev"), "a")()
	b.Update(zoned("aabbbbcccc"))
	for i := range 300 {
		if first := b.Pick(plain(i)); b.Pick(plain(i)) != first {
			t.Fatalf("client %d goes here and there", i)
		}
	}
}

// Every plane has a subset of its own, all endpoints are in about as many, and a
// change changes little.
func TestSubsets(t *testing.T) {
	const n, planes, size = 200, 200, 20
	eps := balancetest.Endpoints(make([]int, n)...)
	in := map[*balance.Endpoint]int{}
	changed := 0
	for p := range planes {
		id := fmt.Sprintf("plane-%d", p)
		sub := balance.Subset(eps, size, id, "")
		if len(sub) != size || !slices.Equal(sub, balance.Subset(slices.Clone(eps), size, id, "")) {
			t.Fatalf("plane %d has a subset of %d, not always the same", p, len(sub))
		}
		for _, e := range sub {
			in[e]++
		}
		after := balance.Subset(eps[1:], size, id, "")
		for _, e := range after {
			if !slices.Contains(sub, e) {
				changed++
			}
		}
		if had := slices.Contains(sub, eps[0]); !had && !slices.Equal(after, sub) {
			t.Fatalf("plane %d: its subset changed when an endpoint that was not in it went", p)
		}
	}
	if changed != in[eps[0]] {
		t.Errorf("%d places changed when an endpoint in %d subsets went", changed, in[eps[0]])
	}
	least, most := planes, 0
	var squares float64
	for _, e := range eps {
		least, most = min(least, in[e]), max(most, in[e])
		squares += math.Pow(float64(in[e])-planes*size/n, 2)
	}
	dev := math.Sqrt(squares / n)
	t.Logf("an endpoint is in %d subsets, ± %.1f, from %d to %d", planes*size/n, dev, least, most)
	if dev > 1.3*math.Sqrt(planes*size/n*0.9) || least == 0 {
		t.Errorf("subsets are uneven: ± %.1f, from %d to %d", dev, least, most)
	}
	if got := balance.Subset(eps, 0, "x", ""); len(got) != n {
		t.Errorf("no subset has %d", len(got))
	}
	if got := balance.Subset(eps, 500, "x", ""); len(got) != n {
		t.Errorf("a subset of more than there are has %d", len(got))
	}
}

// The share of a new endpoint grows in a straight line from a tenth to the whole.
func TestSlowStartCurve(t *testing.T) {
	e := balance.NewEndpoint("a", 1)
	if s := e.Share(5); s != 1 {
		t.Errorf("share %v of one that was never cold", s)
	}
	e.Warm(100, 1100)
	for now, want := range map[int64]float32{0: 0.1, 100: 0.1, 150: 0.1, 350: 0.25, 600: 0.5, 1000: 0.9, 1100: 1, 9999: 1} {
		if s := e.Share(now); math.Abs(float64(s-want)) > 1e-6 {
			t.Errorf("share %v at %d, want %v", s, now, want)
		}
	}
	// Among many, under load: it is not flooded for having nothing in flight.
	for _, name := range []string{"p2c", "least-connections"} {
		for _, n := range []int{10, 50} {
			s := sim{endpoints: n, workers: 16, work: 10e6, load: 0.7, slow: 1, requests: 20_000 + 1000*n, cold: 3600e9}
			r := s.run(t, name)
			if got := r.shares[0] * float64(n); got > 0.35 || got < 0.05 {
				t.Errorf("%s of %d: a cold endpoint got %.2f of its due, want about a tenth", name, n, got)
			} else {
				t.Logf("%s of %d: a cold endpoint got %.2f of its due", name, n, got)
			}
		}
	}
}

// A subset of a plane that prefers its zone is of the zone, as long as that suffices,
// and keeps the proportion else.
func TestSubsetsInZones(t *testing.T) {
	for _, c := range []struct {
		zones string
		n     int
		local int
	}{
		{strings.Repeat("abc", 20), 10, 10}, {strings.Repeat("abc", 20), 30, 20}, {strings.Repeat("abbb", 20), 12, 3}, {strings.Repeat("bc", 20), 10, 0}, {strings.Repeat("b", 50) + "a", 5, 0},
	} {
		sub := balance.Subset(zoned(c.zones), c.n, "p", "a")
		local := 0
		for _, e := range sub {
			if e.Zone == "a" {
				local++
			}
		}
		if len(sub) != c.n || local != c.local {
			t.Errorf("%s: a subset of %d with %d of the zone, want %d with %d", c.zones, len(sub), local, c.n, c.local)
		}
	}
}
