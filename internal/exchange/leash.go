package exchange

import (
	"sync"
	"sync/atomic"
)

// Cutter is something under way for a client that can be cut short. Cut returns
// at once, is called at most once, and calls nothing back.
type Cutter interface{ Cut() }

// Leash ties what is done for a client to the client: when it leaves, what is held
// is cut. The zero Leash is ready to use. The codec by which the client came owns
// it; its methods may be called from any goroutine.
type Leash struct {
	gone atomic.Bool
	mu   sync.Mutex
	held Cutter
}

// Hold makes c what is cut when the client leaves, until Release. It returns
// false, and holds nothing, if the client has left.
func (l *Leash) Hold(c Cutter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone.Load() {
		return false
	}
	l.held = c
	return true
}

// Release ends Hold: after it, Cut is not called any more.
func (l *Leash) Release() {
	l.mu.Lock()
	l.held = nil
	l.mu.Unlock()
}

// Held reports whether something is held.
func (l *Leash) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held != nil
}

// Leave notes that the client is gone, and cuts what is held.
func (l *Leash) Leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone.Store(true)
	if c := l.held; c != nil {
		l.held = nil
		c.Cut()
	}
}

// Gone reports whether the client has left.
func (l *Leash) Gone() bool { return l.gone.Load() }

// Reset readies the leash for another client.
func (l *Leash) Reset() {
	l.mu.Lock()
	l.held = nil
	l.gone.Store(false)
	l.mu.Unlock()
}

// Codec is the server's side that an exchange came by, as the one that carries its
// request to an upstream sees it.
type Codec interface {
	// Interrupt makes a Next of the request's body that waits for the network, in
	// another goroutine, return with an error; Resume allows it to be read on
	// afterwards, from where it was. Nobody reads it between the two but that one.
	Interrupt()
	Resume()
}
