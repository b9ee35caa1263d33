package manifest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"

	"swell"
	"swell/internal/plug"
)

// composeNames are the names of Compose files, the preferred first.
var composeNames = []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}

// isCompose reports whether a file is a Compose file by its name.
func isCompose(name string) bool { return slices.Contains(composeNames, filepath.Base(name)) }

// LoadCompose reads Compose files, the later over the earlier, by the Compose
// project's own loader, with the variables of the environment and of an .env
// file beside the first. What a manifest can say of them is translated into one,
// which then is checked as any other; all else is named in a warning. x-swell, on
// a service or at the top, holds words of a manifest and wins. In texts,
// ${edge:…} and ${secret:…} mean what they mean in a manifest, and ${PORT} does
// if the environment has no PORT. Options.Profile is a Compose profile here.
func LoadCompose(paths []string, o Options) (*Result, error) {
	var names []string
	for _, p := range paths {
		name, err := resolve(p)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	files, err := readFiles(names)
	if err != nil {
		return nil, err
	}
	return parseCompose(files, o)
}

func parseCompose(files []File, o Options) (*Result, error) {
	f := &found{files: files}
	c := &compose{found: f, lookup: o.Env}
	for _, file := range files {
		n := f.read(file)
		if n != nil && n.Shape != plug.Map {
			f.fail(n.Pos, "", "a Compose file must be a mapping, but this is %s", n.Shape)
		}
		c.raw = append(c.raw, n)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	project := c.load(o.Profile)
	if project == nil {
		return nil, f.err()
	}
	root := c.manifest(project)
	o.Profile = ""
	result, err := f.compile(root, o, swell.Audit)
	if err != nil {
		return nil, err
	}
	result.Files = append(result.Files, c.extra...)
	return result, nil
}

// compose translates one project.
type compose struct {
	*found
	raw    []*plug.Node // the files' trees, for places and x-swell
	lookup func(string) (string, bool)
	extra  []string // further files that were read
}

// composeLog serialises loads: the loader talks through one logger of the process.
var composeLog sync.Mutex

// heard collects what the loader logs.
type heard struct{ lines []string }

// Levels implements logrus.Hook.
func (*heard) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (h *heard) Fire(e *logrus.Entry) error {
	if e.Level <= logrus.WarnLevel && len(h.lines) < 100 {
		h.lines = append(h.lines, e.Message)
	}
	return nil
}

func (c *compose) load(profile string) *types.Project {
	composeLog.Lock()
	defer composeLog.Unlock()
	var talk heard
	logger := logrus.StandardLogger()
	hooks := logger.ReplaceHooks(logrus.LevelHooks{})
	logger.AddHook(&talk)
	out := logger.Out
	logger.SetOutput(io.Discard)
	defer func() {
		logger.SetOutput(out)
		logger.ReplaceHooks(hooks)
	}()

	dir := folder(c.files[0].Name)
	details := types.ConfigDetails{WorkingDir: dir, Environment: types.Mapping{}}
	for _, file := range c.files {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: file.Name, Content: file.Data})
	}
	if c.lookup == nil {
		details.Environment = types.NewMapping(os.Environ())
		c.lookup = os.LookupEnv
	}
	if env := filepath.Join(dir, ".env"); regular(env) {
		values, err := dotenv.GetEnvFromFile(details.Environment, []string{env})
		if err != nil {
			c.fail(plug.Pos{File: env}, "", "read the variables: %v", err)
			return nil
		}
		c.extra = append(c.extra, env)
		outer := c.lookup
		c.lookup = func(name string) (string, bool) {
			if v, ok := outer(name); ok {
				return v, true
			}
			v, ok := values[name]
			return v, ok
		}
		for k, v := range values {
			if _, ok := details.Environment[k]; !ok {
				details.Environment[k] = v
			}
		}
	}
	project, err := c.project(details, profile)
	for _, line := range talk.lines {
		c.warn(c.mentioned(line), "", "%s", line)
	}
	if err != nil {
		text := err.Error()
		text, _, _ = strings.Cut(text, "\n")
		c.fail(c.mentioned(text), "", "Compose: %s", text)
		return nil
	}
	return project
}

