package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"swell/internal/manifest"
)

var update = flag.Bool("update", false, "write the files that are generated")

const referencePage = "../../docs/manifest.md"

// generated is the page as swell schema --markdown prints it.
func generated(t *testing.T) string {
	t.Helper()
	schema, err := manifest.Schema(manifestOptions(""))
	if err != nil {
		t.Fatal(err)
	}
	out, err := reference(schema)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReference wants the page in docs to be the one that is generated.
func TestReference(t *testing.T) {
	want := generated(t)
	if *update {
		if err := os.WriteFile(referencePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		have, now := strings.Split(string(got), "\n"), strings.Split(want, "\n")
		for i := range min(len(have), len(now)) {
			if have[i] != now[i] {
				t.Fatalf("docs/manifest.md is not what swell schema --markdown prints (go test ./cmd/swell -run TestReference -update writes it); line %d is\n%s\nand should be\n%s", i+1, have[i], now[i])
			}
		}
		t.Fatal("docs/manifest.md is not as long as what swell schema --markdown prints; go test ./cmd/swell -run TestReference -update writes it")
	}
}

// TestReferenceExamples reads every manifest of the page, whole or not: all are
// valid, give no warning, and so do their profiles.
func TestReferenceExamples(t *testing.T) {
	read := 0
	for _, m := range fence.FindAllStringSubmatch(generated(t), -1) {
		if m[1] != "yaml" {
			continue
		}
		read++
		o := manifestOptions("")
		o.Env = func(string) (string, bool) { return "", false }
		o.Secret = func(string) (string, error) { return "hush", nil }
		o.FindProgram = func(string, string) error { return nil }
		if strings.HasPrefix(m[2], "# compose.yaml\n") {
			name := filepath.Join(t.TempDir(), "compose.yaml")
			if err := os.WriteFile(name, []byte(m[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := manifest.LoadCompose([]string{name}, o)
			if err != nil {
				t.Errorf("%v", err)
			} else if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0].Text, "image is not used") {
				t.Errorf("the Compose example says that image is warned of, and nothing else: %v", r.Warnings)
			}
			continue
		}
		profiles := []string{""}
		for _, p := range []string{"dev", "prod"} {
			if strings.Contains(m[2], "\n  "+p+":\n") {
				profiles = append(profiles, p)
			}
		}
		for _, o.Profile = range profiles {
			r, err := manifest.Parse([]manifest.File{{Name: "swell.yaml", Data: []byte(m[2])}}, o)
			if err != nil {
				t.Errorf("profile %q: %v\n%s", o.Profile, err, m[2])
			} else if len(r.Warnings) > 0 {
				t.Errorf("profile %q: %v\n%s", o.Profile, r.Warnings, m[2])
			}
		}
	}
	if read < 10 {
		t.Errorf("only %d manifests were found on the page", read)
	}
}

// TestReferenceLinks follows every link within the page.
func TestReferenceLinks(t *testing.T) {
	text := generated(t)
	there := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$|<a id="(.*)">`).FindAllStringSubmatch(text, -1) {
		there[anchor(m[1])], there[m[2]] = true, true
	}
	links := regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(text, -1)
	if len(links) == 0 {
		t.Error("the page has no links")
	}
	for _, m := range links {
		if !there[m[1]] {
			t.Errorf("a link leads to #%s, which is not there", m[1])
		}
	}
}

// TestReferenceLater wants every word that the page calls not in this version to
// be refused with just that message.
func TestReferenceLater(t *testing.T) {
	_, table, ok := strings.Cut(generated(t), "## Not in this version")
	if !ok {
		t.Fatal("the page does not say what is not in this version")
	}
	words := 0
	for _, row := range regexp.MustCompile(`(?m)^\| (.*) \| (.*) \|$`).FindAllStringSubmatch(table, -1)[1:] {
		where := strings.Trim(row[1], "`")
		for _, w := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			words++
			o := manifestOptions("")
			text := laterManifest(where, w[1])
			_, err := manifest.Parse([]manifest.File{{Name: "swell.yaml", Data: []byte(text)}}, o)
			if err == nil || !strings.Contains(err.Error(), "not in this version") {
				t.Errorf("%s: %s is said to be not in this version, but: %v\n%s", where, w[1], err, text)
			}
		}
	}
	if words < 15 {
		t.Errorf("only %d words were found", words)
	}
}

// laterManifest writes a manifest that has a word at a place of the reference.
func laterManifest(where, word string) string {
	if where == "the top" {
		return word + ": {}\nservices: {x: {command: [x]}}\n"
	}
	value := "{" + word + ": {}}"
	switch {
	case strings.HasSuffix(where, ".address"):
		return "services: {x: {address: ['" + strings.Replace(word, "HOST:PORT", "a.example:80", 1) + "']}}\n"
	case strings.HasSuffix(where, ".isolation"), strings.HasSuffix(where, ".protocol"):
		value = word
	}
	parts := strings.Split(where, ".")
	for i := len(parts) - 1; i >= 0; i-- {
		name, list := strings.CutSuffix(parts[i], "[]")
		if list {
			value = "[" + value + "]"
		}
		if name == "NAME" {
			name = "x"
		}
		value = "{" + name + ": " + value + "}"
	}
	return value + "\n"
}
