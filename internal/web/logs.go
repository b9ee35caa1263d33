package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"swell"
)

const keepAlive = 20 * time.Second // between two signs of life of a quiet stream

// match says whether a line is one of those that q chooses.
func (q LogQuery) match(l swell.Line) bool {
	return (q.Service == "" || l.Service == q.Service) &&
		(q.Instance == "" || l.Instance == q.Instance) &&
		(q.Q == "" || containsFold(l.Text, q.Q))
}

// containsFold is strings.Contains whatever the case, for a needle in lower case.
func containsFold(text, lower string) bool {
	return strings.Contains(strings.ToLower(text), lower)
}

func logQuery(r *http.Request) (LogQuery, error) {
	v := r.URL.Query()
	q := LogQuery{Service: v.Get("service"), Instance: v.Get("instance"), Q: strings.ToLower(v.Get("q"))}
	var err error
	if q.N, err = number(r, "n", 200, maxLines); err != nil {
		return q, err
	}
	since := v.Get("since")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		since = id
	}
	if since != "" {
		if q.Since, err = strconv.ParseUint(since, 10, 64); err != nil {
			return q, bad("since is %q: it is the seq of a line", since)
		}
	}
	return q, nil
}

// tail returns the last lines that match.
func (s *Server) tail(q LogQuery) []swell.Line {
	n := q.N
	if q.Instance != "" || q.Q != "" {
		n = 1 << 20 // what is searched must be read
	}
	all := s.opt.Logs.Tail(q.Service, n)
	var out []swell.Line
	for i := len(all) - 1; i >= 0 && len(out) < q.N; i-- {
		if q.match(all[i]) {
			out = append(out, all[i])
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

func (s *Server) getLogs(r *http.Request) (any, error) {
	if s.opt.Logs == nil {
		return nil, absent("the output of instances")
	}
	q, err := logQuery(r)
	if err != nil {
		return nil, err
	}
	return lines(s.tail(q)), nil
}

// streamLogs sends the last lines and then those that come. The ID of an event
// is the seq of its last line, so that a client that comes again misses none
// that is still kept.
func (s *Server) streamLogs(w http.ResponseWriter, r *http.Request) {
	if s.opt.Logs == nil {
		refuse(w, absent("the output of instances"))
		return
	}
	q, err := logQuery(r)
	if err != nil {
		refuse(w, err)
		return
	}
	st, err := s.open(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	defer st.close()
	send := func(ls []swell.Line) error {
		b, err := json.Marshal(lines(ls))
		if err != nil {
			return err
		}
		return st.write(sse("lines", strconv.FormatUint(ls[len(ls)-1].Seq, 10), b))
	}
	since := q.Since
	if since == 0 {
		if all := s.opt.Logs.Tail("", 1); len(all) > 0 {
			since = all[0].Seq
		}
		first := s.tail(q)
		for len(first) > 0 && first[len(first)-1].Seq > since {
			first = first[:len(first)-1] // came in between: Follow brings it
		}
		if len(first) > 0 && send(first) != nil {
			return
		}
	}
	if st.write([]byte(": the lines that come\n\n")) != nil {
		return
	}
	// Follow calls from its own goroutine; this one writes alone, so that it can
	// also show that a quiet stream lives.
	ctx, cancel := context.WithCancel(r.Context())
	ready := make(chan []swell.Line)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.opt.Logs.Follow(ctx, since, func(ls []swell.Line) error {
			var chosen []swell.Line
			for _, l := range ls {
				if q.match(l) {
					chosen = append(chosen, l)
				}
			}
			if len(chosen) == 0 {
				return ctx.Err()
			}
			select {
			case ready <- chosen:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	defer func() { cancel(); <-done }()
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case ls := <-ready:
			for len(ls) > 0 {
				n := min(len(ls), 500)
				if send(ls[:n]) != nil {
					return
				}
				ls = ls[n:]
			}
		case <-alive.C:
			if st.write([]byte(": still here\n\n")) != nil {
				return
			}
		}
	}
}
