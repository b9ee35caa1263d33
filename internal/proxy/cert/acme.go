package cert

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"swell"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// acmeALPN is the protocol by which an authority checks a host over TLS (RFC 8737).
const acmeALPN = "acme-tls/1"

// collectEvery is how often certificates that were renewed are looked for. A third
// of their life is left then.
const collectEvery = 5 * time.Second

// authority has certificates issued by ACME (RFC 8555), and renewed when a third of
// their life is left. CertMagic keeps account, orders, retries and storage, which
// several processes may share; the gateway's listeners answer its challenges.
type authority struct {
	server *Server
	spec   swell.ACME
	ports  ports
	log    *zap.Logger

	mu     sync.Mutex // guards these, which are nil while it does not run
	magic  *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

func newAuthority(s *Server, spec swell.ACME, p ports) *authority {
	return &authority{server: s, spec: spec, ports: p, log: zap.New(zapCore{s.keeper.opt.Log.Handler()})}
}

// run gets the certificates and renews them until ctx ends.
func (a *authority) run(ctx context.Context) {
	log := a.server.keeper.opt.Log
	template := certmagic.ACMEIssuer{
		CA: a.spec.Directory, Email: a.spec.Email, Agreed: true, Logger: a.log,
		DisableHTTPChallenge: a.ports.clear == "",
	}
	if a.spec.CA != "" {
		pool, _, err := roots(a.spec.CA)
		if err != nil {
			log.Error("no certificates by ACME", "error", err)
			return
		}
		template.TrustedRoots = pool
	}
	host, clear := split(a.ports.clear)
	other, secure := split(a.ports.secure)
	if host == other || a.ports.clear == "" {
		template.ListenHost = other
	}
	// CertMagic opens no listener where there is one.
	template.AltHTTPPort, template.AltTLSALPNPort = clear, secure

	var magic *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return magic, nil },
		RenewCheckInterval: a.server.keeper.opt.Renew,
		OCSPCheckInterval:  24 * time.Hour, // it is our own matter
		Logger:             a.log,
	})
	defer cache.Stop()
	got := make(chan struct{}, 1)
	magic = certmagic.New(cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: a.spec.Storage}, Logger: a.log,
		OCSP: certmagic.OCSPConfig{DisableStapling: true},
		OnEvent: func(_ context.Context, event string, data map[string]any) error {
			switch event {
			case "cert_obtained":
				log.Info("a certificate was issued", "name", data["identifier"], "renewal", data["renewal"])
			case "cert_failed":
				log.Warn("a certificate was not issued", "name", data["identifier"], "renewal", data["renewal"], "error", data["error"])
			}
			select {
			case got <- struct{}{}:
			default:
			}
			return nil
		},
	})
	issuer := certmagic.NewACMEIssuer(magic, template)
	magic.Issuers = []certmagic.Issuer{issuer}
	a.mu.Lock()
	a.magic, a.issuer = magic, issuer
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.magic, a.issuer = nil, nil
		a.mu.Unlock()
	}()

	var wg sync.WaitGroup
	defer wg.Wait()
	for _, h := range a.spec.Hosts { // CertMagic bounds how many orders there are at a time
		wg.Go(func() {
			if err := manage(ctx, magic, h); err != nil && ctx.Err() == nil {
				log.Error("a certificate is not managed", "name", h, "error", err)
			}
			select {
			case got <- struct{}{}:
			default:
			}
		})
	}
	t := time.NewTicker(min(collectEvery, a.server.keeper.opt.Renew))
	defer t.Stop()
	for {
		a.collect(cache)
		select {
		case <-ctx.Done():
			return
		case <-got:
		case <-t.C:
		}
	}
}

// manage brings the certificate for a host into the cache, which renews it from
// then on: from storage, or else from the authority, again and again until it gives
// one or ctx ends.
func manage(ctx context.Context, magic *certmagic.Config, host string) error {
	c, err := magic.CacheManagedCertificate(ctx, host)
	switch {
	case err != nil: // there is none, or it can't be used
		err = magic.ObtainCertAsync(ctx, host)
	case c.NeedsRenewal(magic):
		err = magic.RenewCertAsync(ctx, host, false)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	_, err = magic.CacheManagedCertificate(ctx, host)
	return err
}

// collect brings what the cache has into use.
func (a *authority) collect(cache *certmagic.Cache) {
	var all []*tls.Certificate
	seen := map[fingerprint]bool{}
	for _, h := range a.spec.Hosts {
		var best *tls.Certificate
		for _, c := range cache.AllMatchingCertificates(h) {
			if c.Leaf != nil && (best == nil || c.Leaf.NotAfter.After(best.Leaf.NotAfter)) {
				best = &c.Certificate
			}
		}
		if best != nil && !seen[fingerprintOf(best)] {
			seen[fingerprintOf(best)] = true
			all = append(all, best)
		}
	}
	s := a.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acme != a {
		return
	}
	same := len(all) == len(s.managed)
	for i := range all {
		same = same && fingerprintOf(all[i]) == fingerprintOf(s.managed[i])
	}
	if !same {
		s.managed = all
		s.publish()
	}
}

// challenge is the certificate for an authority's check over TLS.
func (a *authority) challenge(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	magic := a.magic
	a.mu.Unlock()
	if magic == nil {
		return nil, ErrNone
	}
	return magic.GetCertificate(h)
}

// answer is the text for an authority's check in the clear.
func (a *authority) answer(ctx context.Context, host, path string) (string, bool) {
	a.mu.Lock()
	issuer := a.issuer
	a.mu.Unlock()
	if issuer == nil {
		return "", false
	}
	q := &http.Request{Method: http.MethodGet, Host: host, URL: &url.URL{Path: path}, Header: http.Header{}}
	var w written
	if !issuer.HandleHTTPChallenge(&w, q.WithContext(ctx)) {
		return "", false
	}
	return string(w.body), true
}

// written keeps what is written to it.
type written struct {
	header http.Header
	body   []byte
}

func (w *written) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}
func (w *written) Write(b []byte) (int, error) { w.body = append(w.body, b...); return len(b), nil }
func (w *written) WriteHeader(int)             {}

func split(addr string) (host string, port int) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0
	}
	port, _ = strconv.Atoi(p)
	return host, port
}
