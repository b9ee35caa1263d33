package cert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"swell"
)

// What is spoken over TLS: of TLS 1.2 only ECDHE with authenticated encryption (RFC
// 9325, 4.2; RFC 9113, 9.2.2 wants no other); the suites of TLS 1.3 are all good.
var (
	ciphers = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	curves = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}
)

// Server is the TLS of a gateway's listeners.
type Server struct {
	keeper  *Keeper
	table   atomic.Pointer[table]
	configs atomic.Pointer[configs]
	quic    *tls.Config
	tickets tickets
	staples staples
	changed chan struct{} // what the authority is to do is another

	mu      sync.Mutex // guards what follows
	spec    swell.TLS
	ports   ports
	pairs   []*pair
	ca      []byte
	pool    *x509.CertPool
	managed []*tls.Certificate // the authority's
	acme    *authority
	failed  map[string]string // the last complaint about a file, so that it is made once
	warned  map[fingerprint]time.Time
	expiry  map[string]time.Time
}

// configs are the configurations in force.
type configs struct{ tcp, quic *tls.Config }

// ports are where the gateway listens: in the clear ("" is not at all), and for TLS.
type ports struct{ clear, secure string }

func newServer(k *Keeper) *Server {
	s := &Server{
		keeper: k, changed: make(chan struct{}, 1),
		failed: map[string]string{}, warned: map[fingerprint]time.Time{},
	}
	s.staples.init()
	s.table.Store(newTable(nil))
	s.quic = &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h3"}, GetCertificate: s.choose,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if c := s.configs.Load(); c != nil {
				return c.quic, nil
			}
			return nil, ErrNone
		},
	}
	return s
}

// Config returns the configuration for the next handshake over TCP, with ALPN for
// HTTP/2 and HTTP/1.1; nil before [Server.Use]. Nobody changes it. It stays the same
// when certificates change, and session tickets outlive it.
func (s *Server) Config() *tls.Config {
	if c := s.configs.Load(); c != nil {
		return c.tcp
	}
	return nil
}

// QUIC returns the configuration for a listener of HTTP/3. It follows all changes.
func (s *Server) QUIC() *tls.Config { return s.quic }

func (s *Server) choose(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.table.Load().choose(h)
}

// Prepared is what [Server.Prepare] has read.
type Prepared struct {
	spec  swell.TLS
	ports ports
	pairs []*pair
	ca    []byte
	pool  *x509.CertPool
}

