package cert

import (
	"crypto/rand"
	"crypto/tls"
	"sync"
	"time"
)

// Session tickets are sealed with keys of our own, so that a change of certificates
// or options, which makes a new configuration, does not void them. A key seals for
// ticketFor and opens for as many times that as there are keys.
const (
	ticketFor  = 8 * time.Hour
	ticketKeys = 3
)

// tickets are the keys of session tickets, newest first.
type tickets struct {
	mu   sync.Mutex
	keys [][32]byte
	made time.Time
}

// give sets the keys on configurations, having made a new one if it is time.
func (t *tickets) give(now time.Time, configs ...*tls.Config) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.keys) == 0 || now.Sub(t.made) >= ticketFor {
		var k [32]byte
		_, _ = rand.Read(k[:]) // it never fails: see its documentation
		t.keys = append([][32]byte{k}, t.keys...)
		t.keys = t.keys[:min(len(t.keys), ticketKeys)]
		t.made = now
	}
	for _, c := range configs {
		c.SetSessionTicketKeys(t.keys)
	}
}

// void forgets all keys: no session made before is resumed.
func (t *tickets) void() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = nil
}
