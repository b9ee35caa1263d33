package filter_test

import (
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/filter/filtertest"
)

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, counts := counted()
		s := &service{status: 200}
		round := build(t, "fault", `{"delay":{"time":"200ms","share":"20%"},"abort":{"status":503,"share":"10%"}}`)(env)(s.round)
		const n = 5000
		begun, got := time.Now(), map[any]int{}
		for range n {
			x := filtertest.Exchange("GET", "/", "")
			got[ending(x, round(x))]++
			filtertest.End(x)
		}
		delayed := int(time.Since(begun) / (200 * time.Millisecond))
		if got[503] < n/20 || got[503] > n*3/20 || got[200]+got[503] != n || s.calls != got[200] {
			t.Errorf("outcomes %v, %d calls", got, s.calls)
		}
		if delayed < n*15/100 || delayed > n*25/100 || counts.of("swell_faults_total/delay") != delayed || counts.of("swell_faults_total/abort") != got[503] {
			t.Errorf("%d delays", delayed)
		}
	})
}

func TestFaultsOnlyForThoseWhoAsk(t *testing.T) {
	round := build(t, "fault", `{"abort":{"status":503,"share":"100%"},"header":"x-fault"}`)(filter.Env{})((&service{status: 200}).round)
	x := filtertest.Exchange("GET", "/", "")
	if got := ending(x, round(x)); got != 200 {
		t.Error(got)
	}
	x.Request.Header.AddName("X-Fault", "")
	if got := ending(x, round(x)); got != 503 {
		t.Error(got)
	}
}

func TestAFaultOfGRPC(t *testing.T) {
	round := build(t, "fault", `{"abort":{"grpc":"unavailable","share":"100%"}}`)(filter.Env{})((&service{status: 200}).round)
	x := filtertest.Exchange("POST", "/", "")
	if round(x); x.Response.Header.Has(exchange.ContentType) && string(x.Response.Header.Get(exchange.ContentType)) == "application/grpc" {
		t.Error("what is not gRPC got a gRPC answer")
	}
	x.Request.Header.Set(exchange.ContentType, "application/grpc+proto")
	if got := ending(x, round(x)); got != 200 {
		t.Error(got)
	}
	if v, _ := x.Response.Header.Lookup("grpc-status"); string(v) != "14" || x.Response.Body != nil {
		t.Errorf("status %q", v)
	}
}

func TestADelayEndsWithTheTimeThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		round := build(t, "fault", `{"delay":{"time":"10s","share":"100%"}}`)(filter.Env{})((&service{status: 200}).round)
		x := filtertest.Exchange("GET", "/", "")
		x.Deadline = time.Now().Add(time.Second)
		if got := ending(x, round(x)); got != filter.Timeout {
			t.Error(got)
		}
	})
}
