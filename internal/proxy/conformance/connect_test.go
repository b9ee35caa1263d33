package conformance

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"swell"
)

// Environment of the wrapper, which is this test binary again.
const (
	envServer = "SWELL_CONFORMANCE_SERVER" // the reference server's binary; this is the wrapper
	envHow    = "SWELL_CONFORMANCE_HOW"    // "h1" or "h2": what is spoken behind the plane; "web": gRPC, by the filter grpc-web
)

func TestMain(m *testing.M) {
	if server := os.Getenv(envServer); server != "" {
		if err := wrap(server, os.Getenv(envHow)); err != nil {
			fmt.Fprintln(os.Stderr, "wrapper:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// built is where tools built the suite's programs; "" if it did not.
var built string

// Fields of ServerCompatRequest and ServerCompatResponse
// (connectrpc/conformance/v1/server_compat.proto).
const (
	reqProtocol   = 1
	reqVersion    = 2
	reqTLS        = 4
	reqClientCert = 5
	reqCreds      = 7
	credsCert     = 1
	credsKey      = 2
	resHost       = 1
	resPort       = 2
	resCert       = 3
)

// message is a protobuf message, field by field, in order.
type message []field

type field struct {
	number uint64
	varint uint64
	bytes  []byte // nil: it is a varint
}

func parse(b []byte) (m message, err error) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errors.New("bad tag")
		}
		b = b[n:]
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errors.New("bad value")
		}
		b = b[n:]
		f := field{number: tag >> 3, varint: v}
		switch tag & 7 {
		case 0:
		case 2:
			if v > uint64(len(b)) {
				return nil, errors.New("bad length")
			}
			f.bytes = append([]byte{}, b[:v]...)
			b = b[v:]
		default:
			return nil, fmt.Errorf("wire type %d", tag&7)
		}
		m = append(m, f)
	}
	return m, nil
}

func (m message) get(number uint64) field {
	for _, f := range m {
		if f.number == number {
			return f
		}
	}
	return field{}
}

// set replaces a field; a zero one takes it out.
func (m message) set(f field) message {
	out := message{}
	for _, g := range m {
		if g.number != f.number {
			out = append(out, g)
		}
	}
	if f.varint != 0 || f.bytes != nil {
		out = append(out, f)
	}
	return out
}

func (m message) encode() (out []byte) {
	for _, f := range m {
		if f.bytes == nil {
			out = binary.AppendUvarint(out, f.number<<3)
			out = binary.AppendUvarint(out, f.varint)
			continue
		}
		out = binary.AppendUvarint(out, f.number<<3|2)
		out = binary.AppendUvarint(out, uint64(len(f.bytes)))
		out = append(out, f.bytes...)
	}
	return out
}

// receive and send speak the handshake: a message behind its length.
func receive(r io.Reader) (message, error) {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(n[:]))
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	return parse(b)
}

