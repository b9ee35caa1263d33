package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"swell/internal/manifest"
)

var fence = regexp.MustCompile("(?ms)^```(yaml|sh)\n(.*?)^```")

// TestDocs runs the documentation: every manifest in it is valid, and every
// command line that it shows is one that the program takes.
func TestDocs(t *testing.T) {
	files := []string{"../../README.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../examples/*/README.md", "../../examples/*/swell.yaml"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	manifests, commands := 0, 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".yaml") {
			manifests++
			valid(t, file, b)
			continue
		}
		for _, m := range fence.FindAllStringSubmatch(string(b), -1) {
			if m[1] == "yaml" {
				if strings.HasPrefix(m[2], "app:") {
					manifests++
					valid(t, file, []byte(m[2]))
				}
				continue
			}
			for _, line := range strings.Split(m[2], "\n") {
				line = strings.TrimPrefix(strings.TrimSpace(line), "bin/")
				if strings.HasPrefix(line, "swell ") {
					commands++
					takes(t, file, line)
				}
			}
		}
	}
	if manifests < 2 || commands < 5 {
		t.Errorf("only %d manifests and %d commands were found in the documentation", manifests, commands)
	}
	for _, c := range rootCommand().Commands() {
		if c.Example == "" && c.Name() != "help" && c.Name() != "completion" {
			t.Errorf("swell %s --help has no example", c.Name())
		}
		for _, line := range strings.Split(c.Example, "\n") {
			if line = strings.TrimSpace(line); line != "" {
				takes(t, c.Name()+" --help", line)
			}
		}
	}
}

func valid(t *testing.T, file string, data []byte) {
	t.Helper()
	o := manifestOptions("")
	if _, err := manifest.Parse([]manifest.File{{Name: file, Data: data}}, o); err != nil {
		t.Errorf("a manifest in %s:\n%v", file, err)
	}
}

// takes checks that the command line has a command and flags that there are.
func takes(t *testing.T, file, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " #")
	for _, stop := range []string{" | ", " > ", " < "} {
		line, _, _ = strings.Cut(line, stop)
	}
	words := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1)[1:]
	for i := range words {
		words[i] = strings.Trim(words[i], "'")
	}
	root := rootCommand()
	c, rest, err := root.Find(words)
	if err != nil || c == root {
		t.Errorf("%s: %q: there is no such command (%v)", file, line, err)
		return
	}
	if err := c.ParseFlags(rest); err != nil {
		t.Errorf("%s: %q: %v", file, line, err)
		return
	}
	if c.Args != nil {
		if err := c.Args(c, c.Flags().Args()); err != nil {
			t.Errorf("%s: %q: %v", file, line, err)
		}
	}
}
