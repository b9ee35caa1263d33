package h1

import (
	"net/netip"
	"sync"
)

// crowd counts the connections of each client address.
type crowd struct {
	mu sync.Mutex
	by map[netip.Addr]int
}

// whose returns what of an address belongs to one client: all of an IPv4 address, of
// an IPv6 one the network, as whoever has one has 2^64.
func whose(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// enter counts one more of a client's connections; false, without counting it, if
// it has most.
func (w *crowd) enter(client netip.Addr, most int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by[client] >= most {
		return false
	}
	if w.by == nil {
		w.by = map[netip.Addr]int{}
	}
	w.by[client]++
	return true
}

// leave takes one off.
func (w *crowd) leave(client netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by[client]--; w.by[client] == 0 {
		delete(w.by, client)
	}
}
