package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"swell"
	"swell/internal/plan"
)

// maxFloor bounds how long a floor set by hand holds: who wants it for longer
// writes scale.min.
const maxFloor = 24 * time.Hour

// answer writes what f returns as JSON, or its error.
func answer(w http.ResponseWriter, r *http.Request, f func(r *http.Request) (any, error)) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	v, err := f(r)
	if err != nil {
		refuse(w, err)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		refuse(w, fmt.Errorf("write the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(b, '\n'))
}

// refuse writes an error: an [*Error] as it is, an [*Invalid] as 422, a body
// that is too large as 413, and everything else as 500.
func refuse(w http.ResponseWriter, err error) {
	var (
		e       *Error
		invalid *Invalid
		large   *http.MaxBytesError
	)
	switch {
	case errors.As(err, &e):
	case errors.As(err, &invalid):
		n := len(invalid.Problems)
		e = &Error{Status: http.StatusUnprocessableEntity, Message: fmt.Sprintf("the manifest has %d problems", n), Problems: invalid.Problems}
		if n == 1 {
			e.Message = "the manifest has a problem"
		}
	case errors.As(err, &large):
		e = &Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body is larger than %d bytes", large.Limit)}
	default:
		e = &Error{Status: http.StatusInternalServerError, Message: err.Error()}
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(e.Status)
	json.NewEncoder(w).Encode(map[string]*Error{"error": e})
}

func missing(format string, args ...any) error {
	return &Error{Status: http.StatusNotFound, Message: fmt.Sprintf(format, args...)}
}

func bad(format string, args ...any) error {
	return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

func absent(what string) error {
	return &Error{Status: http.StatusNotImplemented, Message: what + " is not available on this server"}
}

func (s *Server) getApp(*http.Request) (any, error) { return s.app(s.view()), nil }

func (s *Server) getServices(*http.Request) (any, error) { return s.serviceList(s.view()), nil }

func (s *Server) getInstances(r *http.Request) (any, error) {
	return s.instanceList(s.view(), r.FormValue("service")), nil
}

func (s *Server) getEdges(*http.Request) (any, error) { return edgeList(s.view()), nil }

// named returns the service that the path names.
func named(v view, r *http.Request) (swell.Service, error) {
	name := r.PathValue("name")
	names := make([]string, 0, len(v.App.Services))
	for _, svc := range v.App.Services {
		if svc.Name == name {
			return svc, nil
		}
		names = append(names, svc.Name)
	}
	there := "there are none yet"
	if len(names) > 0 {
		there = "there are: " + strings.Join(names, ", ")
	}
	return swell.Service{}, missing("no service is named %q; %s", name, there)
}

func (s *Server) getService(r *http.Request) (any, error) {
	v := s.view()
	svc, err := named(v, r)
	if err != nil {
		return nil, err
	}
	out := ServiceDetail{Service: service(v, svc), Instances: s.instanceList(v, svc.Name), Callers: []Edge{}, Callees: []Edge{}}
	for _, e := range edgeList(v) {
		if e.Callee == svc.Name {
			out.Callers = append(out.Callers, e)
		}
		if e.Caller == svc.Name {
			out.Callees = append(out.Callees, e)
		}
	}
	if ds := s.decisionList(v, svc.Name, 1); len(ds) > 0 {
		out.Decision = &ds[0]
	}
	return out, nil
}

func (s *Server) getServiceDecisions(r *http.Request) (any, error) {
	v := s.view()
	svc, err := named(v, r)
	if err != nil {
		return nil, err
	}
	n, err := number(r, "n", 100, 1000)
	if err != nil {
		return nil, err
	}
	return s.decisionList(v, svc.Name, n), nil
}

func (s *Server) getDecisions(r *http.Request) (any, error) {
	n, err := number(r, "n", 100, 1000)
	if err != nil {
		return nil, err
	}
	return s.decisionList(s.view(), "", n), nil
}

func (s *Server) getHistory(r *http.Request) (any, error) {
	svc, err := named(s.view(), r)
	if err != nil {
		return nil, err
	}
	return s.history(svc.Name), nil
}

func (s *Server) getRoutes(r *http.Request) (any, error) {
	v := s.view()
	raw := r.FormValue("url")
	if raw == "" {
		return s.routeList(v), nil
	}
	if s.opt.Match == nil {
		return nil, absent("matching of routes")
	}
	if u, err := url.Parse(raw); err != nil || (u.Host == "" && !strings.HasPrefix(raw, "/")) {
		return nil, bad("%q is not a URL: write it as http://shop.example/api/items, or as /api/items", raw)
	}
	out := RouteMatch{URL: raw, Method: strings.ToUpper(r.FormValue("method"))}
	if out.Method == "" {
		out.Method = http.MethodGet
	}
	name, ok := s.opt.Match(out.Method, raw)
	for _, rt := range v.App.Gateway.Routes {
		if ok && rt.Name == name {
			found := route(v, rt)
			out.Route = &found
		}
	}
	return out, nil
}

func (s *Server) postApply(r *http.Request) (any, error) {
	if s.opt.Apply == nil {
		return nil, absent("applying a manifest")
	}
	dry, err := flag(r, "dry_run")
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if len(strings.TrimSpace(string(body))) == 0 {
		return nil, bad("the body is empty: send the manifest as it is")
	}
	name := r.URL.Query().Get("name")
	if name == "" {
		name = "swell.yaml"
	}
	changes, warnings, err := s.opt.Apply(r.Context(), name, body, dry)
	if err != nil {
		return nil, err
	}
	if changes == nil {
		changes = []plan.Change{}
	}
	return ApplyResult{App: s.opt.State().App.Name, Applied: !dry, Changes: changes, Warnings: notNil(warnings)}, nil
}

func (s *Server) postScale(r *http.Request) (any, error) {
	svc, err := named(s.view(), r)
	if err != nil {
		return nil, err
	}
	if s.opt.Floor == nil {
		return nil, absent("scaling by hand")
	}
	if len(svc.Address) > 0 {
		return nil, &Error{Status: http.StatusUnprocessableEntity, Message: svc.Name + " is not run by Swell: it has an address"}
	}
	var (
		req ScaleRequest
		raw struct {
			Replicas *int   `json:"replicas"`
			For      string `json:"for"`
		}
	)
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&raw); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, err
		}
		return nil, bad(`the body is not {"replicas": 3, "for": "10m"}: %v`, err)
	}
	if raw.Replicas == nil {
		return nil, bad(`"replicas" is missing: the body is {"replicas": 3, "for": "10m"}`)
	}
	req = ScaleRequest{Replicas: *raw.Replicas, For: raw.For}
	life := defaultFloor
	if req.For != "" {
		if life, err = time.ParseDuration(req.For); err != nil || life <= 0 || life > maxFloor {
			return nil, bad(`"for" is %q: it is a duration of at most %s, such as 10m or 1h30m`, req.For, "24h")
		}
	}
	if req.Replicas < 0 || req.Replicas > svc.Scale.Max {
		return nil, &Error{Status: http.StatusUnprocessableEntity, Message: fmt.Sprintf("%s may have 0 to %d instances (scale.max in the manifest), not %d", svc.Name, svc.Scale.Max, req.Replicas)}
	}
	until := time.Now().Add(life)
	if err := s.opt.Floor(svc.Name, req.Replicas, until); err != nil {
		return nil, fmt.Errorf("scale %s: %w", svc.Name, err)
	}
	return ScaleResult{Service: svc.Name, Replicas: req.Replicas, Until: until.UTC()}, nil
}

// number reads a count from the query, between 1 and most.
func number(r *http.Request, name string, def, most int) (int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return def, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, bad("%s is %q: it is a number from 1 to %d", name, s, most)
	}
	return n, nil
}

// flag reads a switch from the query.
func flag(r *http.Request, name string) (bool, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, bad("%s is %q: it is 1 or 0", name, s)
	}
	return b, nil
}
