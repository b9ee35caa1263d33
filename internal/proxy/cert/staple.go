package cert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Bounds of asking OCSP responders (RFC 6960).
const (
	ocspTime     = 10 * time.Second // for an answer
	ocspAtOnce   = 4                // questions
	ocspMost     = 64 << 10         // bytes of an answer
	ocspAgain    = time.Minute      // after a failure, doubled each time
	ocspLongest  = time.Hour        // of that
	ocspSoonest  = time.Minute      // between two questions about a certificate
	ocspUnending = 24 * time.Hour   // between them if an answer has no end
)

// staples are the OCSP responses that go with certificates.
type staples struct {
	client *http.Client
	poke   chan struct{}

	mu sync.Mutex
	of map[fingerprint]*staple
}

// staple is what is known of one certificate.
type staple struct {
	raw   []byte    // nil: none that could be shown
	until time.Time // when raw is of no use any more; zero is never
	next  time.Time // when to ask
	wait  time.Duration
	using *tls.Certificate // the certificate with raw
}

func (s *staples) init() {
	s.of, s.poke = map[fingerprint]*staple{}, make(chan struct{}, 1)
	s.client = &http.Client{Timeout: ocspTime}
}

func (s *staples) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// with returns the certificate with its staple, or as it is.
func (s *staples) with(c *tls.Certificate) *tls.Certificate {
	if len(c.Leaf.OCSPServer) == 0 {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.of[fingerprintOf(c)]
	if at == nil || at.raw == nil {
		return c
	}
	if at.using == nil || at.using.PrivateKey != c.PrivateKey {
		with := *c
		with.OCSPStaple = at.raw
		at.using = &with
	}
	return at.using
}

// staple asks for OCSP responses until ctx ends: for a new certificate at once,
// then at half of the time that an answer holds (as RFC 6066 leaves to the server).
func (s *Server) staple(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.staples.poke:
		case <-t.C:
		}
		changed, next := s.ask(ctx)
		if changed {
			s.mu.Lock()
			s.publish()
			s.mu.Unlock()
		}
		t.Reset(max(time.Second, time.Until(next)))
	}
}

// ask asks about all certificates of which it is time, and says when to ask again.
func (s *Server) ask(ctx context.Context) (changed bool, next time.Time) {
	st := &s.staples
	now := time.Now()
	next = now.Add(time.Hour)
	current := map[fingerprint]bool{}
	var wg sync.WaitGroup
	slots := make(chan struct{}, ocspAtOnce)
	var mu sync.Mutex // guards changed
	for _, c := range s.table.Load().all {
		if len(c.Leaf.OCSPServer) == 0 {
			continue
		}
		f := fingerprintOf(c)
		if current[f] {
			continue
		}
		current[f] = true
		st.mu.Lock()
		at := st.of[f]
		if at == nil {
			at = &staple{}
			st.of[f] = at
		}
		due := !at.next.After(now)
		st.mu.Unlock()
		if !due {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if s.askOne(ctx, c, at) {
				mu.Lock()
				changed = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	st.mu.Lock()
	defer st.mu.Unlock()
	for f, at := range st.of {
		if !current[f] {
			delete(st.of, f)
			continue
		}
		if at.next.Before(next) {
			next = at.next
		}
	}
	return changed, next
}

// askOne asks about one certificate; true if its staple is another one now.
func (s *Server) askOne(ctx context.Context, c *tls.Certificate, at *staple) bool {
	raw, r, err := s.staples.fetch(ctx, c)
	if ctx.Err() != nil {
		return false
	}
	now := time.Now()
	log := s.keeper.opt.Log.With("name", title(c.Leaf), "responder", c.Leaf.OCSPServer[0])
	s.staples.mu.Lock()
	defer s.staples.mu.Unlock()
	if err == nil && r.Status != ocsp.Good {
		at.raw, at.using = nil, nil
		at.wait = ocspLongest
		at.next = now.Add(at.wait)
		log.Error("the OCSP responder does not vouch for a certificate: nothing is stapled", "revoked", r.Status == ocsp.Revoked)
		return true
	}
	if err != nil {
		at.wait = min(max(ocspAgain, 2*at.wait), ocspLongest)
		at.next = now.Add(at.wait)
		expired := at.raw != nil && !at.until.IsZero() && now.After(at.until)
		log.Warn("no OCSP response", "error", err, "again", at.wait, "must-staple", mustStaple(c.Leaf), "stapled", at.raw != nil && !expired)
		if expired {
			at.raw, at.using = nil, nil
		}
		return expired
	}
	at.raw, at.using, at.until, at.wait = raw, nil, r.NextUpdate, 0
	at.next = now.Add(ocspUnending)
	if !r.NextUpdate.IsZero() {
		at.next = now.Add(max(ocspSoonest, r.NextUpdate.Sub(now)/2))
	}
	return true
}

// fetch asks the responder of a certificate, and checks the answer.
func (s *staples) fetch(ctx context.Context, c *tls.Certificate) ([]byte, *ocsp.Response, error) {
	if len(c.Certificate) < 2 {
		return nil, nil, errors.New("the file of the certificate lacks its issuer's, with which responses are checked")
	}
	issuer, err := x509.ParseCertificate(c.Certificate[1])
	if err != nil {
		return nil, nil, fmt.Errorf("issuer's certificate: %w", err)
	}
	ask, err := ocsp.CreateRequest(c.Leaf, issuer, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("question: %w", err)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Leaf.OCSPServer[0], bytes.NewReader(ask))
	if err != nil {
		return nil, nil, fmt.Errorf("question: %w", err)
	}
	q.Header.Set("Content-Type", "application/ocsp-request")
	q.Header.Set("Accept", "application/ocsp-response")
	a, err := s.client.Do(q)
	if err != nil {
		return nil, nil, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the responder answered %s", a.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(a.Body, ocspMost+1))
	if err != nil {
		return nil, nil, fmt.Errorf("answer: %w", err)
	}
	if len(raw) > ocspMost {
		return nil, nil, fmt.Errorf("the answer has more than %d bytes", ocspMost)
	}
	r, err := ocsp.ParseResponseForCert(raw, c.Leaf, issuer)
	if err != nil {
		return nil, nil, fmt.Errorf("answer: %w", err)
	}
	now := time.Now()
	if !r.NextUpdate.IsZero() && now.After(r.NextUpdate) || r.ThisUpdate.After(now.Add(time.Hour)) {
		return nil, nil, fmt.Errorf("the answer holds from %s to %s, which is not now", r.ThisUpdate, r.NextUpdate)
	}
	return raw, r, nil
}
