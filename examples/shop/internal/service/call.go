package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// passed are the headers that a request takes along to the next service: who
// follows it sees one trace.
var passed = []string{"Traceparent", "Tracestate", "X-Request-Id"}

// maxAnswer bounds what is read of another service's answer.
const maxAnswer = 4 << 20

// StatusError is an answer of another service that is not a success.
type StatusError struct {
	Service string // its URL
	Status  int
	Text    string
}

// Error tells the status and the beginning of the answer.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d: %s", e.Service, e.Status, e.Text)
}

// Address reads the URL of another service from the environment: CATALOG_URL
// for "catalog".
func Address(name string) (string, error) {
	key := strings.ToUpper(name) + "_URL"
	v := os.Getenv(key)
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return "", fmt.Errorf("%s is %q; it says where %s is, as in %s=http://127.0.0.1:8081", key, v, name, key)
	}
	return strings.TrimSuffix(v, "/"), nil
}

// Call sends a request to another service on behalf of r, with in as its JSON
// body unless it is nil, and reads the JSON of its answer into out.
func (s *Service) Call(ctx context.Context, r *http.Request, method, addr string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, addr, body)
	if err != nil {
		return err
	}
	for _, name := range passed {
		if v := r.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read the answer of %s: %w", addr, err)
	}
	if resp.StatusCode/100 != 2 {
		return &StatusError{Service: addr, Status: resp.StatusCode, Text: strings.TrimSpace(string(b[:min(len(b), 200)]))}
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", addr, err)
	}
	return nil
}

// Status returns the status with which the failure of a call is answered: a
// mistake of the client is passed on, all else is a bad gateway.
func Status(err error) int {
	var e *StatusError
	if errors.As(err, &e) && e.Status/100 == 4 {
		return e.Status
	}
	return http.StatusBadGateway
}
