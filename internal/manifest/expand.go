package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"swell/internal/plug"
)

// expander puts values in the place of ${…} in every text of a manifest. Two
// kinds of reference stay as they are, in a service's env and command: ${PORT},
// for the driver, and ${edge:…}, for planning.
type expander struct {
	*found
	env    func(string) (string, bool)
	secret func(string) (string, error)
}

// tree expands root, which belongs to one caller only.
func (e *expander) tree(root *plug.Node) {
	if root == nil {
		return
	}
	for _, f := range root.Fields {
		if f.Name != "services" || f.Node.Shape != plug.Map {
			e.node(f.Node, false)
			continue
		}
		for _, svc := range f.Node.Fields {
			for _, part := range svc.Node.Fields {
				e.node(part.Node, part.Name == "env" || part.Name == "command")
			}
			if svc.Node.Shape != plug.Map {
				e.node(svc.Node, false)
			}
		}
	}
}

func (e *expander) node(n *plug.Node, run bool) {
	for _, i := range n.Items {
		e.node(i, run)
	}
	for _, f := range n.Fields {
		e.node(f.Node, run)
	}
	if n.Shape != plug.Text || !strings.Contains(n.Text, "$") {
		return
	}
	written := n.Text
	x := expansion{expander: e, pos: n.Pos, run: run}
	text, ok := x.text(written, 0)
	if !ok {
		// What it would have been is unknown: let nothing be said of it but that.
		n.Text, n.Written = "", written
		return
	}
	if n.Text = text; x.resolved {
		n.Written, n.Secret = written, x.hidden
	}
}

// expansion is the expansion of one text.
type expansion struct {
	*expander
	pos      plug.Pos
	run      bool // in a command or env
	resolved bool // a reference was replaced
	hidden   bool // by a secret
}

var (
	variable   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	secretName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	edgeRef    = regexp.MustCompile(`^([a-z0-9-]+)\.(host|port|url)$`)
)

func (x *expansion) text(s string, depth int) (string, bool) {
	var b strings.Builder
	ok := true
	for {
		before, rest, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String(), ok
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			s = rest[1:]
			continue
		case !strings.HasPrefix(rest, "{"):
			b.WriteByte('$')
			s = rest
			continue
		}
		end := closing(rest)
		if end < 0 {
			x.fail(x.pos, "close it with }, or write $$ for a dollar sign", "${ has no closing brace")
			return "", false
		}
		v, fine := x.reference(rest[1:end], depth)
		ok = ok && fine
		b.WriteString(v)
		s = rest[end+1:]
	}
}

// closing returns the index of the brace that closes the one s begins with.
func closing(s string) int {
	open := 0
	for i := range len(s) {
		switch {
		case s[i] == '{' && (i == 0 || s[i-1] == '$'):
			open++
		case s[i] == '}':
			if open--; open == 0 {
				return i
			}
		}
	}
	return -1
}

// reference returns what the inside of ${…} stands for.
func (x *expansion) reference(ref string, depth int) (string, bool) {
	kind, name, special := strings.Cut(ref, ":")
	switch {
	case depth > 10:
		x.fail(x.pos, "", "references within each other more than 10 levels deep")
		return "", false
	case ref == "PORT":
		if !x.run {
			x.fail(x.pos, "", "${PORT} is the port of an instance: it has a value in a service's command and env only")
			return "", false
		}
		return "${PORT}", true
	case special && kind == "edge":
		switch {
		case !x.run:
			x.fail(x.pos, "", "${%s} has a value in a service's command and env only", ref)
			return "", false
		case !edgeRef.MatchString(name):
			x.fail(x.pos, "write it as ${edge:SERVICE.host}, ${edge:SERVICE.port} or ${edge:SERVICE.url}", "${%s} names no edge", ref)
			return "", false
		}
		return "${" + ref + "}", true // uses are checked later, when all services are known
	case special && kind == "secret":
		if !secretName.MatchString(name) {
			x.fail(x.pos, "a secret's name has letters, digits, dots, dashes and underscores", "${%s} names no secret", ref)
			return "", false
		}
		v, err := x.secret(name)
		if err != nil {
			x.fail(x.pos, "", "secret %s: %v", name, err)
			return "", false
		}
		x.resolved, x.hidden = true, true
		return x.once(v, ref)
	}
	name, fallback, hasFallback := strings.Cut(ref, ":-")
	if !variable.MatchString(name) {
		x.fail(x.pos, "write ${NAME}, ${NAME:-default}, ${secret:NAME} or ${edge:SERVICE.url}; $$ is a dollar sign", "${%s} is no reference", ref)
		return "", false
	}
	v, ok := x.env(name)
	if hasFallback && v == "" {
		return x.text(fallback, depth+1)
	}
	if !ok {
		x.fail(x.pos, fmt.Sprintf("set it, or give a default: ${%s:-…}", name), "the environment has no variable %s", name)
		return "", false
	}
	x.resolved = true
	return x.once(v, ref)
}

// once refuses a value that later steps would take for a reference.
func (x *expansion) once(v, ref string) (string, bool) {
	if strings.Contains(v, "${PORT}") || strings.Contains(v, "${edge:") {
		x.fail(x.pos, "", "the value of ${%s} holds a reference itself, and those are not followed", ref)
		return "", false
	}
	return v, true
}

// maxSecret bounds what is read of a secret's file.
const maxSecret = 64 << 10

// lookupSecret finds secrets as Options describes.
func lookupSecret(name string) (string, error) {
	variable := "SWELL_SECRET_" + strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(name))
	if v, ok := os.LookupEnv(variable); ok {
		return v, nil
	}
	dir := os.Getenv("SWELL_SECRETS_DIR")
	if dir == "" {
		dir = "/run/secrets"
	}
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("neither the variable %s nor the file %s is there", variable, path)
	case err != nil:
		return "", fmt.Errorf("read %s: %w", path, errors.Unwrap(err))
	case !info.Mode().IsRegular() || info.Size() > maxSecret:
		return "", fmt.Errorf("%s must be a file of at most %d bytes", path, maxSecret)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, errors.Unwrap(err))
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}
