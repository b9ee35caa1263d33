package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// dist is the dashboard as the bundler left it; without it there is but a
// placeholder.
//
//go:embed all:dist
var dist embed.FS

// unbuilt is what is served where the dashboard was not bundled.
const unbuilt = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><meta name="viewport" content="width=device-width"><title>Swell</title></head>
<body>
<main>
<h1>The dashboard is not in this binary</h1>
<p>It was built by <code>go build</code> alone. <code>make</code> bundles the dashboard and builds it in; that needs Node and npm, once:</p>
<pre>make build</pre>
<p>Everything else works: the API is under <a href="/api/v1/services">/api/v1/</a>, the metrics are at <a href="/metrics">/metrics</a>, and <code>swell status</code> and <code>swell top</code> show the same on a terminal.</p>
</main>
</body>
</html>
`

var types = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
}

// page serves the dashboard's files from memory.
type page struct{ files map[string]file }

type file struct {
	body, kind, tag string
}

func dashboard() *page {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name above is a constant
	}
	return pageOf(sub)
}

func pageOf(from fs.FS) *page {
	p := &page{files: map[string]file{}}
	names, err := fs.Glob(from, "*")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range names {
		kind := types[path.Ext(name)]
		b, err := fs.ReadFile(from, name)
		if kind == "" || err != nil {
			continue
		}
		sum := sha256.Sum256(b)
		p.files[name] = file{string(b), kind, `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	if _, ok := p.files["index.html"]; !ok {
		p.files["index.html"] = file{unbuilt, types[".html"], `"unbuilt"`}
	}
	return p
}

// ServeHTTP serves a file, always asking whether it changed: after an update of
// Swell the old page must not speak to the new server.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	f, ok := p.files[name]
	if !ok || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		refuse(w, missing("there is no page %s; the dashboard is at /", r.URL.Path))
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", f.tag)
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	w.Write([]byte(f.body))
}
