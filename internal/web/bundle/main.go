// Command bundle makes the dashboard that the web package embeds: it bundles
// internal/web/ui, whose packages npm brought, into internal/web/dist, or into the
// folder that -o names. It runs from the module's root, by make.
package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

const (
	from   = "internal/web/ui"
	budget = 60 << 10 // bytes of what one page loads, gzipped
)

func main() {
	to := flag.String("o", "internal/web/dist", "folder for the bundle; an older one in it goes")
	flag.Parse()
	if err := run(*to); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(to string) error {
	if _, err := os.Stat(filepath.Join(from, "node_modules")); err != nil {
		return fmt.Errorf("the packages of the dashboard are not there: npm --prefix %s ci: %w", from, err)
	}
	result := api.Build(api.BuildOptions{
		EntryPoints:       []string{from + "/src/main.tsx", from + "/src/style.css"},
		EntryNames:        "[name]",
		ChunkNames:        "[name]-[hash]",
		Splitting:         true,
		Outdir:            to,
		Bundle:            true,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Format:            api.FormatESModule,
		Target:            api.ES2022,
		JSX:               api.JSXAutomatic,
		JSXImportSource:   "preact",
		LegalComments:     api.LegalCommentsNone, // whole licences stand in a file of their own
		Metafile:          true,
		LogLevel:          api.LogLevelWarning,
	})
	if len(result.Errors) > 0 {
		return fmt.Errorf("%d errors in the dashboard's source", len(result.Errors))
	}
	files := map[string][]byte{}
	for _, f := range result.OutputFiles {
		files[filepath.Base(f.Path)] = f.Contents
	}
	var err error
	if files["licenses.txt"], err = licenses(result.Metafile); err != nil {
		return err
	}
	page, err := os.ReadFile(from + "/src/index.html")
	if err != nil {
		return err
	}
	files["index.html"] = page
	size, err := write(to, files)
	if err != nil {
		return err
	}
	if size.page > budget {
		return fmt.Errorf("a page of the dashboard is %d bytes gzipped, and its budget is %d", size.page, budget)
	}
	fmt.Printf("dashboard: at most %.1f KB gzipped for a page, %.1f KB for all, in %s\n", float64(size.page)/1024, float64(size.all)/1024, to)
	return nil
}

// sizes are bytes, gzipped.
type sizes struct {
	all  int
	page int // what is loaded at once, with the larger of the parts that come when they are shown
}

// later are the parts that a page loads when it first shows them. No page shows both.
var later = []string{"chart-", "graph-"}

// licenses returns the licences of all packages that went into the bundle.
func licenses(metafile string) ([]byte, error) {
	var meta struct {
		Inputs map[string]struct{} `json:"inputs"`
	}
	if err := json.Unmarshal([]byte(metafile), &meta); err != nil {
		return nil, fmt.Errorf("read esbuild's report: %w", err)
	}
	packages := map[string]bool{}
	for input := range meta.Inputs {
		if _, in, ok := strings.Cut(input, "node_modules/"); ok {
			parts := strings.SplitN(in, "/", 3)
			name := parts[0]
			if strings.HasPrefix(name, "@") {
				name += "/" + parts[1]
			}
			packages[name] = true
		}
	}
	packages["@dagrejs/graphlib"] = true // is inside dagre's file
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		text, err := os.ReadFile(filepath.Join(from, "node_modules", name, "LICENSE"))
		if err != nil {
			return nil, fmt.Errorf("find the licence of %s: %w", name, err)
		}
		fmt.Fprintf(&out, "%s\n\n%s\n\n", name, bytes.TrimSpace(text))
	}
	return out.Bytes(), nil
}

// write replaces what was built before by the files, index.html last, since make
// takes it for the sign that all are there.
func write(to string, files map[string][]byte) (sizes, error) {
	var size sizes
	if err := os.MkdirAll(to, 0o755); err != nil {
		return size, err
	}
	old, err := os.ReadDir(to)
	if err != nil {
		return size, err
	}
	for _, f := range old {
		if slices.Contains([]string{".html", ".js", ".css", ".txt"}, filepath.Ext(f.Name())) {
			if err := os.Remove(filepath.Join(to, f.Name())); err != nil {
				return size, err
			}
		}
	}
	names := slices.SortedFunc(maps.Keys(files), func(a, b string) int {
		if (a == "index.html") != (b == "index.html") {
			if a == "index.html" {
				return 1
			}
			return -1
		}
		return cmp.Compare(a, b)
	})
	largest := 0
	for _, name := range names {
		n, err := gzipped(files[name])
		if err != nil {
			return size, err
		}
		switch {
		case filepath.Ext(name) == ".txt":
		case slices.ContainsFunc(later, func(prefix string) bool { return strings.HasPrefix(name, prefix) }):
			size.all += n
			largest = max(largest, n)
		default:
			size.all += n
			size.page += n
		}
		if err := os.WriteFile(filepath.Join(to, name), files[name], 0o644); err != nil {
			return size, err
		}
	}
	size.page += largest
	return size, nil
}

func gzipped(b []byte) (int, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	if _, err := z.Write(b); err != nil {
		return 0, err
	}
	if err := z.Close(); err != nil {
		return 0, err
	}
	return out.Len(), nil
}
