package exchange

import "context"

type contextKey struct{}

// WithExchange returns a context that carries x to whoever makes a connection for
// it: a PROXY header (in the dialer) needs the client's address. It is valid until
// the connection is made, no longer.
func WithExchange(ctx context.Context, x *Exchange) context.Context {
	return context.WithValue(ctx, contextKey{}, x)
}

// FromContext returns the exchange that a connection is made for; nil if it is
// made for none, as by a health check.
func FromContext(ctx context.Context) *Exchange {
	x, _ := ctx.Value(contextKey{}).(*Exchange)
	return x
}
