//go:build linux

package main

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseWrk(t *testing.T) {
	c, err := parseWrk([]byte("Running 3s test @ http://127.0.0.1/\n  1 threads and 64 connections\n" +
		"  123456 requests in 3.00s, 20.51MB read\n  Socket errors: connect 1, read 2, write 0, timeout 4\n" +
		"  Non-2xx or 3xx responses: 10\nRequests/sec:  41152.03\nTransfer/sec:      6.84MB\n"))
	if err != nil || *c != (closed{requests: 123456, rate: 41152.03, bad: 17}) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"", "unable to connect", "  0 requests in 3.00s, 0B read\nRequests/sec:      0.00\n"} {
		if _, err := parseWrk([]byte(bad)); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

func TestParseStat(t *testing.T) {
	ppid, used, err := parseStat("42 (a ) b) S 7 42 42 0 -1 4194560 100 200 0 0 11 22 3 4 20 0 1 0 12345 1000 50")
	if err != nil || ppid != 7 || used != 400*time.Millisecond {
		t.Errorf("%d, %v, %v", ppid, used, err)
	}
	for _, bad := range []string{"", "1 (x) S 1", "42 (a) S x 42 42 0 -1 4194560 100 200 0 0 11 22 3 4 20"} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	if ppid, _, err := parseStat(string(b)); err != nil || ppid != os.Getppid() {
		t.Errorf("of this process: %d, %v", ppid, err)
	}
}

func results() []*result {
	r := func(name string, cpu ...float64) *result {
		out := &result{peer: peer{name: name}, figures: map[string][]figure{}}
		for _, v := range cpu {
			out.figures["x"] = append(out.figures["x"], figure{value: v, rate: 1})
		}
		return out
	}
	return []*result{r("swell", 22, 20, 30), r("nginx", 20, 10, 40), {peer: peer{name: "HAProxy"}, missing: "gone"}, r("Caddy", 100)}
}

func TestTheTableAndTheGoals(t *testing.T) {
	s := &scenario{name: "x", what: "CPU a request, µs"}
	text := table(s, results())
	for _, want := range []string{
		"| **Swell** | " + goVersion() + " | 22.0 | 20.0 to 30.0 | 1.10 | 0.22 | 1 |\n",
		"| HAProxy | not installed, left out |",
		"| Caddy | " + goVersion() + " | 100.0 | 100.0 to 100.0 | 5.00 | 1.00 | 1 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nhas no %s", text, want)
		}
	}
	for _, c := range []struct {
		goal   goal
		missed bool
		want   string
	}{
		{goal{text: "g", peers: []string{"nginx", "HAProxy"}, times: 1.2}, false, "Met: 22.0, where 24.0"},
		{goal{text: "g", peers: []string{"nginx", "Caddy"}, times: 1}, true, "**Missed**: 22.0, where 20.0"},
		{goal{text: "g", most: 4}, true, "**Missed**: 22.0, where 4.00"},
		{goal{text: "g", peers: []string{"HAProxy"}, times: 1}, false, "Not judged"},
	} {
		s.goals = []goal{c.goal}
		text, missed := judge(s, results())
		if missed != c.missed || !strings.Contains(text, c.want) {
			t.Errorf("%+v: %v, %s", c, missed, text)
		}
	}
}

func TestParseH2load(t *testing.T) {
	c, err := parseH2load([]byte("finished in 3.00s, 41152.33 req/s, 6.84MB/s\n" +
		"requests: 123456 total, 123457 started, 123456 done, 123450 succeeded, 6 failed, 0 errored, 0 timeout\n" +
		"status codes: 123450 2xx, 0 3xx, 0 4xx, 6 5xx\n"))
	if err != nil || *c != (closed{requests: 123456, rate: 41152.33, bad: 6}) {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := parseH2load([]byte("could not connect")); err == nil {
		t.Error("no report is no error")
	}
}

func TestASectionIsReplaced(t *testing.T) {
	page := replaceSection("# A page\n", "n", "one\n")
	page = replaceSection(page+"\nmore\n", "n", "two\n")
	if want := "# A page\n\n<!-- n: begin -->\ntwo\n<!-- n: end -->\n\nmore\n"; page != want {
		t.Errorf("got %q, want %q", page, want)
	}
}

func TestVersionsAreFound(t *testing.T) {
	for in, want := range map[string]string{
		"nginx version: nginx/1.22.1\n":                                            "1.22.1",
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStat": "2.6.12-1+deb12u4",
		"v2.6.2 h1:abc=\n":            "v2.6.2",
		"swell version 8649768\n":     "8649768",
		"swell version v0.1.0-3-gabc": "v0.1.0-3-gabc",
		"swell version dev":           "dev",
		"swell version (devel)":       "devel",
	} {
		if got := number.FindString(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestTheOriginAnswersEveryRequest(t *testing.T) {
	port := freePorts(1)[0]
	go func() { _ = originMain([]string{addr(port)}) }() // as long as the test's process
	var c net.Conn
	var err error
	for range 200 {
		if c, err = net.DialTimeout("tcp", addr(port), time.Second); err == nil {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	// Two at once, and one whose head comes in parts.
	for _, part := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT", "TP/1.1\r\nHost: a\r\n\r", "\n"} {
		if _, err := io.WriteString(c, part); err != nil {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
	got := make([]byte, 3*(len("HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: 55\r\n\r\n")+len(originBody)))
	if _, err := io.ReadFull(c, got); err != nil || strings.Count(string(got), originBody) != 3 || len(originBody) != 55 {
		t.Errorf("%v: %q", err, got)
	}
}
