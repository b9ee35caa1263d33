package balance

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// The hashes of this package are the same in every process and every version: data
// planes agree on where a key belongs without speaking to each other.

// hash is of an endpoint's ID: FNV-1a with a finalizer, as short IDs differ in few
// bits.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable
// Pseudorandom Number Generators, OOPSLA 2014).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// hashBytes is of a key. It takes eight bytes at a time, so that a long key costs
// little.
func hashBytes(b []byte) uint64 {
	h := uint64(len(b)) * 0x9e3779b97f4a7c15
	for ; len(b) >= 8; b = b[8:] {
		h = mix(h ^ binary.LittleEndian.Uint64(b))
	}
	var last uint64
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	return mix(h ^ last ^ 0x2545f4914f6cdd1d)
}

// hashClient is of an address; an IPv4 one is the same in its IPv6 form.
func hashClient(a netip.Addr) uint64 {
	b := a.As16()
	return mix(mix(binary.LittleEndian.Uint64(b[:8])) ^ binary.LittleEndian.Uint64(b[8:]))
}

// part maps a hash to [0, n) (Lemire: Fast Random Integer Generation in an Interval,
// ACM TOMACS 29(1), 2019).
func part(h uint64, n int) int {
	hi, _ := bits.Mul64(h, uint64(n))
	return int(hi)
}
