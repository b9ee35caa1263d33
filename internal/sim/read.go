package sim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"swell/internal/bench"
)

// ReadFile reads a recorded load from a file; see [Read].
func ReadFile(name string) (*Load, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read a trace: %w", err)
	}
	defer f.Close()
	return Read(f, name)
}

// Read reads a recorded load of one of these forms, which it tells by the first
// bytes: CSV with the header ts,count or ts,value, as [bench.ReadTrace] does; the
// answer of a Prometheus range query, whose series are added up; an access log in
// the common or combined form, or Swell's own in JSON. Name is the file's, for errors.
func Read(r io.Reader, name string) (*Load, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	head = bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")))
	if len(head) == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	switch {
	case head[0] == '{' && jsonEntry(line):
		return readLog(b, name, parseJSON)
	case head[0] == '{' || head[0] == '[':
		return readPrometheus(b, name)
	case head[0] == '#', bytes.HasPrefix(head, []byte("ts")):
		t, err := bench.ReadTrace(b, name)
		if err != nil {
			return nil, err
		}
		first, at, rate := t.Rows()
		return newLoad(name, first, at, rate, t.Duration().Seconds())
	}
	if _, ok := parseCommon(line); ok {
		return readLog(b, name, parseCommon)
	}
	return nil, fmt.Errorf("%s:1: %.60q begins no trace: there are CSV with the header ts,count or ts,value, the JSON of a Prometheus range query, and access logs in the common form or Swell's JSON", name, line)
}