func send(w io.Writer, m message) error {
	b := m.encode()
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// wrap is the server under test: the reference server behind a plane. It ends with
// SIGTERM.
func wrap(server, how string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	request, err := receive(os.Stdin)
	if err != nil {
		return err
	}
	f := front{protocol: swell.HTTP}
	if request.get(reqVersion).varint != 1 {
		f.protocol = swell.HTTP2
	}
	f.http3 = request.get(reqVersion).varint == 3
	var pem []byte
	if request.get(reqTLS).varint != 0 {
		dir, err := os.MkdirTemp("", "swell-conformance-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		creds, err := parse(request.get(reqCreds).bytes)
		if err != nil {
			return err
		}
		pem = creds.get(credsCert).bytes
		f.cert = &swell.Certificate{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
		files := map[string][]byte{f.cert.Cert: pem, f.cert.Key: creds.get(credsKey).bytes}
		if ca := request.get(reqClientCert).bytes; len(ca) > 0 {
			f.clients = &swell.Clients{CA: filepath.Join(dir, "ca.pem"), Required: true}
			files[f.clients.CA] = ca
		}
		for path, b := range files {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				return err
			}
		}
		if request.get(reqVersion).varint == 3 {
			request = request.set(field{number: reqVersion, varint: 2})
		}
	}
	// Behind the plane all is in the clear.
	inner := request.set(field{number: reqTLS}).set(field{number: reqClientCert}).set(field{number: reqCreds})
	switch how {
	case "h1":
		inner = inner.set(field{number: reqVersion, varint: 1})
		f.protocol = swell.HTTP
	case "h2":
		inner = inner.set(field{number: reqVersion, varint: 2})
		f.protocol = swell.HTTP2
	case "web":
		inner = inner.set(field{number: reqProtocol, varint: 2}).set(field{number: reqVersion, varint: 2})
		f.protocol = swell.GRPC
		f.use = []swell.Use{{Name: "grpc-web"}}
	}
	cmd := exec.CommandContext(ctx, server)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { stop(); _ = cmd.Wait() }()
	if err := send(in, inner); err != nil {
		return err
	}
	response, err := receive(out)
	if err != nil {
		return err
	}
	host := string(response.get(resHost).bytes)
	if host == "" {
		host = "127.0.0.1"
	}
	f.upstream = net.JoinHostPort(host, strconv.FormatUint(response.get(resPort).varint, 10))
	addr, end, err := f.start()
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.ParseUint(port, 10, 16)
	answer := message{{number: resHost, bytes: []byte("127.0.0.1")}, {number: resPort, varint: n}}
	if pem != nil {
		answer = append(answer, field{number: resCert, bytes: pem})
	}
	if err := send(os.Stdout, answer); err != nil {
		return err
	}
	<-ctx.Done()
	return end()
}

// tools are the suite's programs, built once.
var tools = sync.OnceValues(func() (dir string, err error) {
	if dir = os.Getenv("SWELL_CONFORMANCE_TOOLS"); dir != "" {
		return dir, nil
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "swell-conformance-tools-"); err != nil {
		return "", err
	}
	built = dir
	for _, name := range []string{"connectconformance", "referenceserver"} {
		cmd := exec.Command("go", "build", "-modfile=tools/go.mod", "-o", filepath.Join(dir, name), "connectrpc.com/conformance/cmd/"+name)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
})

var total = regexp.MustCompile(`Total cases: (\d+)\n(\d+) passed, (\d+) failed`)

// suite runs the suite with a configuration and expects at least so many cases, all
// of which must pass.
func suite(t *testing.T, config, how string, least int) {
	t.Helper()
	dir, err := tools()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("the suite's programs can't be built here: ", err)
	}
	conf := filepath.Join(t.TempDir(), "conf.yaml")
	if err := os.WriteFile(conf, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "connectconformance"), "--mode", "server", "--conf", conf, "--max-servers", "2", "--", self)
	cmd.Env = append(os.Environ(), envServer+"="+filepath.Join(dir, "referenceserver"), envHow+"="+how)
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	err = cmd.Run()
	text := out.String()
	m := total.FindStringSubmatch(text)
	if err != nil || m == nil || strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic") {
		if len(text) > 20000 {
			text = text[:10000] + "\n…\n" + text[len(text)-10000:]
		}
		t.Fatalf("%v\n%s", err, text)
	}
	if n, _ := strconv.Atoi(m[1]); n < least || m[3] != "0" {
		t.Errorf("%s cases, want at least %d; %s passed, %s failed", m[1], least, m[2], m[3])
	}
	t.Logf("%s cases passed in %v", m[2], time.Since(begun).Round(time.Millisecond))
}

const inTheClear = `
features:
  supportsTls: false
`

const overTLS = `
features:
  supportsTls: true
  supportsH2c: false
  supportsTlsClientCerts: true
`

const compressed = `
features:
  supportsTls: false
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP, COMPRESSION_BR, COMPRESSION_ZSTD, COMPRESSION_DEFLATE, COMPRESSION_SNAPPY]
`

const web = `
features:
  supportsTls: false
  protocols: [PROTOCOL_GRPC_WEB]
`

const over3 = `
features:
  supportsTls: true
  versions: [HTTP_VERSION_3]
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP]
`

const from1 = `
features:
  supportsTls: false
  versions: [HTTP_VERSION_1]
`

const from2 = `
features:
  supportsTls: false
  versions: [HTTP_VERSION_2]
  protocols: [PROTOCOL_CONNECT, PROTOCOL_GRPC_WEB]
  streamTypes: [STREAM_TYPE_UNARY, STREAM_TYPE_CLIENT_STREAM, STREAM_TYPE_SERVER_STREAM]
`

func TestConnectConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the suite's programs")
	}
	t.Run("in the clear", func(t *testing.T) { suite(t, inTheClear, "", 1130) })
	t.Run("TLS", func(t *testing.T) { suite(t, overTLS, "", 1130) })
	t.Run("compressed", func(t *testing.T) { suite(t, compressed, "", 1130) })
	t.Run("HTTP/3", func(t *testing.T) { suite(t, over3, "h2", 300) })
	t.Run("HTTP/1.1 to HTTP/2", func(t *testing.T) { suite(t, from1, "h2", 300) })
	t.Run("HTTP/2 to HTTP/1.1", func(t *testing.T) { suite(t, from2, "h1", 300) })
	t.Run("gRPC-Web to a service that speaks gRPC", func(t *testing.T) { suite(t, web, "web", 300) })
}