// project calls the loader, which is not ours: should it break on what somebody
// wrote, that is a file which can't be read.
func (c *compose) project(details types.ConfigDetails, profile string) (p *types.Project, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("the file can't be read: %v", r)
		}
	}()
	return loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		name := asLabel(filepath.Base(details.WorkingDir))
		explicit := false
		for _, raw := range c.raw {
			if n := raw.Get("name"); n != nil && n.Text != "" {
				name, explicit = n.Text, true
			}
		}
		o.SetProjectName(name, explicit)
		o.Interpolate.LookupValue = c.lookup
		o.Interpolate.Substitute = func(s string, mapping template.Mapping) (string, error) {
			return template.Substitute(c.keep(s), mapping)
		}
		if profile != "" {
			o.Profiles = []string{profile}
		}
		// What refers to what is checked as in a manifest; and a service without an
		// image, which Compose refuses, is the best that a service can be here.
		o.SkipConsistencyCheck = true
	})
}

var ours = regexp.MustCompile(`\$+\{(edge:|secret:|PORT\})`)

// keep doubles the dollar before references that are Swell's, so that Compose
// leaves them.
func (c *compose) keep(s string) string {
	return ours.ReplaceAllStringFunc(s, func(ref string) string {
		dollars := strings.Index(ref, "{")
		if dollars%2 == 0 { // written doubled already
			return ref
		}
		if strings.HasSuffix(ref, "PORT}") {
			if _, set := c.lookup("PORT"); set {
				return ref
			}
		}
		return "$" + ref
	})
}

var dotted = regexp.MustCompile(`\b(services|networks|volumes|configs|secrets)(\.[A-Za-z0-9_-]+)+`)
var quoted = regexp.MustCompile(`["'` + "`" + `]([A-Za-z0-9_.-]+)["'` + "`" + `]`)
var yamlLine = regexp.MustCompile(`\bline (\d+)`)

// mentioned finds the place that a message of the loader speaks of.
func (c *compose) mentioned(text string) plug.Pos {
	file := plug.Pos{File: c.files[0].Name}
	if m := dotted.FindString(text); m != "" {
		var path []string
		path = append(path, strings.Split(m, ".")...)
		for _, q := range quoted.FindAllStringSubmatch(text, -1) {
			if pos := c.place(append(slices.Clone(path), q[1])...); pos != c.place(path...) {
				return pos
			}
		}
		return c.place(path...)
	}
	for _, q := range quoted.FindAllStringSubmatch(text, -1) {
		for _, path := range [][]string{{"services", q[1]}, {q[1]}} {
			for _, raw := range c.raw {
				if raw.Find(path[0]).Get(path[len(path)-1]) != nil || raw.Get(path[len(path)-1]) != nil {
					return c.place(path...)
				}
			}
		}
	}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		file.Line, _ = strconv.Atoi(m[1])
		file.Column, file.Width = 1, 1
	}
	return file
}

// place is where the name at path stands, or the nearest above it: in the last
// file that has it.
func (c *compose) place(path ...string) plug.Pos {
	best, depth := plug.Pos{File: c.files[0].Name}, 0
	for _, n := range c.raw {
		for i, p := range path {
			at := -1
			if n != nil {
				at = slices.IndexFunc(n.Fields, func(f plug.Field) bool { return f.Name == p })
			}
			if at < 0 {
				break
			}
			if i+1 >= depth {
				best, depth = n.Fields[at].Pos, i+1
			}
			n = n.Fields[at].Node
		}
	}
	return best
}

// words are the manifest's words at path/x-swell, of all files, merged.
func (c *compose) words(path ...string) *plug.Node {
	var out *plug.Node
	for _, n := range c.raw {
		for _, p := range path {
			n = n.Get(p)
		}
		if x := n.Get("x-swell"); x != nil {
			if x.Shape != plug.Map {
				c.fail(x.Pos, "", "x-swell must be a mapping with a manifest's words, but it is %s", x.Shape)
				continue
			}
			out = merge(out, x)
		}
	}
	return out
}

func regular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() <= maxFile
}
