// Package manifest reads, merges, defaults and checks manifests and Compose
// files, and says what is wrong in them by file, line and column.
//
// A manifest becomes a [swell.App] in five steps: YAML to nodes with their
// places, files and profile merged, ${…} expanded, nodes decoded strictly into
// the structs of document.go, and those checked and turned into the root's
// words. Each step goes on after a mistake as far as it can, so that all that is
// wrong is said at once.
package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"swell"
	"swell/internal/plug"
)

// FileName is the manifest that a directory stands for.
const FileName = "swell.yaml"

// Options are what reading a manifest needs beside its files. The zero value
// knows no filter and no balancer.
type Options struct {
	// Filters and Balancers say what use and balance can name.
	Filters, Balancers plug.Catalog
	// Env looks up ${NAME}; nil is the process's environment.
	Env func(name string) (string, bool)
	// Secret looks up ${secret:NAME}; nil looks at the variable
	// SWELL_SECRET_NAME (in capitals, dots and dashes as underscores), then at the
	// file NAME in the directory SWELL_SECRETS_DIR, which is /run/secrets if unset.
	// Its errors are shown, so they must not hold the value.
	Secret func(name string) (string, error)
	// Profile is laid over the manifest; "" is none.
	Profile string
	// FindProgram reports why a service's program can't be run, for a warning; nil
	// looks in dir and, for a name without a slash, in PATH.
	FindProgram func(dir, program string) error
}

// File is a manifest's text with the name that problems show. The folder of the
// name is what the manifest's paths are relative to.
type File struct {
	Name string
	Data []byte
}

// Result is a manifest that was read.
type Result struct {
	App      swell.App
	Warnings []Problem
	Files    []string // what was read, as it was named: watch these
	Secrets  []string // values of secrets that App holds: what must never be shown
}

// Load reads and merges the manifests at paths, the later over the earlier. A
// directory stands for its swell.yaml, or for its Compose file if it has only
// that; Compose files are known by their names and not mixed with manifests.
// An error that is the manifest's fault is of type [Problems].
func Load(paths []string, o Options) (*Result, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	var names []string
	compose := 0
	for _, p := range paths {
		name, err := resolve(p)
		if err != nil {
			return nil, err
		}
		if isCompose(name) {
			compose++
		}
		names = append(names, name)
	}
	switch {
	case compose == len(names):
		return LoadCompose(names, o)
	case compose > 0:
		return nil, errors.New("Compose files and manifests can't be mixed: " + strings.Join(names, ", "))
	}
	files, err := readFiles(names)
	if err != nil {
		return nil, err
	}
	return Parse(files, o)
}

// resolve returns the file that path stands for.
func resolve(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read the manifest: %w", err)
	}
	if !info.IsDir() {
		return path, nil
	}
	for _, name := range append([]string{FileName, "swell.yml"}, composeNames...) {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			return filepath.Join(path, name), nil
		}
	}
	return "", fmt.Errorf("read the manifest: %s has no %s: %w", path, FileName, fs.ErrNotExist)
}

func readFiles(names []string) ([]File, error) {
	var files []File
	for _, name := range names {
		info, err := os.Stat(name)
		if err == nil && info.Size() > maxFile {
			return nil, fmt.Errorf("read the manifest: %s has %d bytes; at most %d are read", name, info.Size(), maxFile)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the manifest: %w", err)
		}
		files = append(files, File{Name: name, Data: data})
	}
	return files, nil
}

// Parse reads and merges the manifests in files, as [Load] does. Beside files it
// touches the environment, secrets and the file system only by o.
func Parse(files []File, o Options) (*Result, error) {
	f := &found{files: files}
	var root *plug.Node
	for _, file := range files {
		n := f.read(file)
		switch {
		case n == nil:
		case n.Shape != plug.Map:
			f.fail(n.Pos, "it begins with app: NAME", "a manifest must be a mapping, but this is %s", n.Shape)
		default:
			root = merge(root, n)
		}
	}
	if root == nil {
		if len(f.errors) == 0 {
			pos := plug.Pos{}
			if len(files) > 0 {
				pos.File = files[0].Name
			}
			f.fail(pos, "the shortest one is: services: {web: {command: [./web]}}", "the manifest is empty")
		}
		return nil, f.err()
	}
	return f.compile(root, o, swell.Enforce)
}

// compile turns the merged tree of all files into a result.
func (f *found) compile(root *plug.Node, o Options, policy swell.Policy) (*Result, error) {
	root = clone(f.profile(root, o.Profile))
	secrets := f.expand(root, &o)

	var doc document
	f.errors = append(f.errors, plug.Decode(without(root, "profiles"), &doc)...)
	f.settle()
	b := &builder{found: f, root: root, options: o, doc: &doc, services: serviceNames(root), mentioned: map[string]bool{}}
	app := b.app(policy)
	if err := f.err(); err != nil {
		return nil, err
	}
	names := make([]string, len(f.files))
	for i := range f.files {
		names[i] = f.files[i].Name
	}
	return &Result{App: app, Warnings: f.places(f.warnings), Files: names, Secrets: secrets}, nil
}

// expand expands the tree and returns the values of the secrets in it.
func (f *found) expand(root *plug.Node, o *Options) []string {
	env, secret := o.Env, o.Secret
	if env == nil {
		env = os.LookupEnv
	}
	if secret == nil {
		secret = lookupSecret
	}
	var secrets []string
	x := &expander{found: f, env: env, secret: func(name string) (string, error) {
		v, err := secret(name)
		if err == nil && v != "" {
			secrets = append(secrets, v)
		}
		return v, err
	}}
	x.tree(root)
	f.settle()
	return slices.Compact(sorted(secrets))
}

// profile lays the named profile over root.
func (f *found) profile(root *plug.Node, name string) *plug.Node {
	profiles := root.Get("profiles")
	if profiles != nil {
		var check map[string]overlay
		f.errors = append(f.errors, plug.Decode(profiles, &check)...)
	}
	if name == "" {
		return root
	}
	over := profiles.Get(name)
	if over == nil {
		var known []string
		if profiles != nil {
			for _, p := range profiles.Fields {
				known = append(known, p.Name)
			}
		}
		pos := root.Pos
		if profiles != nil {
			pos = profiles.Pos
		}
		f.fail(pos, plug.Hint(name, sorted(known)), "no profile is named %q", name)
		return root
	}
	if over.Shape != plug.Map {
		return root
	}
	if p := over.Get("profiles"); p != nil {
		f.fail(p.Pos, "", "a profile can't hold profiles")
	}
	return merge(root, without(over, "profiles"))
}

func serviceNames(root *plug.Node) []string {
	var names []string
	if s := root.Get("services"); s != nil {
		for _, f := range s.Fields {
			names = append(names, f.Name)
		}
	}
	return sorted(names)
}

func sorted(s []string) []string { slices.Sort(s); return s }
