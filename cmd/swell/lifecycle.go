package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"swell"
	"swell/internal/driver"
	"swell/internal/inherit"
)

// keepCommand is what swell up runs beside itself; nobody types it.
func keepCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "keep DIR",
		Short:  "Stand by to end the instances of a swell that is killed (swell up starts it)",
		Hidden: true,
		Example: `  swell keep .swell
  swell up --state .swell   # what starts it`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return driver.Keep(args[0], os.Stdin, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		},
	}
}

// inherited returns the sockets that this process was given: by the process before
// it, else by systemd.
func inherited(before *predecessor) (*inherit.Sockets, error) {
	if before != nil {
		return before.sockets, nil
	}
	list, err := inherit.Activated()
	if err != nil {
		return nil, fmt.Errorf("take over the sockets of the service manager: %w", err)
	}
	return inherit.NewSockets(list), nil
}

// closeUnused closes the inherited sockets that nothing listens on, and says so:
// somebody expects that connections to them are served.
func closeUnused(s *inherit.Sockets, before *predecessor, log *slog.Logger) {
	for _, x := range s.Close() {
		if before != nil {
			log.Debug("a socket of the process before is not needed any more", "name", x.Name, "address", x.Addr)
			continue
		}
		log.Warn("a socket of the service manager is not used: nothing is to listen there; it is closed", "name", x.Name, "address", x.Addr)
	}
}

// notify tells the service manager, if there is one; that it can't be told is no
// reason to end.
func notify(log *slog.Logger, state string) {
	if err := inherit.Notify(state); err != nil {
		log.Warn("the service manager does not listen", "error", err)
	}
}

// reloading tells the service manager of a reload around it (sd_notify(3)).
func reloading(log *slog.Logger, reload func()) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err == nil {
		notify(log, "RELOADING=1\nMONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10))
	}
	reload()
	notify(log, "READY=1")
}

// writePIDFile writes this process's number, whole or not at all; "" is no file. The
// func that is returned takes the file away if it is still this process's.
func writePIDFile(name string) (func(), error) {
	if name == "" {
		return func() {}, nil
	}
	mine := strconv.Itoa(os.Getpid()) + "\n"
	tmp := name + "." + strings.TrimSpace(mine)
	err := os.WriteFile(tmp, []byte(mine), 0o644)
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return nil, fmt.Errorf("write the PID file: %w", err)
	}
	return func() {
		if b, err := os.ReadFile(name); err == nil && string(b) == mine {
			_ = os.Remove(name)
		}
	}, nil
}

// onSignals upgrades on SIGUSR2, and reloads on SIGHUP unless a terminal sends that
// as it goes away.
func onSignals(ctx context.Context, signals <-chan os.Signal, log *slog.Logger, reload func(), upgrade func() bool) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s := <-signals:
			if s == syscall.SIGHUP {
				reloading(log, reload)
			} else if upgrade() {
				<-ctx.Done()
				return ctx.Err()
			}
		}
	}
}

// lifeSignals are those that onSignals handles.
func lifeSignals() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	if !onTerminal() {
		signal.Notify(c, syscall.SIGHUP)
	}
	return c, func() { signal.Stop(c) }
}

// onTerminal reports whether a person started this at a shell.
func onTerminal() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) || term.IsTerminal(int(os.Stdout.Fd()))
}

// standBy waits, at a terminal, for the end of the process that took over, as the
// shell waits for this one; it passes SIGTERM on, and returns that process's end. (An
// interrupt the terminal sends to both.)
func standBy(s *successor) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	defer signal.Stop(c)
	for {
		select {
		case <-c:
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
		case <-s.exited:
			if exit, ok := errors.AsType[*exec.ExitError](s.err); ok {
				return withCode(max(1, exit.ExitCode()), errors.New(""))
			}
			return s.err
		}
	}
}

// hurry returns a channel that is closed when a process that handed over and drains
// is told to end: so long after it as a drain may take otherwise.
func hurry(ctx context.Context, handed <-chan struct{}, drain time.Duration) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		<-handed
		<-ctx.Done()
		<-time.After(drain)
		close(out)
	}()
	return out
}

// adminListener listens on the admin address, or takes over its socket.
func adminListener(sockets *inherit.Sockets, addr string, before *predecessor) (net.Listener, error) {
	if before != nil {
		if l, err := sockets.Named(before.Admin); l != nil || err != nil {
			return l, err
		}
	}
	if l, err := sockets.Listener(addr); l != nil || err != nil {
		return l, err
	}
	return net.Listen("tcp", addr)
}

// goOn has the stack go on where the process before was. Nothing runs yet.
func (s *stack) goOn(from *predecessor, drv *driver.Driver) error {
	if err := drv.Adopt(from.Driver, from.files); err != nil {
		return err
	}
	seen := make([]swell.Instance, 0, len(from.Driver.Slots))
	for _, x := range from.Driver.Slots {
		seen = append(seen, x.Instance)
	}
	slices.SortFunc(seen, func(a, b swell.Instance) int { return strings.Compare(a.ID, b.ID) })
	s.instances.Set(seen)
	s.scaler.Seed(from.Scaler, time.Now())
	s.control.Previous, s.control.Version = from.Driver.Workloads, from.Snapshot
	return nil
}

// readiness tells why no new request should be sent here; nil if some may.
func (s *stack) readiness(ctx context.Context) error {
	switch app, _ := s.app.Get(); {
	case ctx.Err() != nil:
		return errors.New("draining")
	case app.Name == "":
		return errors.New("no manifest was applied yet")
	case !s.plane.Ready():
		return errors.New("the gateway does not listen yet")
	}
	return nil
}
