package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"swell"

	"golang.org/x/net/dns/dnsmessage"
)

// pebble runs a real ACME server, which checks hosts at the given ports of this
// machine, and whose certificates hold for a time.
func pebble(t *testing.T, a *authority, clear, secure string, valid time.Duration) (directory string, roots *x509.CertPool) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "pebble")
	build := exec.Command("go", "build", "-modfile=tools/go.mod", "-o", bin, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("build Pebble: %v\n%s", err, out)
		}
		t.Skipf("Pebble can't be built here: %v\n%s", err, out)
	}
	port := func(addr string) int {
		_, p, _ := net.SplitHostPort(addr)
		n, _ := strconv.Atoi(p)
		return n
	}
	own := a.issue("pebble", "pebble.test")
	listen, manage := freeAddr(t), freeAddr(t)
	profile := map[string]any{"description": "test", "validityPeriod": int(valid / time.Second)}
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage, "certificate": own.Cert, "privateKey": own.Key,
		"httpPort": port(clear), "tlsPort": port(secure), "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]int{"authz": 1, "order": 1}, "profiles": map[string]any{"default": profile},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(a.dir, "pebble.json")
	a.put(file, conf)
	cmd := exec.Command(bin, "-config", file, "-dnsserver", names(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	out, err := os.Create(filepath.Join(a.dir, "pebble.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = out.Close()
		if t.Failed() {
			b, _ := os.ReadFile(out.Name())
			t.Logf("Pebble:\n%s", b)
		}
	})
	c := a.client(true)
	var root []byte
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		r, err := c.Get("https://" + manage + "/roots/0")
		if err == nil {
			root, err = io.ReadAll(r.Body)
			r.Body.Close()
		}
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("Pebble does not start: ", err)
		}
	}
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root) {
		t.Fatalf("Pebble's root: %q", root)
	}
	return "https://" + listen + "/dir", roots
}

// names runs a DNS server, over TCP, by which every name is this machine.
func names(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				for tell(c) == nil {
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func tell(c net.Conn) error {
	var n [2]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return err
	}
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		return err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	}
	out, err := m.Pack()
	if err == nil {
		_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
	}
	return err
}

// TestACME gets certificates from a real ACME server: by a check over TLS where there
// is no listener in the clear, and by one in the clear where the other can't succeed,
// though requests in the clear are redirected and clients need certificates.
func TestACME(t *testing.T) {
	for name, inTheClear := range map[string]bool{"tls-alpn-01": false, "http-01": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			b := newBed(t, func(o *Options) { o.Certs.Renew, o.Log = time.Second, slog.New(slog.NewTextHandler(t.Output(), nil)) })
			u := newUpstream(t, echo)
			hosts := []string{"one." + name + ".test", "two." + name + ".test"} // CertMagic's challenges are the process's
			listen, checked := freeAddr(t), ""
			if !inTheClear {
				checked = listen
			} else {
				checked = freeAddr(t) // nobody is there
			}
			directory, roots := pebble(t, a, b.addr, checked, time.Hour)
			snap := overTLS(t, to("s", u.addr), swell.TLS{
				Listen: listen, Redirect: true,
				ACME: &swell.ACME{Directory: directory, CA: a.file, Hosts: hosts, Storage: t.TempDir()},
			})
			if inTheClear {
				snap.Gateway.Listen = b.addr
			} else {
				snap.Gateway.TLS.Clients = &swell.Clients{CA: a.file, Required: true}
			}
			snap.Version = b.feed.version.Add(1)
			b.feed.Set(snap)
			own := a.issue("client", "me.test")
			pair, err := tls.LoadX509KeyPair(own.Cert, own.Key)
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range hosts {
				b.wait(host+" has a certificate", func() bool {
					c, err := tls.Dial("tcp", listen, &tls.Config{RootCAs: roots, ServerName: host, Certificates: []tls.Certificate{pair}})
					if err == nil {
						c.Close()
					} else {
						time.Sleep(20 * time.Millisecond)
					}
					return err == nil
				})
			}
			if inTheClear {
				code, _, h := get(t, client(t), "http://"+b.addr+acmePath+"none")
				if code != 308 {
					t.Errorf("a challenge that nobody expects is answered %d, %v", code, h)
				}
			}
		})
	}
}

// TestACMERenews has handshakes go on while certificates of twenty seconds are
// renewed: none fails. Pebble finds no order for certificates whose serial numbers
// begin with zeros, and refuses to renew them: then it is tried with others.
func TestACMERenews(t *testing.T) {
	t.Parallel()
	for range 5 {
		if renews(t) {
			return
		}
	}
	t.Error("Pebble did not renew a certificate in five attempts")
}

// renews returns false if Pebble did not want to.
func renews(t *testing.T) bool {
	a := newAuthority(t)
	var log lockedBuffer
	b := newBed(t, func(o *Options) { o.Certs.Renew, o.Log = time.Second, slog.New(slog.NewTextHandler(&log, nil)) })
	u := newUpstream(t, echo)
	listen := freeAddr(t)
	directory, roots := pebble(t, a, b.addr, listen, 20*time.Second)
	b.set(overTLS(t, to("s", u.addr), swell.TLS{
		Listen: listen, ACME: &swell.ACME{Directory: directory, CA: a.file, Hosts: []string{"renewed.test"}, Storage: t.TempDir()},
	}))
	shake := func() (string, error) {
		c, err := tls.Dial("tcp", listen, &tls.Config{RootCAs: roots, ServerName: "renewed.test"})
		if err != nil {
			return "", err
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
	}
	b.wait("there is a certificate", func() bool { _, err := shake(); return err == nil })
	serials := map[string]bool{}
	for end := time.Now().Add(2 * patience); time.Now().Before(end) && len(serials) < 3; time.Sleep(5 * time.Millisecond) {
		if strings.Contains(log.String(), "could not find an order for the given certificate") {
			t.Log("Pebble finds no order for its own certificate")
			return false
		}
		serial, err := shake()
		if err != nil {
			t.Errorf("after %d certificates: %v\n%s", len(serials), err, log.String())
			return true
		}
		serials[serial] = true
	}
	if len(serials) < 3 {
		t.Errorf("there were %d certificates:\n%s", len(serials), log.String())
	}
	return true
}
