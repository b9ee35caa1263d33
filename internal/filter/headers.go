package filter

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"swell/internal/exchange"
	"swell/internal/plug"
)

// HeadersOptions are the options of headers.
//
// The service learns that it is asked over HTTPS, and tells nobody what it runs on:
//
//	headers: {request: {set: {X-Scheme: https}}, response: {remove: [X-Powered-By, Server]}}
type HeadersOptions struct {
	Request  HeaderChange `json:"request" doc:"What changes in the request before it is forwarded."`
	Response HeaderChange `json:"response" doc:"What changes in the response before it is sent."`
}

// HeaderChange is what happens to header fields: first remove, then set, then add.
type HeaderChange struct {
	Set    map[string]string `json:"set,omitempty" doc:"Fields that get this as their only value."`
	Add    map[string]string `json:"add,omitempty" doc:"Fields that get this as one more value."`
	Remove []string          `json:"remove,omitempty" doc:"Names of fields that are removed."`
}

func headersEntry() plug.Entry[Maker] {
	return plug.Named("headers", "Sets, adds and removes header fields of requests and responses.",
		HeadersOptions{}, func(o HeadersOptions) (Maker, error) {
			request, err := compileHeaders("request", o.Request)
			if err != nil {
				return nil, err
			}
			response, err := compileHeaders("response", o.Response)
			if err != nil {
				return nil, err
			}
			return func(Env) Filter { return headers(request, response) }, nil
		})
}

func headers(request, response []headerStep) Filter {
	return func(next Round) Round {
		return func(x *exchange.Exchange) error {
			change(&x.Request.Header, request)
			err := next(x)
			if err == nil {
				change(&x.Response.Header, response)
			}
			return err
		}
	}
}

// headerStep is one change of one field.
type headerStep struct {
	do    byte // '-', '=' or '+'
	id    exchange.ID
	name  string
	value string
}

func change(h *exchange.Header, steps []headerStep) {
	for i := range steps {
		s := &steps[i]
		if s.do != '+' {
			if s.id != exchange.None {
				h.Del(s.id)
			} else {
				h.DelName(s.name)
			}
		}
		if s.do == '-' {
			continue
		}
		if s.id != exchange.None {
			h.Add(s.id, s.value)
		} else {
			h.AddName(s.name, s.value)
		}
	}
}

func compileHeaders(where string, c HeaderChange) ([]headerStep, error) {
	var out []headerStep
	step := func(do byte, name, value string) error {
		if err := checkField(name, value); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		out = append(out, headerStep{do, exchange.Identify([]byte(name)), http.CanonicalHeaderKey(name), value})
		return nil
	}
	for _, name := range c.Remove {
		if err := step('-', name, ""); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Set)) {
		if err := step('=', name, c.Set[name]); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Add)) {
		if err := step('+', name, c.Add[name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// checkField refuses what would break the message, or what is not a header field
// to the data plane: framing is the codec's, and the host is a rewrite's.
func checkField(name, value string) error {
	if name == "" {
		return fmt.Errorf("a header field has no name")
	}
	for i := range len(name) {
		if !token[name[i]] {
			return fmt.Errorf("%q is not the name of a header field: %q can't be in it", name, name[i])
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("the value of %s has a control character at byte %d", name, i)
		}
	}
	if n := len(value); n > 0 && (value[0] == ' ' || value[0] == '\t' || value[n-1] == ' ' || value[n-1] == '\t') {
		return fmt.Errorf("the value of %s begins or ends with a space, which HTTP takes away; remove it", name)
	}
	switch exchange.Identify([]byte(name)) {
	case exchange.Connection, exchange.ContentLength, exchange.TransferEncoding, exchange.TE, exchange.Trailer,
		exchange.Upgrade, exchange.KeepAlive, exchange.ProxyConnection, exchange.Expect, exchange.HTTP2Settings:
		return fmt.Errorf("%s says how a message is sent on one connection and can't be changed", name)
	case exchange.Host:
		return fmt.Errorf("host is changed by the route's rewrite: {host: …}, not here")
	}
	return nil
}

// token tells the bytes of a field name (RFC 9110, 5.6.2).
var token = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()
