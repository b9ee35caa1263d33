package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"swell"
)

func texts(lines []swell.Line) []string {
	out := make([]string, 0, len(lines))
	for _, l := range lines {
		out = append(out, l.Text)
	}
	return out
}

func TestTail(t *testing.T) {
	o := newOutput(OutputLimits{})
	for n := range 10 {
		o.add([]string{"a", "b"}[n%2], "i", "stdout", fmt.Append(nil, n))
	}
	for _, c := range []struct {
		service string
		n       int
		want    string
	}{
		{"", 3, "7 8 9"}, {"a", 2, "6 8"}, {"b", 100, "1 3 5 7 9"}, {"c", 3, ""}, {"", 0, ""},
	} {
		if got := strings.Join(texts(o.tail(c.service, c.n)), " "); got != c.want {
			t.Errorf("the last %d of %q are %q, want %q", c.n, c.service, got, c.want)
		}
	}
}

func TestRingIsBounded(t *testing.T) {
	o := newOutput(OutputLimits{Memory: 64 << 10})
	long := bytes.Repeat([]byte("y"), 3*maxLine)
	for n := range 10000 {
		if n%100 == 0 {
			o.add("a", "i", "stderr", long)
		}
		o.add("a", "i", "stdout", fmt.Append(nil, n))
	}
	all := o.tail("", 1<<30)
	var bytes int64
	for n, l := range all {
		bytes += int64(len(l.Text)) + lineCost
		if n > 0 && l.Seq != all[n-1].Seq+1 {
			t.Fatalf("a hole after line %d", all[n-1].Seq)
		}
	}
	if bytes > 64<<10 || bytes != o.bytes || len(all) != o.count {
		t.Errorf("%d bytes in %d lines are held, counted as %d in %d", bytes, len(all), o.bytes, o.count)
	}
	if last := all[len(all)-1]; last.Text != "9999" || last.Seq != 10100 {
		t.Errorf("the newest line is %+v", last)
	}
	if len(o.lines) > 1024 {
		t.Errorf("the ring has %d places", len(o.lines))
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutput(OutputLimits{})
		for n := range 3000 {
			o.add("a", "i", "stdout", fmt.Append(nil, n))
		}
		var got []swell.Line
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- o.follow(ctx, 2, func(l []swell.Line) error {
				if len(l) == 0 || len(l) > batch {
					t.Errorf("a batch of %d", len(l))
				}
				got = append(got, l...)
				return nil
			})
		}()
		synctest.Wait()
		o.add("a", "i", "stdout", []byte("new"))
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if len(got) != 2999 || got[0].Seq != 3 || got[2998].Text != "new" {
			t.Errorf("%d lines, from %+v", len(got), got[0])
		}
		stop := errors.New("stop")
		if err := o.follow(t.Context(), 0, func([]swell.Line) error { return stop }); !errors.Is(err, stop) {
			t.Error(err)
		}
		// One that asks for what was never there waits for what comes.
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if err := o.follow(ctx, 1<<40, func([]swell.Line) error { t.Error("lines of the future"); return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestSplit(t *testing.T) {
	long := strings.Repeat("z", maxLine)
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"a\nb\n", []string{"a", "b"}},
		{"a\r\n\r\nb", []string{"a", "", "b"}},
		{"\n\n", []string{"", ""}},
		{"a\x00\xff\x1b[0m\n", []string{"a\x00\xff\x1b[0m"}},
		{long + "\nb\n", []string{long, "b"}},
		{long + long + "tail\nb", []string{long, long, "tail", "b"}},
		{long + "+", []string{long, "+"}},
	} {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(c.in), "by bytes": iotest.OneByteReader(strings.NewReader(c.in)),
			"with the end": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			var got []string
			split(r, nil, func(l []byte) { got = append(got, string(l)) })
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %.40q gives %d lines %.60q, want %d", name, c.in, len(got), got, len(c.want))
			}
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("a\nb\r\n\x00"), 3)
	f.Add(bytes.Repeat([]byte("q"), 3*maxLine), 1000)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		pr, pw := io.Pipe()
		go func() {
			for rest := in; len(rest) > 0; {
				n := min(len(rest), max(1, piece))
				_, _ = pw.Write(rest[:n])
				rest = rest[n:]
			}
			_ = pw.Close()
		}()
		n := 0
		split(pr, nil, func(l []byte) {
			if len(l) > maxLine || bytes.IndexByte(l, '\n') >= 0 {
				t.Errorf("line %.80q", l)
			}
			n += len(l)
		})
		// Nothing but line ends is missing.
		ends := bytes.Count(in, []byte("\n")) + bytes.Count(in, []byte("\r"))
		if n > len(in) || n < len(in)-ends {
			t.Errorf("%d bytes of %d came out, with %d bytes of line ends", n, len(in), ends)
		}
	})
}

