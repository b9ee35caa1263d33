package driver

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// split reads r to its end and calls line for each line, without its end ("\n" or
// "\r\n"). A line of more than maxLine bytes comes in pieces. Any byte may be in a
// line. It returns on the first error of r, after the rest of what was read; if that
// error is that a deadline passed, the rest is returned instead, and given as begun
// when reading goes on.
func split(r io.Reader, begun []byte, line func([]byte)) (rest []byte) {
	buf := make([]byte, 2*maxLine)
	n := copy(buf, begun) // bytes in buf
	for {
		m, err := r.Read(buf[n:])
		n += m
		rest := buf[:n]
		for len(rest) > 0 {
			i := bytes.IndexByte(rest, '\n')
			switch {
			case i >= 0 && i <= maxLine:
				line(bytes.TrimSuffix(rest[:i], []byte("\r")))
				rest = rest[i+1:]
				continue
			case i > maxLine || len(rest) > maxLine:
				line(rest[:maxLine])
				rest = rest[maxLine:]
				continue
			}
			break
		}
		n = copy(buf, rest)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return buf[:n]
		}
		if err != nil {
			if n > 0 {
				line(bytes.TrimSuffix(buf[:n], []byte("\r")))
			}
			return nil
		}
	}
}
