package driver

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"swell"
)

// inherited are the names of the variables that an instance gets from Swell's own
// environment; beside them it gets every LC_* one. All others come from the
// manifest, so that an application runs the same on every machine.
var inherited = []string{
	"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR",
	"SSL_CERT_FILE", "TMPDIR", "TZ", "USER",
}

// marker is the variable by which a process is known to be of an instance: its
// descendants inherit it.
const marker = "SWELL_INSTANCE"

// environment returns an instance's variables, sorted: the inherited ones, then
// the workload's, which win, then Swell's own.
func environment(from []string, id string, w swell.Workload, port int) []string {
	vars := map[string]string{}
	for _, kv := range from {
		k, v, _ := strings.Cut(kv, "=")
		if slices.Contains(inherited, k) || strings.HasPrefix(k, "LC_") {
			vars[k] = v
		}
	}
	for _, p := range w.Run.Env {
		vars[p.Name] = substitute(p.Value, port)
	}
	vars["PORT"] = strconv.Itoa(port)
	vars["SWELL_SERVICE"] = w.Service
	vars[marker] = id
	out := make([]string, 0, len(vars))
	for k, v := range vars {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// substitute puts the instance's port in place of ${PORT}.
func substitute(s string, port int) string {
	return strings.ReplaceAll(s, "${PORT}", strconv.Itoa(port))
}

// program finds the workload's program, an absolute path, and its working
// directory. The error is for the people who wrote the manifest.
func program(w swell.Workload) (path, dir string, err error) {
	if len(w.Run.Command) == 0 || w.Run.Command[0] == "" {
		return "", "", fmt.Errorf("service %s: it has no command: give the program and its arguments, for example command: [./bin/%s]", w.Service, w.Service)
	}
	name, dir := w.Run.Command[0], w.Run.Dir
	if dir == "" {
		if dir, err = os.Getwd(); err != nil {
			return "", "", fmt.Errorf("service %s: find the working directory: %w", w.Service, err)
		}
	}
	if fi, err := os.Stat(dir); err != nil {
		return "", "", fmt.Errorf("service %s: its working directory %s is not there: %w", w.Service, dir, reason(err))
	} else if !fi.IsDir() {
		return "", "", fmt.Errorf("service %s: its working directory %s is not a directory", w.Service, dir)
	}
	if strings.Contains(name, "/") {
		path = name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		switch err := executable(path); {
		case errors.Is(err, os.ErrNotExist):
			return "", "", fmt.Errorf("service %s: program %s is not there: looked for %s (working directory %s); is it built?", w.Service, name, path, dir)
		case err != nil:
			return "", "", fmt.Errorf("service %s: program %s can't be run: %s %w (working directory %s)", w.Service, name, path, reason(err), dir)
		}
		return path, dir, nil
	}
	search := os.Getenv("PATH")
	for _, p := range w.Run.Env {
		if p.Name == "PATH" {
			search = p.Value
		}
	}
	var unfit error
	for _, d := range filepath.SplitList(search) {
		p := filepath.Join(cmp.Or(d, "."), name)
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		err := executable(p)
		if err == nil {
			return p, dir, nil
		}
		// What can't be looked at is passed over, as shells do.
		if errors.Is(err, errNotExecutable) && unfit == nil {
			unfit = fmt.Errorf("service %s: program %s can't be run: %s %w (working directory %s)", w.Service, name, p, reason(err), dir)
		}
	}
	if unfit != nil {
		return "", "", unfit
	}
	hint := ""
	if executable(filepath.Join(dir, name)) == nil {
		hint = fmt.Sprintf("; did you mean ./%s?", name)
	}
	return "", "", fmt.Errorf("service %s: program %s is not in PATH (%s), working directory %s%s", w.Service, name, search, dir, hint)
}

var (
	errDirectory     = errors.New("is a directory")
	errNotExecutable = errors.New("is not executable; chmod +x would make it so")
)

func executable(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, unix.ENOTDIR) {
			return os.ErrNotExist
		}
		return err
	}
	if fi.IsDir() {
		return errDirectory
	}
	if fi.Mode()&0o111 == 0 || unix.Access(path, unix.X_OK) != nil {
		return errNotExecutable
	}
	return nil
}

// reason is an error without the operation and the path, which the message has.
func reason(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}
