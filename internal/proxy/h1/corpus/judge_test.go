package corpus

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// record is one message as it came to the origin.
type record struct {
	raw                  string // all of it
	method, target, host string
	body                 string
	complete             bool
	hazards              []string // what two readers could understand differently
}

// String is what the message means.
func (r *record) String() string {
	return r.method + " " + r.target + " " + r.host + " " + r.body
}

// origin takes messages, judges each, and answers those that are complete.
type origin struct {
	l  net.Listener
	wg sync.WaitGroup

	mu   sync.Mutex
	got  []*record
	open map[net.Conn]bool
}

func newOrigin(addr string) (*origin, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	o := &origin{l: l, open: map[net.Conn]bool{}}
	o.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.open[nc] = true
			o.mu.Unlock()
			o.wg.Go(func() {
				o.serve(nc)
				_ = nc.Close()
				o.mu.Lock()
				delete(o.open, nc)
				o.mu.Unlock()
			})
		}
	})
	return o, nil
}

// take returns what came since the last call.
func (o *origin) take() []*record {
	o.mu.Lock()
	defer o.mu.Unlock()
	got := o.got
	o.got = nil
	return got
}

// close ends the origin, once its connections have been closed by the other side.
func (o *origin) close() {
	_ = o.l.Close()
	late := time.AfterFunc(10*time.Second, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		for nc := range o.open {
			_ = nc.Close()
		}
	})
	o.wg.Wait()
	late.Stop()
}

// answer is what a complete message gets; the client counts its mark.
const (
	mark   = "X-Origin: 1\r\n"
	answer = "HTTP/1.1 200 OK\r\n" + mark + "Content-Length: 2\r\n\r\n"
)

// serve reads messages until one is not as it should be.
func (o *origin) serve(nc net.Conn) {
	_ = nc.SetDeadline(time.Now().Add(5 * time.Minute))
	var all strings.Builder
	r := bufio.NewReader(io.TeeReader(oneByOne{nc}, &all))
	for {
		all.Reset()
		rec := &record{}
		reply, err := rec.read(r, nc)
		rec.raw = all.String()
		if rec.raw == "" {
			return
		}
		rec.complete = err == nil
		o.mu.Lock()
		o.got = append(o.got, rec)
		o.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := io.WriteString(nc, reply); err != nil || len(rec.hazards) > 0 {
			return
		}
	}
}

// oneByOne gives a byte at a time, so that what was read is what was looked at.
type oneByOne struct{ r io.Reader }

func (o oneByOne) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

var (
	tokenForm   = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	targetForm  = regexp.MustCompile(`^(/[!-"$-~]*|\*)$`)
	digitsForm  = regexp.MustCompile(`^[0-9]{1,18}$`)
	sizeForm    = regexp.MustCompile(`^[0-9A-Fa-f]{1,15}$`)
	nameForm    = regexp.MustCompile(`^([0-9A-Za-z._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+(:[0-9]{0,5})?$`) // RFC 3986, 3.2.2
	addressForm = regexp.MustCompile(`^\[([0-9A-Fa-f:.]+)\](:[0-9]{0,5})?$`)
)

// isText reports that s holds only what a field's value may.
func isText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// crlfLine reads a line, which must end in CR LF and hold neither elsewhere.
func crlfLine(r *bufio.Reader) (string, error) {
	l, err := r.ReadString('\n')
	if err != nil {
		return l, err
	}
	if !strings.HasSuffix(l, "\r\n") {
		return l, errLineEnd
	}
	return l[:len(l)-2], nil
}

var errLineEnd = errors.New("a line ends in a bare LF")

