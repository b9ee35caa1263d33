package web

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"
)

const (
	frameEvery = time.Second
	frameLeast = 150 * time.Millisecond // between two frames, however much changes
	frameQueue = 8                      // frames that a client may be behind
)

// frames makes a frame every second, and after changes in between, and hands it
// to all clients as the same bytes. While nobody looks it does nothing.
type frames struct {
	s *Server

	mu      sync.Mutex
	clients map[chan []byte]struct{}
	came    chan struct{} // has a token when a client came
	last    []Decision    // as sent
}

func newFrames(s *Server) *frames {
	return &frames{s: s, clients: map[chan []byte]struct{}{}, came: make(chan struct{}, 1)}
}

// join adds a client. Its channel is closed when it is too slow.
func (f *frames) join() chan []byte {
	c := make(chan []byte, frameQueue)
	f.mu.Lock()
	f.clients[c] = struct{}{}
	f.mu.Unlock()
	select {
	case f.came <- struct{}{}:
	default:
	}
	return c
}

func (f *frames) leave(c chan []byte) {
	f.mu.Lock()
	delete(f.clients, c)
	f.mu.Unlock()
}

func (f *frames) watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.clients) > 0
}

func (f *frames) run(ctx context.Context) {
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		if !f.watched() {
			select {
			case <-ctx.Done():
				return
			case <-f.came:
			}
			tick.Reset(frameEvery)
		}
		var changed <-chan struct{} // nil blocks
		if f.s.opt.Changed != nil {
			changed = f.s.opt.Changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.send(true)
		case <-changed:
			// Gather what changes together, and bound the work.
			rest.Reset(frameLeast)
			select {
			case <-ctx.Done():
				return
			case <-rest.C:
			}
			f.send(false)
		}
	}
}

func (f *frames) send(tick bool) {
	frame := f.s.frame(false)
	if frame.Tick = tick; tick {
		frame.Points = f.s.points(frame.Services)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if reflect.DeepEqual(frame.Decisions, f.last) {
		frame.Decisions = nil
	} else {
		f.last = frame.Decisions
	}
	b, err := json.Marshal(frame)
	if err != nil {
		f.s.log.Error("an event for the dashboard could not be written", "error", err)
		return
	}
	event := sse("frame", "", b)
	for c := range f.clients {
		select {
		case c <- event:
		default:
			delete(f.clients, c)
			close(c)
		}
	}
}

// frame reads everything; the first of a stream has the sparklines.
func (s *Server) frame(first bool) Frame {
	v := s.view()
	f := Frame{
		At: time.Now().UTC(), App: s.app(v), Services: s.serviceList(v), Instances: s.instanceList(v, ""),
		Edges: edgeList(v), Routes: s.shownRoutes(v), Decisions: s.decisionList(v, "", 100),
	}
	if first {
		for i := range f.Services {
			f.Services[i].Spark = s.spark(f.Services[i].Name)
		}
	}
	return f
}

// mostRoutes is how many routes a frame has: it is made every second, and nobody reads
// more. The API's list has all.
const mostRoutes = 500

// shownRoutes are the routes of a frame: all, or of very many those with traffic and
// then the first, in the manifest's order.
func (s *Server) shownRoutes(v view) []Route {
	all := v.App.Gateway.Routes
	if len(all) <= mostRoutes {
		return s.routeList(v)
	}
	out := make([]Route, 0, mostRoutes)
	for _, busy := range []bool{true, false} {
		for _, r := range all {
			if t := v.routes[r.Name]; (t.Rate > 0 || t.Inflight > 0) == busy && len(out) < mostRoutes {
				out = append(out, route(v, r))
			}
		}
	}
	return out
}

func (s *Server) streamFrames(w http.ResponseWriter, r *http.Request) {
	st, err := s.open(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	defer st.close()
	// Join before the first reading, so that no change falls between the two.
	c := s.frames.join()
	defer s.frames.leave(c)
	b, err := json.Marshal(s.frame(true))
	if err != nil || st.write(sse("frame", "", b)) != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case event, ok := <-c:
			if !ok || st.write(event) != nil {
				return // the client comes again by itself
			}
		}
	}
}

// stream is one client's open event stream.
type stream struct {
	s  *Server
	w  http.ResponseWriter
	rc *http.ResponseController
}

// open begins an event stream, if there are not too many.
func (s *Server) open(w http.ResponseWriter, _ *http.Request) (*stream, error) {
	select {
	case s.streams <- struct{}{}:
	default:
		return nil, &Error{Status: http.StatusServiceUnavailable, Message: "too many event streams are open (" + strconv.Itoa(cap(s.streams)) + "): close a page, or ask again later"}
	}
	st := &stream{s: s, w: w, rc: http.NewResponseController(w)}
	st.rc.SetReadDeadline(time.Time{}) // the server's is for requests; this one has ended
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	return st, nil
}

func (st *stream) close() { <-st.s.streams }

// write sends bytes, and fails if the client does not take them in time.
func (st *stream) write(b []byte) error {
	st.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := st.w.Write(b); err != nil {
		return err
	}
	return st.rc.Flush()
}

// sse is one event of the format text/event-stream; data has no line break.
func sse(name, id string, data []byte) []byte {
	var b bytes.Buffer
	b.WriteString("event: " + name + "\n")
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("data: ")
	b.Write(data)
	b.WriteString("\n\n")
	return b.Bytes()
}
