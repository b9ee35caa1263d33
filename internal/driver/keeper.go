package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Instances must not be left behind when Swell is killed outright. The kernel can
// see to that (a parent-death signal), but then they can't outlive an upgrade
// either. So a keeper does: a process that does nothing but wait for the end of a
// pipe, and then ends all that the run files name. Whoever takes the instances over
// has a keeper of its own, and the one before is dismissed.

// keeperSign is what a keeper signs the lock with.
const keeperSign = "keeper"

// dismissal is what a keeper is told, after whose it is, when there is nothing for it
// to do.
const dismissal = 'd'

// patienceForEnd is how long a keeper waits for the lock of a Swell that ends.
const patienceForEnd = time.Minute

// Keep is the keeper of the state directory dir: it waits for the end of in, and
// ends the instances whose run files it finds then, unless it was dismissed or
// another Swell is there already. It ignores the signals that end programs: it is to
// be the last to go.
func Keep(dir string, in io.Reader, log *slog.Logger) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	told, err := io.ReadAll(io.LimitReader(in, 64))
	if err != nil {
		return fmt.Errorf("wait for Swell's end: %w", err)
	}
	master, last, _ := strings.Cut(string(told), "\n")
	if last != "" {
		return nil // dismissed
	}
	s := &state{runs: filepath.Join(dir, "run")}
	// The pipe may end before the lock, as the system ends a process step by step: as
	// long as the lock is signed by it, it is waited for.
	if err := s.take(dir, keeperSign, master, patienceForEnd); err != nil {
		if errors.Is(err, errInUse) {
			return nil // it has seen to what was left behind
		}
		return err
	}
	defer s.close()
	return s.clean(log)
}

// keeper is the keeper of this process's instances. A nil keeper is none.
type keeper struct {
	cancel context.CancelFunc
	ended  chan struct{}
	once   sync.Once
}

// newKeeper runs the command until dismiss, again and again if it must be. The first
// is there when it returns, if there can be any.
func newKeeper(command []string, log *slog.Logger) *keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &keeper{cancel: cancel, ended: make(chan struct{})}
	cmd, pipe, err := startKeeper(command)
	go func() {
		defer close(k.ended)
		again := time.NewTimer(time.Hour)
		defer again.Stop()
		for first := true; ; first = false {
			if err == nil {
				err = attendKeeper(ctx, cmd, pipe)
			}
			if ctx.Err() != nil {
				return
			}
			if first {
				log.Warn("there is no keeper; until there is, a Swell that is killed leaves its instances to the next start", "error", err)
			}
			again.Reset(time.Second)
			select {
			case <-ctx.Done():
				return
			case <-again.C:
			}
			cmd, pipe, err = startKeeper(command)
		}
	}()
	return k
}

// startKeeper starts one; the pipe tells it of our end.
func startKeeper(command []string) (*exec.Cmd, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start the keeper: %w", err)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stderr = r, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal's signals
	_, err = fmt.Fprintf(w, "%d\n", os.Getpid())
	if err == nil {
		err = cmd.Start()
	}
	_ = r.Close()
	if err != nil {
		_ = w.Close()
		return nil, nil, fmt.Errorf("start the keeper: %w", err)
	}
	return cmd, w, nil
}

// attendKeeper waits until the keeper ends, or ctx does, when it is dismissed.
func attendKeeper(ctx context.Context, cmd *exec.Cmd, pipe *os.File) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		_ = pipe.Close()
		return errors.Join(errors.New("the keeper ended"), err)
	case <-ctx.Done():
		_, _ = pipe.Write([]byte{dismissal}) // its only error is that it has ended
		_ = pipe.Close()
		<-ended
		return nil
	}
}

// dismiss ends the keeper, which then ends nothing.
func (k *keeper) dismiss() {
	if k == nil {
		return
	}
	k.once.Do(k.cancel)
	<-k.ended
}
