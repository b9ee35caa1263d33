package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/spf13/cobra"

	"swell"
	"swell/internal/balance"
	"swell/internal/filter"
	"swell/internal/latest"
	"swell/internal/manifest"
	"swell/internal/plan"
	"swell/internal/web"
)

// manifestOptions are how every command reads manifests.
func manifestOptions(profile string) manifest.Options {
	return manifest.Options{Filters: filter.Kind(), Balancers: balance.Kind(), Profile: profile}
}

// manifestPaths are the arguments of a command, or the current folder.
func manifestPaths(args []string) []string {
	if len(args) == 0 {
		return []string{"."}
	}
	return args
}

func validateCommand() *cobra.Command {
	var profile string
	cmd := &cobra.Command{
		Use:   "validate [FILE|DIR …]",
		Short: "Check manifests: every error at once, with its place",
		Example: `  swell validate
  swell validate swell.yaml prod.yaml
  swell validate compose.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := manifest.Load(manifestPaths(args), manifestOptions(profile))
			if err != nil {
				return withCode(exitManifest, err)
			}
			for _, w := range r.Warnings {
				fmt.Fprintln(os.Stderr, talk(os.Stderr).yellow("warning:"), w)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: valid: %d services, %d routes\n", r.App.Name, len(r.App.Services), len(r.App.Gateway.Routes))
			return nil
		},
	}
	cmd.Flags().StringVar(&profile, "profile", "", "lay this profile over the manifest")
	return cmd
}

func schemaCommand() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of swell.yaml, for editors",
		Example: `  swell schema > swell.schema.json
  swell schema --markdown | less`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := manifest.Schema(manifestOptions(""))
			if err != nil {
				return err
			}
			if markdown {
				page, err := reference(b)
				if err != nil {
					return err
				}
				b = []byte(page)
			}
			_, err = cmd.OutOrStdout().Write(append(bytes.TrimRight(b, "\n"), '\n'))
			return err
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the manifest's reference page in Markdown instead")
	return cmd
}

func fmtCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "fmt [FILE …]",
		Short: "Format manifests in place and keep their comments; - is standard input",
		Example: `  swell fmt
  swell fmt --check
  swell fmt - < swell.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"swell.yaml"}
			}
			unformatted := 0
			for _, name := range args {
				if info, err := os.Stat(name); err == nil && info.IsDir() {
					name = filepath.Join(name, "swell.yaml")
				}
				var in []byte
				var err error
				if name == "-" {
					in, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), 16<<20))
				} else {
					in, err = os.ReadFile(name)
				}
				if err != nil {
					return err
				}
				out, err := manifest.Format(in)
				if err != nil {
					return withCode(exitManifest, fmt.Errorf("%s: %w", name, err))
				}
				switch {
				case name == "-":
					_, err = cmd.OutOrStdout().Write(out)
				case bytes.Equal(in, out):
				case check:
					unformatted++
					fmt.Fprintln(cmd.OutOrStdout(), name)
				default:
					err = replaceFile(name, out)
				}
				if err != nil {
					return err
				}
			}
			if unformatted > 0 {
				return withCode(exitFindings, errors.New("not formatted; run swell fmt"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "name the files that are not formatted, change nothing, and end with exit code 3")
	return cmd
}

// replaceFile puts data in the place of a file, whole or not at all.
func replaceFile(name string, data []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".swell-fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(info.Mode()), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// source is where the app comes from: files that are read again when they
// change, and the API's apply. It is the only writer of the app.
type source struct {
	paths []string
	opt   manifest.Options
	app   *latest.Cell[swell.App]
	log   *slog.Logger
	say   io.Writer // where diffs and errors of reloads are shown

	applied atomic.Pointer[applied] // what the API applied last; nil if the files say what runs
}

// applied is a manifest that came by the API.
type applied struct {
	Name string
	Data []byte
}

// load reads the files for the first time.
func (s *source) load() (*manifest.Result, error) {
	r, err := manifest.Load(s.paths, s.opt)
	if err != nil {
		return nil, withCode(exitManifest, err)
	}
	return r, nil
}

// reload reads the files again. A manifest that is invalid is shown with its
// errors, and everything goes on as before.
func (s *source) reload() {
	k := talk(s.say)
	r, err := manifest.Load(s.paths, s.opt)
	if err != nil {
		fmt.Fprintf(s.say, "%s, everything goes on as before:\n%v\n", k.red("the changed manifest was refused"), err)
		return
	}
	old, _ := s.app.Get()
	changes := plan.Diff(old, r.App)
	if len(changes) == 0 {
		return
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(s.say, k.yellow("warning:"), w)
	}
	fmt.Fprintln(s.say, k.bold("the manifest changed:"))
	for _, c := range changes {
		line := "  " + c.String()
		switch c.Op {
		case "+":
			line = k.green(line)
		case "-":
			line = k.red(line)
		}
		fmt.Fprintln(s.say, line)
	}
	s.applied.Store(nil)
	s.app.Set(r.App)
}

// apply is the API's: it checks a manifest as if it stood beside the files, and
// makes it the app unless dry.
func (s *source) apply(name string, data []byte, dry bool) ([]plan.Change, []web.Problem, error) {
	if name == "" {
		name = "swell.yaml"
	}
	dir := s.paths[0]
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	r, err := manifest.Parse([]manifest.File{{Name: filepath.Join(dir, filepath.Base(name)), Data: data}}, s.opt)
	if err != nil {
		var ps manifest.Problems
		if errors.As(err, &ps) {
			return nil, nil, &web.Invalid{Problems: problems(ps)}
		}
		return nil, nil, err
	}
	old, _ := s.app.Get()
	changes := plan.Diff(old, r.App)
	if !dry {
		s.log.Info("a manifest was applied by the API", "changes", len(changes))
		s.applied.Store(&applied{name, data})
		s.app.Set(r.App)
	}
	return changes, problems(r.Warnings), nil
}

func problems(ps []manifest.Problem) []web.Problem {
	out := []web.Problem{}
	for _, p := range ps {
		out = append(out, web.Problem{File: p.File, Line: p.Line, Column: p.Column, Text: p.Text, Hint: p.Hint, Source: p.Source})
	}
	return out
}
