package driver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"swell"
)

// retryDisk is how long output is kept in memory alone after the disk refused it.
const retryDisk = 10 * time.Second

// write brings the lines of instances to files in dir, one row of files for each
// service, until ctx ends and all lines are written. It reads the ring like any
// follower, so a slow or full disk is felt by nobody: what it misses, a line in
// the file says.
func (o *output) write(ctx context.Context, dir string, log *slog.Logger) {
	if dir == "" {
		return
	}
	w := &logWriter{dir: dir, limits: o.limits, log: log, files: map[string]*logFile{}}
	defer w.close()
	_ = o.follow(ctx, 0, func(lines []swell.Line) error { w.add(lines); return nil })
	for {
		lines, _ := o.after(w.seq)
		if len(lines) == 0 {
			return
		}
		w.add(lines)
	}
}

// logWriter writes lines to rotated files. It is used by one goroutine.
type logWriter struct {
	dir    string
	limits OutputLimits
	log    *slog.Logger
	files  map[string]*logFile // by service
	seq    uint64              // of the last line that was handed over
	lost   uint64              // lines since the disk refused one
	retry  time.Time           // when it is tried again; zero while all is well
	buf    []byte
}

// logFile is the file of a service that is being written.
type logFile struct {
	f    *os.File
	size int64
}

// add writes the lines, or counts them as lost.
func (w *logWriter) add(lines []swell.Line) {
	missed := lines[0].Seq - w.seq - 1
	w.seq = lines[len(lines)-1].Seq
	if !w.retry.IsZero() && time.Now().Before(w.retry) {
		w.lost += missed + uint64(len(lines))
		return
	}
	for i := 0; i < len(lines); {
		service := lines[i].Service
		w.buf = w.buf[:0]
		if n := w.lost + missed; n > 0 {
			w.buf = fmt.Appendf(w.buf, "%s swell: %d lines are missing here\n", lines[i].At.UTC().Format(stamp), n)
		}
		j := i
		for ; j < len(lines) && lines[j].Service == service && len(w.buf) < 64<<10; j++ {
			l := &lines[j]
			w.buf = l.At.UTC().AppendFormat(w.buf, stamp)
			w.buf = append(append(append(w.buf, ' '), l.Instance...), ' ')
			w.buf = append(append(append(w.buf, l.Stream...), ": "...), l.Text...)
			w.buf = append(w.buf, '\n')
		}
		if err := w.put(service, w.buf); err != nil {
			if w.retry.IsZero() {
				w.log.Warn("output of the instances can't be written; it is kept in memory alone until it can", "error", err, "tried again every", retryDisk)
			}
			w.lost += missed + uint64(len(lines)-i)
			w.retry = time.Now().Add(retryDisk)
			return
		}
		if !w.retry.IsZero() {
			w.log.Info("output of the instances is written again", "lines missing", w.lost)
			w.retry = time.Time{}
		}
		w.lost, missed = 0, 0
		i = j
	}
}

const stamp = "2006-01-02T15:04:05.000Z"

// put appends to the service's file, after turning it over if it is full.
func (w *logWriter) put(service string, b []byte) error {
	name := filepath.Join(w.dir, service+".log")
	l := w.files[service]
	if l == nil {
		if err := os.MkdirAll(w.dir, 0o755); err != nil {
			return fmt.Errorf("make the folder for output: %w", err)
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		l = &logFile{f: f}
		if fi, err := f.Stat(); err == nil {
			l.size = fi.Size()
		}
		w.files[service] = l
	}
	if l.size > 0 && l.size+int64(len(b)) > w.limits.File {
		w.drop(service)
		if err := turn(name, w.limits.Files); err != nil {
			return err
		}
		return w.put(service, b)
	}
	n, err := l.f.Write(b)
	l.size += int64(n)
	if err != nil {
		w.drop(service)
		return err
	}
	return nil
}

// drop closes a service's file; the next line opens it again.
func (w *logWriter) drop(service string) {
	_ = w.files[service].f.Close() // what write took, the system has
	delete(w.files, service)
}

func (w *logWriter) close() {
	for s := range w.files {
		w.drop(s)
	}
}

// turn renames name to name.1, that to name.2 and so on; the files-th goes.
func turn(name string, files int) error {
	for i := files - 1; i >= 1; i-- {
		from := name
		if i > 1 {
			from = name + "." + strconv.Itoa(i-1)
		}
		if err := os.Rename(from, name+"."+strconv.Itoa(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("turn over the output file: %w", err)
		}
	}
	if files == 1 {
		return os.Truncate(name, 0)
	}
	return nil
}
