package manifest

import (
	"strings"
	"testing"
)

func TestProblemString(t *testing.T) {
	long := strings.Repeat("a", 300) + "HERE" + strings.Repeat("b", 300)
	for name, c := range map[string]struct {
		problem Problem
		want    string
	}{
		"no place": {Problem{Text: "it is wrong", Hint: "do it well"}, "it is wrong; do it well"},
		"file":     {Problem{File: "a.yaml", Text: "it is wrong"}, "a.yaml: it is wrong"},
		"tab":      {Problem{File: "a.yaml", Line: 3, Column: 3, Width: 2, Text: "t", Source: "\tabcd"}, "a.yaml:3:3: t\n    3 | \tabcd\n      | \t ^^"},
		"past end": {Problem{File: "a.yaml", Line: 3, Column: 99, Width: 9, Text: "t", Source: "ab"}, "a.yaml:3:99: t\n    3 | ab\n      |   ^"},
		"wide":     {Problem{File: "a.yaml", Line: 3, Column: 3, Width: 1, Text: "t", Hint: "h", Source: "äöü"}, "a.yaml:3:3: t\n    3 | äöü\n      |   ^\n      = h"},
	} {
		if got := c.problem.String(); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
	got := Problem{File: "a.yaml", Line: 1, Column: 301, Width: 4, Text: "t", Source: long}.String()
	lines := strings.Split(got, "\n")
	if i := strings.Index(lines[1], "HERE"); i < 0 || strings.Index(lines[2], "^^^^") != i || len(lines[1]) > 180 {
		t.Errorf("a long line:\n%s", got)
	}
}

func TestControlCharactersStayIn(t *testing.T) {
	_, err := Parse([]File{{Name: "swell.yaml", Data: []byte("app: \"\\e[31m\"\nx\x1b[2J: 1\r\nservices: {web: {command: [x]}}\n")}}, testOptions())
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\r") {
		t.Errorf("got %q", err)
	}
}
