//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// largeBody is how much /large answers.
const largeBody = 1 << 20

// grpcPath is the method of the gRPC origin, and grpcMessage what is sent and
// answered: 55 bytes with their prefix of five.
const grpcPath = "/bench.Echo/Unary"

var grpcMessage = append([]byte{0, 0, 0, 0, byte(len(originBody))}, originBody...)

// serverMain is the origin for large bodies, over HTTP/1.1, and for gRPC, over
// HTTP/2 by prior knowledge. Its argument is where it listens.
func serverMain(args []string) error {
	large := bytes.Repeat([]byte("swell up\n"), largeBody/9+1)[:largeBody]
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, originBody) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(large)))
		_, _ = w.Write(large)
	})
	mux.HandleFunc(grpcPath, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(grpcMessage)
		w.Header().Set("Grpc-Status", "0")
	})
	s := &http.Server{Addr: args[0], Handler: mux, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s.ListenAndServe()
}

// handshakesMain makes TLS connections one after the other, several at a time, each
// for one request, and writes how many there were. Its arguments are host:port, how
// many at a time, and how long.
func handshakesMain(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("it takes an address, a number and a duration, and got %q", args)
	}
	workers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	length, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var done, bad atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			d := tls.Dialer{Config: &tls.Config{
				InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, // the proxies' certificate is the benchmark's own
				MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
			}}
			buf := make([]byte, 4096)
			for ctx.Err() == nil {
				if err := once(&d, args[0], buf); err != nil {
					bad.Add(1)
				} else {
					done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	_, err = fmt.Println(done.Load(), bad.Load())
	return err
}

func once(d *tls.Dialer, addr string, buf []byte) error {
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	n, err := io.ReadAtLeast(c, buf, 12)
	if err == nil && !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200")) {
		err = errors.New("not 200")
	}
	return err
}

// idleMain opens connections, makes one request on each, says so by a line, and
// keeps them until its input ends. Its arguments are host:port and how many.
func idleMain(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("it takes an address and a number, and got %q", args)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	conns := make([]net.Conn, n)
	buf := make([]byte, 4096)
	for i := range conns {
		c, err := net.Dial("tcp", args[0])
		if err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
		for got := 0; !bytes.Contains(buf[:got], []byte(originBody)); {
			k, err := c.Read(buf[got:])
			if got += k; err != nil {
				return fmt.Errorf("connection %d: %w", i+1, err)
			}
		}
		conns[i] = c
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range conns {
		_ = c.Close()
	}
	return nil
}

// writeCertificate makes a self-signed P-256 certificate for localhost in dir:
// bench.crt, bench.key, and bench.pem with both.
func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	for name, b := range map[string][]byte{"bench.crt": cert, "bench.key": secret, "bench.pem": append(cert, secret...)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
