// Command bundle makes the dashboard that the web package embeds: it bundles
// internal/web/ui, whose packages npm brought, into internal/web/dist. It runs
// from the module's root, by make.
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

const (
	from   = "internal/web/ui"
	to     = "internal/web/dist"
	budget = 60 << 10 // bytes of all files together, gzipped
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run() error {
	if _, err := os.Stat(filepath.Join(from, "node_modules")); err != nil {
		return fmt.Errorf("the packages of the dashboard are not there: npm --prefix %s ci: %w", from, err)
	}
	result := api.Build(api.BuildOptions{
		EntryPoints:       []string{from + "/src/main.tsx", from + "/src/style.css"},
		EntryNames:        "[name]",
		Outdir:            to,
		Bundle:            true,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Format:            api.FormatESModule,
		Target:            api.ES2022,
		JSX:               api.JSXAutomatic,
		JSXImportSource:   "preact",
		LegalComments:     api.LegalCommentsLinked,
		LogLevel:          api.LogLevelWarning,
	})
	if len(result.Errors) > 0 {
		return fmt.Errorf("%d errors in the dashboard's source", len(result.Errors))
	}
	files := map[string][]byte{}
	for _, f := range result.OutputFiles {
		name := filepath.Base(f.Path)
		name = strings.Replace(name, ".LEGAL.txt", ".legal.txt", 1)
		files[name] = f.Contents
	}
	page, err := os.ReadFile(from + "/src/index.html")
	if err != nil {
		return err
	}
	files["index.html"] = page
	size, err := write(files)
	if err != nil {
		return err
	}
	if size > budget {
		return fmt.Errorf("the dashboard is %d bytes gzipped, and its budget is %d", size, budget)
	}
	fmt.Printf("dashboard: %.1f KB gzipped in %s\n", float64(size)/1024, to)
	return nil
}

// write writes the files, index.html last, since make takes it for the sign that
// all are there, and returns their size gzipped.
func write(files map[string][]byte) (int, error) {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return 0, err
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		if (names[i] == "index.html") != (names[j] == "index.html") {
			return names[j] == "index.html"
		}
		return names[i] < names[j]
	})
	size := 0
	for _, name := range names {
		var zipped bytes.Buffer
		z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
		if err != nil {
			return 0, err
		}
		if _, err := z.Write(files[name]); err != nil {
			return 0, err
		}
		if err := z.Close(); err != nil {
			return 0, err
		}
		if filepath.Ext(name) != ".txt" {
			size += zipped.Len()
		}
		if err := os.WriteFile(filepath.Join(to, name), files[name], 0o644); err != nil {
			return 0, err
		}
	}
	return size, nil
}
