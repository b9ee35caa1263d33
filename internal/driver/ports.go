package driver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"sync"
)

// The ports that instances get: below those that systems give to outgoing
// connections, so that none of these takes one between its choice and its use.
const (
	lowPort  = 20000
	highPort = 32000
)

// recent is how many ports that were given back are not given out again soon.
const recent = 256

// ports gives out TCP ports of this machine, each to one instance at a time.
type ports struct {
	mu   sync.Mutex
	held map[int]string // by instance
	past []int          // given back, the oldest first
}

// take returns a port for the instance: the fixed one if that isn't 0, else one
// that is free on this machine and was not used lately.
func (p *ports) take(id string, fixed int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = map[int]string{}
	}
	if fixed != 0 {
		if by, ok := p.held[fixed]; ok {
			return 0, &PortHeld{Port: fixed, By: by}
		}
		if err := free(fixed); err != nil {
			return 0, fmt.Errorf("port %d is fixed and taken by a program that is not of Swell: %w", fixed, err)
		}
		p.held[fixed] = id
		return fixed, nil
	}
	for range 1000 {
		n := lowPort + rand.IntN(highPort-lowPort)
		if p.held[n] != "" || p.used(n) || free(n) != nil {
			continue
		}
		p.held[n] = id
		return n, nil
	}
	return 0, errors.New("no free port was found on 127.0.0.1")
}

func (p *ports) used(n int) bool {
	for _, q := range p.past {
		if q == n {
			return true
		}
	}
	return false
}

// give gives a port back.
func (p *ports) give(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, n)
	p.past = append(p.past, n)
	if len(p.past) > recent {
		p.past = p.past[1:]
	}
}

// free reports whether a program could listen on the port. On Linux a listener on
// any address would be in the way of one on all, which most programs ask for.
func free(port int) error {
	hosts := []string{"127.0.0.1"}
	if runtime.GOOS == "linux" {
		hosts = append(hosts, "")
	}
	for _, h := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(h, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// hold notes a port that an instance has already.
func (p *ports) hold(id string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = map[int]string{}
	}
	p.held[n] = id
}
