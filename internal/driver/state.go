package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// state is the state directory of the process runtime.
type state struct {
	lock *os.File
	runs string // folder of a file for each running instance
}

// run is the content of a run file: which process group an instance is, so told
// that no other process can be taken for it.
type run struct {
	Instance string `json:"instance"`
	PID      int    `json:"pid"`   // and the group's number
	Start    string `json:"start"` // of the process, as the system counts it
	Boot     string `json:"boot"`  // which run of the machine that count is of
}

// openState locks the directory, and ends what a Swell that was killed left there.
// With the lock of a process that shares it nothing was left behind.
func openState(dir string, shared *os.File, log *slog.Logger) (*state, error) {
	if dir == "" {
		return nil, errors.New("the process driver needs a state directory")
	}
	s := &state{runs: filepath.Join(dir, "run")}
	if err := os.MkdirAll(s.runs, 0o755); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	if shared != nil {
		s.lock = shared
		s.sign(strconv.Itoa(os.Getpid()))
		return s, nil
	}
	if err := s.take(dir, strconv.Itoa(os.Getpid()), keeperSign, patienceForKeeper); err != nil {
		return nil, err
	}
	if err := s.clean(log); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

var errInUse = errors.New("in use by another Swell")

// patienceForKeeper is how long a start waits for the keeper of a Swell that was
// killed a moment ago.
const patienceForKeeper = 10 * time.Second

// take locks the directory, and signs the lock. While it is another's, who signed
// so, it is waited for that long.
func (s *state) take(dir, by, another string, patience time.Duration) error {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("lock the state directory: %w", err)
	}
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for end := time.Now().Add(patience); ; <-retry.C {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		b, _ := os.ReadFile(name)
		held := strings.TrimSpace(string(b))
		if errors.Is(err, unix.EWOULDBLOCK) {
			if held == another && time.Now().Before(end) {
				continue
			}
			err = fmt.Errorf("the state directory %s is %w, process %s: stop that one, or choose another directory", dir, errInUse, held)
		} else {
			err = fmt.Errorf("lock the state directory %s: %w", dir, err)
		}
		_ = f.Close()
		return err
	}
	s.lock = f
	s.sign(by)
	return nil
}

// sign writes whose the lock is. It is for messages and for who waits: on a full
// disk it is missing.
func (s *state) sign(by string) {
	if err := s.lock.Truncate(0); err == nil {
		_, _ = s.lock.WriteAt([]byte(by+"\n"), 0)
	}
}

// clean ends the process groups of all run files and removes the files.
func (s *state) clean(log *slog.Logger) error {
	files, err := os.ReadDir(s.runs)
	if err != nil {
		return fmt.Errorf("look for what an earlier run left behind: %w", err)
	}
	for _, f := range files {
		name := filepath.Join(s.runs, f.Name())
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("look for what an earlier run left behind: %w", err)
		}
		var r run
		// A file that was cut short tells nothing; the parent's death ended its
		// process.
		if json.Unmarshal(b, &r) == nil && r.PID != 1 && r.Instance != "" && r.Boot == bootID() {
			if n := r.end(); n > 0 {
				log.Warn("ended what an earlier run left behind", "instance", r.Instance, "processes", n)
			}
		}
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("forget an instance of an earlier run: %w", err)
		}
	}
	return nil
}

// end kills the instance's process group if the process is still the one that was
// started, and all that carries the instance's mark. It returns how many it killed.
func (r run) end() (n int) {
	if start, err := startOf(r.PID); r.PID > 1 && err == nil && start == r.Start {
		if syscall.Kill(-r.PID, syscall.SIGKILL) == nil {
			n++
		}
	}
	return n + killMarked(r.Instance, 0)
}

// record writes an instance's run file. The number is 0 while it is not known.
func (s *state) record(id string, pid int) error {
	start := ""
	if pid != 0 {
		var err error
		if start, err = startOf(pid); err != nil {
			return fmt.Errorf("find when process %d started: %w", pid, err)
		}
	}
	b, err := json.Marshal(run{Instance: id, PID: pid, Start: start, Boot: bootID()})
	if err != nil {
		return fmt.Errorf("write the run file of %s: %w", id, err)
	}
	if err := os.WriteFile(s.file(id), b, 0o644); err != nil {
		return fmt.Errorf("write the run file of %s: %w", id, err)
	}
	return nil
}

// forget removes it. One that stays is found to be of no process at the next start.
func (s *state) forget(id string) { _ = os.Remove(s.file(id)) }

func (s *state) file(id string) string { return filepath.Join(s.runs, id+".json") }

func (s *state) close() { _ = s.lock.Close() }
