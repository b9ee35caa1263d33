package frames

// Inflow is the receiving side of flow control, of a stream or of a connection
// (RFC 9113, 6.9): what the peer may still send, and what was consumed and not yet
// told to it. Set it up with Open.
type Inflow struct {
	avail  int64 // the peer may send
	unsent int64 // consumed, and not yet granted again
	size   int64 // of the window
}

// Open begins with a window of size bytes, of which the peer was granted granted.
// What is missing is granted by the next Grow or Consume.
func (f *Inflow) Open(granted, size int) {
	*f = Inflow{avail: int64(granted), size: int64(size), unsent: int64(size - granted)}
}

// Take notes that n bytes came, padding included; false if that is more than the
// peer may send.
func (f *Inflow) Take(n int) bool {
	if int64(n) > f.avail {
		return false
	}
	f.avail -= int64(n)
	return true
}

// Grow makes the window larger, up to size. The peer is told with the next Consume.
func (f *Inflow) Grow(size int) {
	if d := int64(size) - f.size; d > 0 {
		f.size += d
		f.unsent += d
	}
}

// Consume notes that n bytes were consumed, and returns how many are to be granted
// to the peer by a WINDOW_UPDATE now: 0 until it is worth a frame.
func (f *Inflow) Consume(n int) int {
	f.unsent += int64(n)
	if f.unsent < f.size/4 && f.avail >= f.size/4 || f.unsent == 0 {
		return 0
	}
	grant := f.unsent
	f.avail += grant
	f.unsent = 0
	return int(grant)
}
