package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Client asks a running Swell. Any goroutine may use it.
type Client struct {
	// HTTP makes the requests; set it before the first one to trust a certificate
	// of one's own. Its Timeout stays 0: streams have no end.
	HTTP *http.Client

	base, shown, token string
}

// NewClient returns a client of the Swell at addr, a host:port or a URL.
func NewClient(addr, token string) *Client {
	base := strings.TrimSuffix(addr, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return &Client{
		HTTP: &http.Client{Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
		}},
		base: base, shown: strings.TrimSuffix(addr, "/"), token: token,
	}
}

// ErrUnreachable is the error of a client that found no Swell at its address.
var ErrUnreachable = errors.New("no swell is running")

// App returns what runs there.
func (c *Client) App(ctx context.Context) (out AppInfo, err error) {
	return out, c.get(ctx, "/api/v1/app", nil, &out)
}

// Services returns all services, sorted by name.
func (c *Client) Services(ctx context.Context) (out []Service, err error) {
	return out, c.get(ctx, "/api/v1/services", nil, &out)
}

// Service returns one service with its instances and neighbours.
func (c *Client) Service(ctx context.Context, name string) (out ServiceDetail, err error) {
	return out, c.get(ctx, "/api/v1/services/"+url.PathEscape(name), nil, &out)
}

// Instances returns the instances of a service, of all if it is "".
func (c *Client) Instances(ctx context.Context, service string) (out []Instance, err error) {
	return out, c.get(ctx, "/api/v1/instances", query("service", service), &out)
}

// Edges returns who calls whom.
func (c *Client) Edges(ctx context.Context) (out []Edge, err error) {
	return out, c.get(ctx, "/api/v1/edges", nil, &out)
}

// Routes returns the gateway's routes in the order in which they are tried.
func (c *Client) Routes(ctx context.Context) (out []Route, err error) {
	return out, c.get(ctx, "/api/v1/routes", nil, &out)
}

// Match says which route a request would take.
func (c *Client) Match(ctx context.Context, method, target string) (out RouteMatch, err error) {
	return out, c.get(ctx, "/api/v1/routes", query("method", method, "url", target), &out)
}

// Decisions returns the newest n decisions of a service, of all if it is "",
// oldest first; n 0 is 100.
func (c *Client) Decisions(ctx context.Context, service string, n int) (out []Decision, err error) {
	path := "/api/v1/decisions"
	if service != "" {
		path = "/api/v1/services/" + url.PathEscape(service) + "/decisions"
	}
	return out, c.get(ctx, path, query("n", count(n)), &out)
}

// History returns the last minutes of a service, one point a second.
func (c *Client) History(ctx context.Context, service string) (out []Point, err error) {
	return out, c.get(ctx, "/api/v1/services/"+url.PathEscape(service)+"/history", nil, &out)
}

// Logs returns the last lines that q chooses, oldest first.
func (c *Client) Logs(ctx context.Context, q LogQuery) (out []Line, err error) {
	return out, c.get(ctx, "/api/v1/logs", q.values(), &out)
}

// FollowLogs calls f with the lines that q chooses, the last ones first and then
// those that come, until ctx ends, f fails, or the server ends the stream, which
// is nil.
func (c *Client) FollowLogs(ctx context.Context, q LogQuery, f func([]Line) error) error {
	return follow(ctx, c, "/api/v1/logs/stream", q.values(), f)
}

// Stream calls f with the state of everything, every second and after changes,
// until ctx ends, f fails, or the server ends the stream, which is nil.
func (c *Client) Stream(ctx context.Context, f func(Frame) error) error {
	return follow(ctx, c, "/api/v1/stream", nil, f)
}

// Apply checks a manifest and, unless dry, applies it. Its error is an
// [*Invalid] if something is wrong with the manifest; name is what the file is
// called there.
func (c *Client) Apply(ctx context.Context, name string, manifest []byte, dry bool) (out ApplyResult, err error) {
	v := query("name", name)
	if dry {
		v.Set("dry_run", "1")
	}
	return out, c.do(ctx, http.MethodPost, "/api/v1/apply", v, "application/yaml", bytes.NewReader(manifest), &out)
}

