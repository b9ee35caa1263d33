package driver

import (
	"bytes"
	"io"
)

// split reads r to its end and calls line for each line, without its end ("\n" or
// "\r\n"). A line of more than maxLine bytes comes in pieces. Any byte may be in a
// line. It returns on the first error of r, after the rest of what was read.
func split(r io.Reader, line func([]byte)) {
	buf := make([]byte, 2*maxLine)
	n := 0 // bytes in buf
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
		if err != nil {
			if n > 0 {
				line(bytes.TrimSuffix(buf[:n], []byte("\r")))
			}
			return
		}
	}
}
