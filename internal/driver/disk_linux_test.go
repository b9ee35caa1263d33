package driver

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"swell"
)

// fullDisk returns a folder in which no output of the service can be written, for
// want of room, and how to make room. Root gets a whole file system without room.
func fullDisk(t *testing.T, service string) (dir string, free func()) {
	t.Helper()
	dir = t.TempDir()
	name := filepath.Join(dir, "ballast")
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err == nil {
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		if err := os.WriteFile(name, make([]byte, 1<<20), 0o644); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the disk has room: %v", err)
		}
	} else {
		name = filepath.Join(dir, "logs", service+".log")
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "logs"), 0o755), os.Symlink("/dev/full", name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	dir, _ := fullDisk(t, "flood")
	x := start(t, func(o *ProcessOptions) { o.Dir = dir })
	x.want(helper("flood", 1))
	i := x.awaitReady("flood", 1)[0] // it has written 20 MB: nothing held it up
	x.awaitLine("flood", func(l swell.Line) bool { return strings.HasPrefix(l.Text, "19999 ") })
	if i.Restarts != 0 {
		t.Errorf("it was restarted %d times", i.Restarts)
	}
	if got := texts(x.Tail("flood", 2)); len(got) != 2 {
		t.Errorf("in memory: %q", got)
	}
	x.want()
	x.awaitReady("flood", 0)
	x.end()
	if said := x.log.String(); strings.Count(said, "output of the instances can't be written") != 1 || !strings.Contains(said, "no space left on device") {
		t.Errorf("it must be said once: %s", said)
	}
}

func TestDiskThatIsFullForAWhile(t *testing.T) {
	dir, free := fullDisk(t, "a")
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		o := newOutput(OutputLimits{})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { o.write(ctx, filepath.Join(dir, "logs"), slog.New(slog.NewTextHandler(j, nil))) })
		say := func(s string) { o.add("a", "i", "stdout", []byte(s)); synctest.Wait() }
		say("one")
		say("two")
		free()
		say("three")
		time.Sleep(retryDisk)
		say("four")
		say("five")
		cancel()
		done.Wait()
		lines, _ := logLines(t, filepath.Join(dir, "logs"), "a")
		if len(lines) != 3 || !strings.HasSuffix(lines[0], "swell: 3 lines are missing here") || !strings.HasSuffix(lines[1], "four") || !strings.HasSuffix(lines[2], "five") {
			t.Errorf("the file says %q", lines)
		}
		if said := j.String(); strings.Count(said, "can't be written") != 1 || !strings.Contains(said, "is written again") {
			t.Errorf("the log says %s", said)
		}
	})
}
