package proxy

import (
	"net/netip"

	"swell/internal/exchange"
)

func fakeExchange(method, target string) *exchange.Exchange {
	x := &exchange.Exchange{Start: exchange.Now(), Peer: netip.MustParseAddrPort("10.0.0.9:1234"), Gone: func() bool { return false }}
	x.Request.Method, x.Request.Target, x.Request.Host, x.Request.Minor = method, []byte(target), []byte("shop.example"), 1
	return x
}