// Scale keeps a service at no less than n instances for a time; 0 is the
// server's default of ten minutes.
func (c *Client) Scale(ctx context.Context, service string, n int, life time.Duration) (out ScaleResult, err error) {
	req := ScaleRequest{Replicas: n}
	if life != 0 {
		req.For = life.String()
	}
	b, err := json.Marshal(req)
	if err != nil {
		return out, err
	}
	return out, c.do(ctx, http.MethodPost, "/api/v1/services/"+url.PathEscape(service)+"/scale", nil, "application/json", bytes.NewReader(b), &out)
}

// Ready returns nil once the server says that it is ready, and otherwise why it
// is not.
func (c *Client) Ready(ctx context.Context) error {
	resp, err := c.send(ctx, http.MethodGet, "/readyz", nil, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.shown, err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(b)))
	}
	return nil
}

func (q LogQuery) values() url.Values {
	since := ""
	if q.Since > 0 {
		since = strconv.FormatUint(q.Since, 10)
	}
	return query("service", q.Service, "instance", q.Instance, "q", q.Q, "n", count(q.N), "since", since)
}

// query makes values of names and values, without the empty ones.
func query(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

func count(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func (c *Client) get(ctx context.Context, path string, v url.Values, out any) error {
	return c.do(ctx, http.MethodGet, path, v, "", nil, out)
}

func (c *Client) do(ctx context.Context, method, path string, v url.Values, kind string, body io.Reader, out any) error {
	resp, err := c.send(ctx, method, path, v, kind, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return c.refused(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return c.foreign(fmt.Errorf("read %s: %w", path, err))
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, v url.Values, kind string, body io.Reader) (*http.Response, error) {
	target := c.base + path
	if len(v) > 0 {
		target += "?" + v.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address: write it as 127.0.0.1:7070: %w", c.shown, err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.HTTP.Do(req)
	switch {
	case err == nil:
		return resp, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w at %s; start one with swell up, or name another with --admin", ErrUnreachable, c.shown)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return nil, fmt.Errorf("%w that can be reached at %s (%w); start one with swell up, or name another with --admin", ErrUnreachable, c.shown, err)
}

// refused makes an error of an answer that is none of 2xx.
func (c *Client) refused(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.shown, err)
	}
	var body struct {
		Error *Error `json:"error"`
	}
	if json.Unmarshal(b, &body) != nil || body.Error == nil || body.Error.Message == "" {
		return c.foreign(fmt.Errorf("it answered %s", resp.Status))
	}
	if resp.StatusCode == http.StatusUnprocessableEntity && len(body.Error.Problems) > 0 {
		return &Invalid{Problems: body.Error.Problems}
	}
	body.Error.Status = resp.StatusCode
	return body.Error
}

// foreign is the error of an answer that Swell would not give.
func (c *Client) foreign(err error) error {
	return fmt.Errorf("what listens at %s does not answer as swell does: %w; name another address with --admin", c.shown, err)
}

// follow reads an event stream of T values.
func follow[T any](ctx context.Context, c *Client, path string, v url.Values, f func(T) error) error {
	resp, err := c.send(ctx, http.MethodGet, path, v, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.refused(resp)
	}
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		return c.foreign(fmt.Errorf("it sent %q for %s", kind, path))
	}
	events := bufio.NewScanner(resp.Body)
	events.Buffer(make([]byte, 64<<10), 16<<20)
	for events.Scan() {
		data, ok := bytes.CutPrefix(events.Bytes(), []byte("data:"))
		if !ok {
			continue
		}
		var value T
		if err := json.Unmarshal(data, &value); err != nil {
			return c.foreign(fmt.Errorf("read an event of %s: %w", path, err))
		}
		if err := f(value); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := events.Err(); err != nil {
		return fmt.Errorf("the connection to %s broke: %w", c.shown, err)
	}
	return nil
}