// read reads a message and judges it. It returns what it is to be answered; the
// error says that the message was not complete, or can't be read on.
func (rec *record) read(r *bufio.Reader, w io.Writer) (string, error) {
	bad := func(format string, args ...any) { rec.hazards = append(rec.hazards, fmt.Sprintf(format, args...)) }
	first, err := crlfLine(r)
	if err == errLineEnd {
		bad("%v: %q", err, first)
	} else if err != nil {
		return "", err
	}
	parts := strings.Split(first, " ")
	if len(parts) != 3 || !tokenForm.MatchString(parts[0]) {
		bad("request line %.200q", first)
		return "", errors.New("no request line")
	}
	rec.method, rec.target = parts[0], parts[1]
	if parts[2] != "HTTP/1.1" && parts[2] != "HTTP/1.0" {
		bad("version %q", parts[2])
	}
	if rec.method == "CONNECT" {
		if host, _, ok := strings.Cut(rec.target, ":"); !ok || host == "" {
			bad("target %q of CONNECT", rec.target)
		}
	} else if !targetForm.MatchString(rec.target) {
		bad("target %.200q", rec.target)
	}
	fields := map[string][]string{}
	for {
		l, err := crlfLine(r)
		if err == errLineEnd {
			bad("%v: %.200q", err, l)
			l = strings.TrimSuffix(l, "\n")
		} else if err != nil {
			return "", err
		}
		if l == "" {
			break
		}
		name, value, ok := strings.Cut(l, ":")
		value = strings.Trim(value, " \t")
		if !ok || !tokenForm.MatchString(name) || !isText(value) {
			bad("field %.200q", l) // folded ones, too
			continue
		}
		name = strings.ToLower(name)
		fields[name] = append(fields[name], value)
	}
	rec.judgeFields(fields, parts[2], bad)
	if len(rec.hazards) > 0 {
		return answer + "ok", nil
	}
	if fields["expect"] != nil {
		_, _ = io.WriteString(w, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	if err := rec.readBody(r, fields, bad); err != nil {
		return "", err
	}
	switch rec.method {
	case "HEAD":
		return answer, nil
	case "CONNECT":
		return "HTTP/1.1 405 No\r\n" + mark + "Content-Length: 0\r\n\r\n", nil
	}
	return answer + "ok", nil
}

// judgeFields judges the fields of a head, and sets the host.
func (rec *record) judgeFields(fields map[string][]string, version string, bad func(string, ...any)) {
	if h := fields["host"]; len(h) != 1 {
		if len(h) > 1 || version == "HTTP/1.1" {
			bad("%d Hosts", len(h))
		}
	} else {
		rec.host = h[0]
		if a := addressForm.FindStringSubmatch(h[0]); a != nil {
			if _, err := netip.ParseAddr(a[1]); err != nil {
				bad("Host %q", h[0])
			}
		} else if !nameForm.MatchString(h[0]) {
			bad("Host %q", h[0])
		}
	}
	length, coding := fields["content-length"], fields["transfer-encoding"]
	if len(length) > 1 || len(length) == 1 && !digitsForm.MatchString(length[0]) {
		bad("Content-Length %q", length)
	}
	if len(coding) > 1 || len(coding) == 1 && !strings.EqualFold(coding[0], "chunked") {
		bad("Transfer-Encoding %q", coding)
	}
	if length != nil && coding != nil {
		bad("two framings")
	}
	if coding != nil && version == "HTTP/1.0" {
		bad("Transfer-Encoding with HTTP/1.0")
	}
	named := map[string]bool{}
	for _, v := range fields["connection"] {
		for e := range strings.SplitSeq(v, ",") {
			named[strings.ToLower(strings.Trim(e, " \t"))] = true
		}
	}
	for n := range named {
		switch n {
		case "close", "keep-alive", "upgrade", "te", "":
		default:
			bad("Connection names %q", n)
		}
	}
	for _, n := range []string{"proxy-connection", "http2-settings", "keep-alive", "proxy-authenticate", "x-named"} {
		if fields[n] != nil {
			bad("hop by hop: %s", n)
		}
	}
	for _, v := range fields["te"] {
		if !strings.EqualFold(v, "trailers") {
			bad("TE %q", v)
		}
	}
	if u := fields["upgrade"]; u != nil {
		if len(u) > 1 || !strings.EqualFold(u[0], "websocket") {
			bad("foreign Upgrade %q", u)
		}
		if !named["upgrade"] {
			bad("Upgrade that Connection does not name")
		}
	}
	if e := fields["expect"]; len(e) > 1 || len(e) == 1 && !strings.EqualFold(e[0], "100-continue") {
		bad("Expect %q", e)
	}
}

// forbidden are fields that change what was read before them, or are not for the
// end (RFC 9110, 6.5.1).
var forbidden = map[string]bool{
	"content-length": true, "transfer-encoding": true, "host": true, "connection": true, "trailer": true, "te": true, "upgrade": true, "expect": true,
	"authorization": true, "proxy-authorization": true, "cookie": true, "set-cookie": true, "content-encoding": true, "content-type": true, "content-range": true,
	"cache-control": true, "if-match": true, "range": true, "max-forwards": true, "keep-alive": true, "proxy-connection": true, "x-forwarded-for": true,
	"forwarded": true, "via": true, "location": true, "vary": true,
}

// readBody reads the body and judges its framing.
func (rec *record) readBody(r *bufio.Reader, fields map[string][]string, bad func(string, ...any)) error {
	var body strings.Builder
	defer func() { rec.body = body.String() }()
	if l := fields["content-length"]; l != nil {
		n, err := strconv.ParseInt(l[0], 10, 64)
		if err == nil {
			_, err = io.CopyN(&body, r, n)
		}
		return err
	}
	if fields["transfer-encoding"] == nil {
		return nil
	}
	for {
		l, err := crlfLine(r)
		size, extension, _ := strings.Cut(l, ";")
		if err == errLineEnd || err == nil && (!sizeForm.MatchString(size) || !isText(extension)) {
			bad("chunk size %.200q", l)
			return errors.New("no chunk size")
		} else if err != nil {
			return err
		}
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if _, err := io.CopyN(&body, r, n); err != nil {
			return err
		}
		if l, err := crlfLine(r); err == errLineEnd || err == nil && l != "" {
			bad("chunk data end in %.200q", l)
			return errors.New("no end of a chunk")
		} else if err != nil {
			return err
		}
	}
	for {
		l, err := crlfLine(r)
		if err == errLineEnd {
			bad("trailer: %v", err)
		} else if err != nil {
			return err
		}
		if l == "" {
			return nil
		}
		name, value, ok := strings.Cut(l, ":")
		if !ok || !tokenForm.MatchString(name) || !isText(value) || forbidden[strings.ToLower(name)] {
			bad("trailer %.200q", l)
		}
	}
}
