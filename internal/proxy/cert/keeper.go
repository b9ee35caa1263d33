package cert

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/fsnotify/fsnotify"
)

// Options are what a [Keeper] is made of. The zero Options are ready to use.
type Options struct {
	Log *slog.Logger // slog.Default() if nil
	// Poll is how often all files are looked at, in case the system does not tell of a
	// change; 30 s.
	Poll time.Duration
	// Renew is how often certificates of an ACME authority are looked at; 10 min.
	Renew time.Duration
	// Expiry is told when each certificate of the gateway ends, by its first name, when
	// that changes: the whole list. It may be nil.
	Expiry func(map[string]time.Time)
}

// Keeper keeps certificates up to date. Its methods may be called from any
// goroutine, Run once.
type Keeper struct {
	opt    Options
	server *Server
	poke   chan struct{}

	mu      sync.Mutex
	clients []weak.Pointer[Client]
}

// NewKeeper makes a keeper; it starts nothing.
func NewKeeper(opt Options) *Keeper {
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if opt.Poll <= 0 {
		opt.Poll = 30 * time.Second
	}
	if opt.Renew <= 0 {
		opt.Renew = 10 * time.Minute
	}
	k := &Keeper{opt: opt, poke: make(chan struct{}, 1)}
	k.server = newServer(k)
	return k
}

// Server returns the TLS of the gateway's listeners, of which there is one.
func (k *Keeper) Server() *Server { return k.server }

func (k *Keeper) follow(c *Client) {
	k.mu.Lock()
	k.clients = append(k.clients, weak.Make(c))
	k.mu.Unlock()
	k.wake()
}

// wake has Run look at everything.
func (k *Keeper) wake() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

// followed returns the clients that somebody holds still.
func (k *Keeper) followed() []*Client {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []*Client
	held := k.clients[:0]
	for _, w := range k.clients {
		if c := w.Value(); c != nil {
			out = append(out, c)
			held = append(held, w)
		}
	}
	clear(k.clients[len(held):])
	k.clients = held
	return out
}

// settle is how long files are left alone before they are read, as a certificate and
// its key are written one after the other.
const settle = 100 * time.Millisecond

// Run keeps everything up to date until ctx ends, and returns when all that it
// started has ended: nil.
func (k *Keeper) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { k.server.run(ctx) })

	// The system is asked to tell of changes once there is something to watch.
	var w *fsnotify.Watcher
	var events <-chan fsnotify.Event
	var errs <-chan error
	var polls <-chan time.Time
	poll := time.NewTicker(k.opt.Poll)
	defer poll.Stop()
	begin := func() {
		polls = poll.C
		var err error
		if w, err = fsnotify.NewWatcher(); err != nil {
			k.opt.Log.Warn("changes of certificates are noticed late: the system does not tell of them", "every", k.opt.Poll, "error", err)
			return
		}
		events, errs = w.Events, w.Errors
	}
	defer func() {
		if w != nil {
			_ = w.Close()
		}
	}()
	watched := map[string]bool{} // folders
	names := map[string]bool{}
	follow := func() {
		clear(names)
		folders := map[string]bool{}
		add := func(files []string) {
			for _, f := range files {
				names[f] = true
				folders[filepath.Dir(f)] = true
			}
		}
		add(k.server.files())
		for _, c := range k.followed() {
			add(c.files())
		}
		if polls == nil && len(folders) > 0 {
			begin()
		}
		if w == nil {
			return
		}
		for d := range folders {
			if w.Add(d) == nil { // again, as it may be another folder of that name by now
				watched[d] = true
			}
		}
		for d := range watched {
			if !folders[d] {
				_ = w.Remove(d)
				delete(watched, d)
			}
		}
	}
	refresh := func() {
		k.server.refresh()
		for _, c := range k.followed() {
			c.refresh()
		}
	}
	soon := time.NewTimer(time.Hour)
	soon.Stop()
	defer soon.Stop()
	follow()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.poke:
			follow()
			refresh() // what changed since it was read first
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			// A name that begins with two dots is how volumes of secrets are exchanged as a
			// whole: a link to the folder with the files.
			if e.Op == fsnotify.Chmod || !names[e.Name] && !strings.HasPrefix(filepath.Base(e.Name), "..") {
				continue
			}
			soon.Reset(settle)
		case _, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			soon.Reset(settle) // events were lost
		case <-soon.C:
			refresh()
			follow()
		case <-polls:
			refresh()
			follow()
		}
	}
}
