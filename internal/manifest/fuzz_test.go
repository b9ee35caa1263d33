package manifest

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func seeds(f *testing.F) {
	f.Helper()
	for _, pattern := range []string{"testdata/errors/*.yaml", "testdata/good/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	for _, s := range []string{"", "a", "{", "- - - a", "? a\n: b", "&a *a", "a: &a [*a]", "<<: {a: 1}", "!!str 1", "%YAML 1.2\n---\na: 1", "a: |\n  x\n", "a: >-\n x\n\n y", "\ufeffapp: x", "a: 'x\n  y'", "...", "--- a\n--- b"} {
		f.Add([]byte(s))
	}
}

// FuzzParse: whatever the bytes are, there is a result or a list of problems, no
// panic, and no problem shows a secret.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse([]File{{Name: "swell.yaml", Data: data}}, testOptions())
		switch {
		case err == nil && (r == nil || len(r.App.Services) == 0):
			t.Error("neither services nor an error")
		case err != nil:
			problems, ok := err.(Problems)
			if !ok || len(problems) == 0 {
				t.Errorf("no problems: %v", err)
			}
			if strings.Contains(err.Error(), theSecret) && !strings.Contains(string(data), theSecret) {
				t.Errorf("the secret is shown: %v", err)
			}
		}
	})
}

// FuzzFormat: formatting keeps the meaning and the comments, and formatting again
// changes nothing.
func FuzzFormat(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := Format(data)
		if err != nil {
			return
		}
		twice, err := Format(once)
		if err != nil || string(once) != string(twice) {
			t.Fatalf("again: %v\n%q\n%q", err, once, twice)
		}
		before, err1 := Parse([]File{{Name: "swell.yaml", Data: data}}, testOptions())
		after, err2 := Parse([]File{{Name: "swell.yaml", Data: once}}, testOptions())
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("before: %v\nafter: %v", err1, err2)
		}
		if err1 == nil && !reflect.DeepEqual(before.App, after.App) {
			t.Errorf("another meaning:\n%+v\n%+v", before.App, after.App)
		}
	})
}