// Prepare reads what the gateway's TLS needs, and changes nothing. clear is where
// the gateway listens in the clear, "" if it does not.
func (s *Server) Prepare(t *swell.TLS, clear string) (*Prepared, error) {
	p := &Prepared{spec: *t, ports: ports{clear, t.Listen}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(t.Certificates) == 0 && t.ACME == nil {
		return nil, errors.New("TLS needs a certificate: from files, or by ACME")
	}
	switch t.Minimum {
	case "", "1.2", "1.3":
	default:
		return nil, fmt.Errorf("the minimum version of TLS is %q; it can be 1.2 or 1.3", t.Minimum)
	}
	for _, c := range t.Certificates {
		l, err := load(c, s.loaded(c))
		if err != nil {
			// A file that broke since it was read, in a snapshot that brings something else:
			// what is in memory is good.
			if l = s.loaded(c); l == nil {
				return nil, err
			}
			s.complain(c.Cert, err)
		}
		p.pairs = append(p.pairs, l)
	}
	if t.Clients != nil {
		var err error
		if p.pool, p.ca, err = roots(t.Clients.CA); err != nil {
			if s.spec.Clients == nil || s.spec.Clients.CA != t.Clients.CA {
				return nil, err
			}
			p.pool, p.ca = s.pool, s.ca
			s.complain(t.Clients.CA, err)
		}
	}
	return p, nil
}

func (s *Server) loaded(c swell.Certificate) *pair {
	for _, p := range s.pairs {
		if p.Certificate == c {
			return p
		}
	}
	return nil
}

// Use takes what was prepared into use; nil ends the use of any.
func (s *Server) Use(p *Prepared) {
	if p == nil {
		p = &Prepared{}
	}
	s.mu.Lock()
	again := s.acme == nil != (p.spec.ACME == nil) || p.ports != s.ports || !reflect.DeepEqual(p.spec.ACME, s.spec.ACME)
	s.pairs, s.ports = p.pairs, p.ports
	s.setOptions(p.spec, p.pool, p.ca)
	if again {
		s.acme, s.managed = nil, nil
		if p.spec.ACME != nil {
			s.acme = newAuthority(s, *p.spec.ACME, p.ports)
		}
	}
	s.publish()
	s.mu.Unlock()
	if again {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	s.keeper.wake()
}

// setOptions makes the configurations anew, if something of them is another. s.mu
// is held.
func (s *Server) setOptions(spec swell.TLS, pool *x509.CertPool, ca []byte) {
	old := s.spec
	clients := reflect.DeepEqual(old.Clients, spec.Clients) && bytes.Equal(s.ca, ca)
	same := clients && old.Minimum == spec.Minimum && (old.ACME == nil) == (spec.ACME == nil)
	s.spec = spec
	if len(spec.Certificates) == 0 && spec.ACME == nil {
		s.configs.Store(nil)
		return
	}
	if same && s.configs.Load() != nil {
		return
	}
	if !clients {
		s.tickets.void() // who was let in by other rules comes again
	}
	s.pool, s.ca = pool, ca
	c := &tls.Config{
		GetCertificate: s.choose, MinVersion: tls.VersionTLS12, CipherSuites: ciphers, CurvePreferences: curves,
		NextProtos: []string{"h2", "http/1.1"},
	}
	if spec.Minimum == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	if spec.Clients != nil {
		c.ClientCAs, c.ClientAuth = pool, tls.VerifyClientCertIfGiven
		if spec.Clients.Required {
			c.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	q := c.Clone()
	q.MinVersion, q.NextProtos = tls.VersionTLS13, []string{"h3"}
	if spec.ACME != nil {
		c.GetConfigForClient = s.challenge
	}
	s.tickets.give(time.Now(), c, q)
	s.configs.Store(&configs{c, q})
}

// publish makes the table of the certificates that there are, each with its staple.
// s.mu is held.
func (s *Server) publish() {
	var all []*tls.Certificate
	for _, p := range s.pairs {
		all = append(all, s.staples.with(p.tls))
	}
	for _, c := range s.managed {
		all = append(all, s.staples.with(c))
	}
	s.table.Store(newTable(all))
	s.staples.wake()
	expiry := map[string]time.Time{}
	for _, c := range all {
		name := title(c.Leaf)
		if t, ok := expiry[name]; !ok || c.Leaf.NotAfter.Before(t) {
			expiry[name] = c.Leaf.NotAfter
		}
	}
	if !maps.Equal(expiry, s.expiry) {
		s.expiry = expiry
		if s.keeper.opt.Expiry != nil {
			s.keeper.opt.Expiry(expiry)
		}
	}
	s.warn(all)
}

// warn speaks of certificates that end soon, once a day. s.mu is held.
func (s *Server) warn(all []*tls.Certificate) {
	now := time.Now()
	for _, c := range all {
		left, f := c.Leaf.NotAfter.Sub(now), fingerprintOf(c)
		if left > near(c.Leaf) || now.Sub(s.warned[f]) < 24*time.Hour {
			continue
		}
		if s.warned[f] = now; left <= 0 {
			s.keeper.opt.Log.Error("a certificate has expired", "name", title(c.Leaf), "at", c.Leaf.NotAfter)
		} else {
			s.keeper.opt.Log.Warn("a certificate expires soon", "name", title(c.Leaf), "at", c.Leaf.NotAfter)
		}
	}
	for f, t := range s.warned {
		if now.Sub(t) > 48*time.Hour {
			delete(s.warned, f)
		}
	}
}

func (s *Server) files() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, p := range s.pairs {
		out = append(out, p.Cert, p.Key)
	}
	if s.spec.Clients != nil {
		out = append(out, s.spec.Clients.CA)
	}
	return out
}

// complain logs what is wrong with a file, once. s.mu is held.
func (s *Server) complain(file string, err error) {
	if s.failed[file] != err.Error() {
		s.failed[file] = err.Error()
		s.keeper.opt.Log.Warn("a changed certificate can't be used; the one before stays", "error", err)
	}
}

// refresh rereads the files. One that can't be used changes nothing.
func (s *Server) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for i, old := range s.pairs {
		p, err := load(old.Certificate, old)
		if err != nil {
			s.complain(old.Cert, err)
			continue
		}
		delete(s.failed, old.Cert)
		if p != old {
			s.keeper.opt.Log.Info("a certificate changed", "name", title(p.tls.Leaf), "file", p.Cert, "until", p.tls.Leaf.NotAfter)
			s.pairs[i] = p
			changed = true
		}
	}
	if c := s.spec.Clients; c != nil {
		pool, ca, err := roots(c.CA)
		if err != nil {
			s.complain(c.CA, err)
		} else {
			delete(s.failed, c.CA)
			if !bytes.Equal(ca, s.ca) {
				s.keeper.opt.Log.Info("the authorities of clients' certificates changed", "file", c.CA)
				s.setOptions(s.spec, pool, ca)
			}
		}
	}
	if changed {
		s.publish()
	}
}

// run rotates the keys of tickets, has certificates stapled, and runs the authority.
func (s *Server) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.staple(ctx) })
	hour := time.NewTicker(time.Hour)
	defer hour.Stop()
	stop := func() {}
	defer func() { stop() }()
	var running *authority
	for {
		s.mu.Lock()
		a := s.acme
		s.mu.Unlock()
		if a != running {
			stop()
			running = a
			if a != nil {
				actx, cancel := context.WithCancel(ctx)
				wg.Go(func() { a.run(actx) })
				stop = cancel
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		case now := <-hour.C:
			if c := s.configs.Load(); c != nil {
				s.tickets.give(now, c.tcp, c.quic)
			}
			s.mu.Lock()
			s.warn(s.table.Load().all)
			s.mu.Unlock()
		}
	}
}

// challenge gives a connection by which an authority checks a host (tls-alpn-01,
// RFC 8737) a configuration of its own.
func (s *Server) challenge(h *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(h.SupportedProtos) != 1 || h.SupportedProtos[0] != acmeALPN {
		return nil, nil
	}
	s.mu.Lock()
	a := s.acme
	s.mu.Unlock()
	if a == nil {
		return nil, ErrNone
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acmeALPN}, GetCertificate: a.challenge, SessionTicketsDisabled: true}, nil
}

// Challenge answers an authority's request in the clear for a path under
// /.well-known/acme-challenge/ (http-01, RFC 8555, 8.3); false if it is not one that
// is expected.
func (s *Server) Challenge(ctx context.Context, host, path string) (string, bool) {
	s.mu.Lock()
	a := s.acme
	s.mu.Unlock()
	if a == nil {
		return "", false
	}
	return a.answer(ctx, host, path)
}
