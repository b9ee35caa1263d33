package cert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"swell"
)

// Client is the TLS of connections to a service. Its files are reread when they
// change; connections keep what they began with. Its methods may be called from
// any goroutine.
type Client struct {
	spec   swell.UpstreamTLS
	protos []string
	keeper *Keeper

	now atomic.Pointer[tls.Config]

	mu     sync.Mutex // of rereading
	ca     []byte
	own    *pair
	failed string // the last complaint, so that it is made once
}

// Client makes the client side of TLS as u says, with ALPN for protos, of which the
// server must agree to one if it is "h2". The keeper follows its files as long as
// somebody holds it.
func (k *Keeper) Client(u swell.UpstreamTLS, protos ...string) (*Client, error) {
	c := &Client{spec: u, protos: protos, keeper: k}
	if _, err := c.reread(); err != nil {
		return nil, err
	}
	k.follow(c)
	return c, nil
}

func (c *Client) files() []string {
	var out []string
	for _, f := range []string{c.spec.CA, c.spec.Cert.Cert, c.spec.Cert.Key} {
		if f != "" {
			out = append(out, f)
		}
	}
	return out
}

// reread takes the files into use; false if they are as before.
func (c *Client) reread() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own, ca := c.own, c.ca
	var pool *x509.CertPool
	var err error
	if c.spec.Cert != (swell.Certificate{}) {
		if own, err = load(c.spec.Cert, c.own); err != nil {
			return false, err
		}
	}
	if c.spec.CA != "" {
		if pool, ca, err = roots(c.spec.CA); err != nil {
			return false, err
		}
	}
	if c.now.Load() != nil && own == c.own && bytes.Equal(ca, c.ca) {
		return false, nil
	}
	t := &tls.Config{
		MinVersion: tls.VersionTLS12, CipherSuites: ciphers, CurvePreferences: curves,
		RootCAs: pool, ServerName: c.spec.Name, InsecureSkipVerify: c.spec.Insecure,
		NextProtos: c.protos,
		// A session is resumed only with what was trusted when it was made: another
		// configuration begins without any.
		ClientSessionCache: tls.NewLRUClientSessionCache(256),
	}
	if own != nil {
		t.Certificates = []tls.Certificate{*own.tls}
	}
	c.own, c.ca = own, ca
	c.now.Store(t)
	return true, nil
}

func (c *Client) refresh() {
	changed, err := c.reread()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.failed = ""
		if changed {
			c.keeper.opt.Log.Info("the certificates for a service changed", "files", c.files())
		}
	case err.Error() != c.failed:
		c.failed = err.Error()
		c.keeper.opt.Log.Warn("changed certificates for a service can't be used; the ones before stay", "error", err)
	}
}

// errALPN is why a connection is of no use.
var errALPN = errors.New("it does not speak HTTP/2: ALPN did not agree on h2")

// Handshake makes TLS of a connection to addr, whose host must be in the
// certificate unless another name was given. ctx bounds it. The connection is
// closed on an error.
func (c *Client) Handshake(ctx context.Context, nc net.Conn, addr string) (net.Conn, error) {
	t := c.now.Load()
	if t.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		t = t.Clone()
		t.ServerName = host
	}
	tc := tls.Client(nc, t)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("TLS with %s: %w", t.ServerName, err)
	}
	if slices.Contains(c.protos, "h2") && tc.ConnectionState().NegotiatedProtocol != "h2" {
		_ = nc.Close()
		return nil, fmt.Errorf("TLS with %s: %w", t.ServerName, errALPN)
	}
	return tc, nil
}
