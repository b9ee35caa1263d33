package swell_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed is the architecture: which packages of ours each package may import
// (the root, whose words everybody may use, is not listed). A new arrow is a line
// here and a note in docs/decisions/. Tests are free.
var allowed = map[string][]string{
	// words
	".": {},
	// kit
	"internal/latest":   {},
	"internal/life":     {},
	"internal/unit":     {},
	"internal/plug":     {"internal/unit"},
	"internal/exchange": {},
	"internal/inherit":  {},
	// parts
	"internal/manifest":  {"internal/plug", "internal/unit"},
	"internal/plan":      {},
	"internal/balance":   {"internal/exchange", "internal/plug", "internal/unit"},
	"internal/filter":    {"internal/exchange", "internal/plug", "internal/unit"},
	"internal/driver":    {"internal/inherit", "internal/latest", "internal/life"},
	"internal/telemetry": {"internal/exchange", "internal/latest"},
	// loops
	"internal/control":         {"internal/latest", "internal/plan"},
	"internal/scale":           {"internal/latest", "internal/plug", "internal/unit"},
	"internal/proxy":           {"internal/balance", "internal/exchange", "internal/filter", "internal/inherit", "internal/latest", "internal/life", "internal/plug", "internal/proxy/cert", "internal/proxy/h1", "internal/proxy/h2", "internal/proxy/h2/pool", "internal/proxy/h3", "internal/telemetry", "internal/unit"},
	"internal/proxy/h1":        {"internal/exchange"},
	"internal/proxy/h2":        {"internal/exchange", "internal/proxy/h2/frames"},
	"internal/proxy/h2/frames": {"internal/exchange"},
	"internal/proxy/h2/pool":   {"internal/exchange", "internal/proxy/h2/frames"},
	"internal/proxy/h3":        {"internal/exchange"},
	"internal/proxy/cert":      {},
	"internal/wire":            {"internal/latest"},
	"internal/web":             {"internal/plan"},
	"internal/bench":           {"internal/unit"},
	"internal/sim":             {"internal/bench", "internal/scale", "internal/unit"},
	// main
	"cmd/swell": {"*"},
}

// free are folders whose packages stand beside the architecture: programs that
// use or build Swell, and contract suites.
var free = []string{"examples", "benchmarks", "internal/web/bundle", "internal/driver/drivertest", "internal/filter/filtertest", "internal/balance/balancetest", "internal/proxy/conformance"}

func TestImportsFollowTheTable(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == "node_modules" || n == "testdata" || n == "tools" || (strings.HasPrefix(n, ".") && n != ".") {
				return filepath.SkipDir
			}
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || within(dir, free) {
			return nil
		}
		may, ok := allowed[dir]
		if !ok {
			if !seen[dir] {
				t.Errorf("package %s is not in the table of arch_test.go: which tier is it of?", dir)
			}
			seen[dir] = true
			return nil
		}
		seen[dir] = true
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			ours, ok := strings.CutPrefix(name, "swell/")
			if ok && !slices.Contains(may, "*") && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s, which the table does not allow for %s", path, ours, dir)
			}
			if dir == "." && strings.Contains(name, ".") {
				t.Errorf("%s imports %s: the words import the standard library alone", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range allowed {
		if !seen[dir] {
			t.Errorf("the table names %s, and there is no such package", dir)
		}
	}
}

func within(dir string, folders []string) bool {
	for _, f := range folders {
		if dir == f || strings.HasPrefix(dir, f+"/") {
			return true
		}
	}
	return false
}

// TestEveryPackageSaysWhatItDoes wants a package comment in one file of each.
func TestEveryPackageSaysWhatItDoes(t *testing.T) {
	for dir := range allowed {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			continue
		}
		said := false
		for _, path := range files {
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			said = said || f.Doc != nil
		}
		if !said {
			t.Errorf("package %s has no comment that says what it does", dir)
		}
	}
}
