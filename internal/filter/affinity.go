package filter

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"sync"
	"time"

	"swell/internal/exchange"
	"swell/internal/plug"
	"swell/internal/unit"
)

// AffinityOptions are the options of affinity.
//
// Whoever was served by an instance comes back to it for a day, as long as it is
// there:
//
//	affinity: {cookie: shop-instance, secret: "${secret:affinity}", ttl: 24h}
type AffinityOptions struct {
	Cookie string        `json:"cookie" doc:"The cookie's name."`
	Secret string        `json:"secret" doc:"What the cookie is signed with, at least 16 bytes. Without one it is random: then cookies hold until Swell starts again, and at this data plane only."`
	TTL    unit.Duration `json:"ttl" doc:"How long a cookie holds; it is renewed when half of that is over."`
}

func affinityEntry() plug.Entry[Maker] {
	return plug.Named("affinity", "Has a client come back to the instance that served it before, by a signed cookie, as long as that instance is there.",
		AffinityOptions{Cookie: "swell-affinity", TTL: unit.Duration(24 * time.Hour)}, func(o AffinityOptions) (Maker, error) {
			for i := range len(o.Cookie) {
				if !token[o.Cookie[i]] {
					return nil, fmt.Errorf("cookie %q is not a cookie's name: %q can't be in it", o.Cookie, o.Cookie[i])
				}
			}
			switch {
			case o.Cookie == "":
				return nil, errors.New("cookie is empty; give it a name such as swell-affinity")
			case o.Secret != "" && len(o.Secret) < 16:
				return nil, errors.New("secret is shorter than 16 bytes, which can be guessed; make it longer, or leave it out")
			case time.Duration(o.TTL) < time.Second:
				return nil, errors.New("ttl is under a second; give a time such as 24h")
			}
			secret := []byte(o.Secret)
			if o.Secret == "" {
				secret = randomSecret()
			}
			return func(env Env) Filter { return newSticky(o, secret, env.complete()).filter }, nil
		})
}

// randomSecret is one for the process, so that a reload breaks no session.
var randomSecret = sync.OnceValue(func() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
})

// sticky is session affinity. The cookie's value is, in base64url, the end of its time
// in seconds since 1970 (8 bytes), an HMAC-SHA256 of the cookie's name, that time and
// the endpoint's ID, and the ID.
type sticky struct {
	o     AffinityOptions
	name  []byte
	env   Env
	seals sync.Pool

	kept, moved, bad Counter
}

// seal is memory for checking and making a cookie.
type seal struct {
	mac hash.Hash
	in  []byte // decoded
	sum []byte
}

func newSticky(o AffinityOptions, secret []byte, env Env) *sticky {
	s := &sticky{o: o, name: []byte(o.Cookie), env: env,
		kept:  env.counter("swell_affinity_total", "outcome", "kept"),
		moved: env.counter("swell_affinity_total", "outcome", "moved"),
		bad:   env.counter("swell_affinity_total", "outcome", "invalid"),
	}
	s.seals.New = func() any { return &seal{mac: hmac.New(sha256.New, secret)} }
	return s
}

func (s *sticky) filter(next Round) Round {
	return func(x *exchange.Exchange) error {
		id, until := s.read(x)
		if id != "" {
			x.Prefer = id
		}
		err := next(x)
		if err != nil || x.Endpoint == "" || x.Response.Status >= 500 {
			return err
		}
		now := s.env.Now()
		if id != "" {
			if id == x.Endpoint {
				s.kept.Add(1)
				if until.Sub(now) > time.Duration(s.o.TTL)/2 {
					return nil
				}
			} else {
				s.moved.Add(1)
				x.Note("affinity", "moved")
			}
		}
		s.write(x, now)
		return nil
	}
}

// read returns the endpoint that a valid cookie names, and when it ends; "" if there
// is none.
func (s *sticky) read(x *exchange.Exchange) (string, time.Time) {
	fields := x.Request.Header.Fields()
	for i := range fields {
		if fields[i].ID != exchange.Cookie {
			continue
		}
		rest := fields[i].Value
		for len(rest) > 0 {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, semicolon)
			name, value, ok := bytes.Cut(bytes.TrimLeft(pair, " "), equals)
			if !ok || !bytes.Equal(name, s.name) {
				continue
			}
			id, until := s.open(bytes.TrimRight(value, " "))
			if id == "" {
				s.bad.Add(1)
				continue
			}
			return id, until
		}
	}
	return "", time.Time{}
}

var semicolon, equals = []byte{';'}, []byte{'='}

const (
	sealHead  = 8 + sha256.Size
	cookieMax = 1024
)

// open checks a cookie's value.
func (s *sticky) open(value []byte) (string, time.Time) {
	if len(value) > cookieMax {
		return "", time.Time{}
	}
	k := s.seals.Get().(*seal)
	defer s.seals.Put(k)
	var err error
	if k.in, err = base64.RawURLEncoding.AppendDecode(k.in[:0], value); err != nil || len(k.in) <= sealHead {
		return "", time.Time{}
	}
	id := k.in[sealHead:]
	k.sign(s.name, k.in[:8], id)
	if !hmac.Equal(k.sum, k.in[8:sealHead]) {
		return "", time.Time{}
	}
	until := time.Unix(int64(binary.BigEndian.Uint64(k.in)), 0)
	if !s.env.Now().Before(until) {
		return "", time.Time{}
	}
	return string(id), until
}

func (k *seal) sign(name, until, id []byte) {
	k.mac.Reset()
	_, _ = k.mac.Write(name)
	_, _ = k.mac.Write(until)
	_, _ = k.mac.Write(id)
	k.sum = k.mac.Sum(k.sum[:0])
}

// write sets the cookie for the endpoint that answered.
func (s *sticky) write(x *exchange.Exchange, now time.Time) {
	k := s.seals.Get().(*seal)
	defer s.seals.Put(k)
	k.in = binary.BigEndian.AppendUint64(k.in[:0], uint64(now.Add(time.Duration(s.o.TTL)).Unix()))
	id := []byte(x.Endpoint)
	k.sign(s.name, k.in, id)
	k.in = append(append(k.in, k.sum...), id...)
	if base64.RawURLEncoding.EncodedLen(len(k.in)) > cookieMax {
		return // an ID that long is no use in a cookie
	}
	b := append([]byte(s.o.Cookie), '=')
	b = base64.RawURLEncoding.AppendEncode(b, k.in)
	b = append(b, "; Path=/; Max-Age="...)
	b = strconv.AppendInt(b, int64(time.Duration(s.o.TTL)/time.Second), 10)
	b = append(b, "; HttpOnly; SameSite=Lax"...)
	if x.TLS != nil {
		b = append(b, "; Secure"...)
	}
	x.Response.Header.AddBytes(exchange.SetCookie, b)
}