// logLines returns the texts in a service's files, oldest first.
func logLines(t *testing.T, dir, service string) (out []string, files int) {
	t.Helper()
	for n := 100; n >= 0; n-- {
		name := filepath.Join(dir, service+".log")
		if n > 0 {
			name += fmt.Sprint(".", n)
		}
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		files++
		out = append(out, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
	}
	return out, files
}

func TestRotation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	o := newOutput(OutputLimits{File: 4 << 10, Files: 3})
	w := &logWriter{dir: dir, limits: o.limits, log: slog.New(slog.DiscardHandler), files: map[string]*logFile{}}
	for n := range 1000 {
		o.add([]string{"a", "b"}[n%2], "i-0-x", "stdout", fmt.Appendf(nil, "line %d", n))
		lines, _ := o.after(w.seq)
		w.add(lines)
	}
	w.close()
	for _, service := range []string{"a", "b"} {
		lines, files := logLines(t, dir, service)
		if files != 3 {
			t.Errorf("%d files of %s", files, service)
		}
		last := map[string]string{"a": "line 998", "b": "line 999"}[service]
		if got := lines[len(lines)-1]; !strings.HasSuffix(got, "i-0-x stdout: "+last) {
			t.Errorf("the last line is %q", got)
		}
		all, err := filepath.Glob(filepath.Join(dir, service+".log*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range all {
			if fi, err := os.Stat(name); err != nil || fi.Size() > 4<<10 {
				t.Errorf("%s: %v, %d bytes", name, err, fi.Size())
			}
		}
	}
	// Another run goes on in the same file.
	w = &logWriter{dir: dir, limits: o.limits, log: slog.New(slog.DiscardHandler), files: map[string]*logFile{}, seq: o.seq}
	before, _ := logLines(t, dir, "a")
	o.add("a", "i-0-y", "stdout", []byte("again"))
	lines, _ := o.after(w.seq)
	w.add(lines)
	w.close()
	if after, _ := logLines(t, dir, "a"); len(after) != len(before)+1 && !strings.HasSuffix(after[len(after)-1], "again") {
		t.Errorf("%d lines, were %d", len(after), len(before))
	}
}

func TestOutputReachesTheFiles(t *testing.T) {
	x := start(t, func(o *ProcessOptions) { o.Limit = OutputLimits{Memory: 1 << 20, File: 1 << 20, Files: 4} })
	x.want(helper("flood", 1))
	x.awaitReady("flood", 1)
	x.awaitLine("flood", func(l swell.Line) bool { return strings.HasPrefix(l.Text, "19999 ") })
	x.want()
	x.awaitReady("flood", 0)
	x.end()
	lines, files := logLines(t, filepath.Join(x.dir, "logs"), "flood")
	if files > 4 || !slices.ContainsFunc(lines, func(s string) bool { return strings.Contains(s, "stdout: 19999 x") }) || !strings.Contains(lines[len(lines)-1], "swell: ended: exited with code 0") {
		t.Errorf("%d files, the last line is %.100q", files, lines[len(lines)-1])
	}
}

func TestUnwritableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	j := &journal{}
	o := newOutput(OutputLimits{})
	for n := range 5 {
		o.add("a", "i", "stdout", fmt.Append(nil, n))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.write(ctx, file, slog.New(slog.NewTextHandler(j, nil)))
	if said := j.String(); strings.Count(said, "can't be written") != 1 || !strings.Contains(said, "not a directory") {
		t.Errorf("the log says %s", said)
	}
}

func BenchmarkOutput(b *testing.B) {
	o := newOutput(OutputLimits{})
	line := bytes.Repeat([]byte("x"), 100)
	b.ReportAllocs()
	for b.Loop() {
		o.add("a", "a-0-xxxxxxx", "stdout", line)
	}
}
