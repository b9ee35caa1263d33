package h2

import "swell/internal/proxy/h2/frames"

// calm rations what costs work and moves nothing. It belongs to the connection's
// reading goroutine.
type calm struct {
	points int
	resets int
	at     int64 // when points were given last
}

// Prices in points. A connection begins with mostPoints, its bound, and gets
// pointsPerSecond, and pointsPerRequest. Sustained, that is 40 SETTINGS or 400 PING
// in a second: far more than any client has a use for.
const (
	mostPoints       = 10000
	pointsPerSecond  = 2000
	pointsPerRequest = 10

	priceSettings = 50
	priceEmpty    = 20 // DATA without data, a fragment of a head
	priceReset    = 20 // RST_STREAM of a stream that is over
	pricePing     = 5
	priceOdd      = 5 // PRIORITY, unknown frames
	priceWindow   = 1 // WINDOW_UPDATE by less than leastWindow
	leastWindow   = 1024

	resetsPerSecond = 20
)

// refill gives what the time since the last call is worth.
func (c *calm) refill(now int64, resets int) {
	const second = 1e9
	if c.at == 0 {
		c.points, c.resets, c.at = mostPoints, resets, now
		return
	}
	d := now - c.at
	if d < second/20 {
		return
	}
	d = min(d, 10*second)
	c.at = now
	c.points = min(mostPoints, c.points+int(d*pointsPerSecond/second))
	c.resets = min(resets, c.resets+max(1, int(d*resetsPerSecond/second)))
}

// pay takes a price; an error of the connection if it can't be paid.
func (c *calm) pay(price int, slug string) *frames.Error {
	if c.points -= price; c.points < 0 {
		return &frames.Error{Code: frames.EnhanceYourCalm, Why: slug}
	}
	return nil
}
