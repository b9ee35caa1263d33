package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"swell/internal/web"
)

// frameMsg brings the newest state to the live table.
type frameMsg web.Frame

// footMsg replaces the lines under it.
type footMsg string

// live is the table that redraws itself on a terminal.
type live struct {
	frame     web.Frame
	foot      string
	width     int
	interrupt func()        // called for every Ctrl-C or q
	begin     func() string // called once, when the terminal is ready; what to print first
}

// Init implements [tea.Model].
func (m live) Init() tea.Cmd {
	return func() tea.Msg {
		if text := m.begin(); text != "" {
			return tea.Println(text)()
		}
		return nil
	}
}

// Update implements [tea.Model].
func (m live) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch x := msg.(type) {
	case frameMsg:
		m.frame = web.Frame(x)
	case footMsg:
		m.foot = string(x)
	case tea.WindowSizeMsg:
		m.width = x.Width
	case tea.KeyPressMsg:
		if s := x.String(); s == "ctrl+c" || s == "q" {
			m.interrupt()
		}
	}
	return m, nil
}

// View implements [tea.Model].
func (m live) View() tea.View {
	return tea.NewView(liveText(m.frame, m.foot, m.width, os.Getenv("NO_COLOR") == ""))
}

// liveText is what the live table shows.
func liveText(f web.Frame, foot string, width int, colour ink) string {
	t := &grid{ink: colour}
	if f.Services != nil {
		serviceTable(t, f.Services)
	}
	if f.App.Trouble != "" {
		t.say("%s %s", colour.red("trouble:"), f.App.Trouble)
	}
	for _, s := range f.Services {
		if s.Status == web.Failing {
			for _, i := range f.Instances {
				if i.Service == s.Name && i.Reason != "" {
					t.say("%s %s: %s", colour.red(s.Name), i.ID, i.Reason)
					break
				}
			}
		}
	}
	n := len(f.Decisions)
	for _, d := range f.Decisions[max(0, n-3):] {
		t.say("%s %s → %d  %s", colour.dim(d.At.Local().Format("15:04:05")), d.Service, d.Replicas, d.Reason)
	}
	if foot != "" {
		t.say("%s", foot)
	}
	var b strings.Builder
	_ = t.flush(&b)
	if width <= 0 {
		return b.String()
	}
	lines := strings.Split(b.String(), "\n")
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, width, "…")
	}
	return strings.Join(lines, "\n")
}

// screen is where a long-running command shows what happens: a live table on a
// terminal, plain lines elsewhere.
type screen struct {
	out  io.Writer
	ink  ink
	prog *tea.Program // nil off a terminal

	mu      sync.Mutex
	running bool              // prog takes messages; before and after that it would block
	pending []string          // lines that were written before it ran
	seen    map[string]string // what the plain form said last of each service
}

// newScreen makes a screen on out; plain forces lines. interrupt is called for
// every Ctrl-C that the terminal swallows.
func newScreen(out *os.File, plain bool, interrupt func()) *screen {
	s := &screen{out: out, ink: talk(out), seen: map[string]string{}}
	if !plain && term.IsTerminal(int(out.Fd())) && term.IsTerminal(int(os.Stdin.Fd())) {
		s.prog = tea.NewProgram(live{interrupt: interrupt, begin: s.begin}, tea.WithOutput(out), tea.WithoutSignalHandler())
	}
	return s
}

// Run shows until ctx ends.
func (s *screen) Run(ctx context.Context) error {
	if s.prog == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	// Quit is a message: it can't come before the program runs.
	done := context.AfterFunc(ctx, s.prog.Quit)
	defer done()
	_, err := s.prog.Run()
	s.mu.Lock()
	s.running = false
	rest := s.pending
	s.prog, s.pending = nil, nil
	s.mu.Unlock()
	for _, line := range rest {
		fmt.Fprintln(s.out, line)
	}
	if ctx.Err() == nil && err == nil {
		err = errors.New("the terminal went away")
	}
	return err
}

// begin says that the program runs, and returns what was written before.
func (s *screen) begin() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = true
	text := strings.Join(s.pending, "\n")
	s.pending = nil
	return text
}

// program returns the program if it runs, and whether there will be none.
func (s *screen) program() (p *tea.Program, plain bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return s.prog, false
	}
	return nil, s.prog == nil
}

// Plain reports that there is no live table.
func (s *screen) Plain() bool {
	_, plain := s.program()
	return plain
}

// Show brings the newest state.
func (s *screen) Show(f web.Frame) {
	p, plain := s.program()
	if p != nil {
		p.Send(frameMsg(f))
	}
	if !plain {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range f.Services {
		now := fmt.Sprintf("%s, %d ready of %d", v.Status, v.Ready, v.Desired)
		if s.seen[v.Name] != now {
			s.seen[v.Name] = now
			fmt.Fprintf(s.out, "%s %s: %s\n", time.Now().Format("15:04:05"), v.Name, now)
		}
	}
}

// Foot replaces the lines under the table; off a terminal it is left out.
func (s *screen) Foot(text string) {
	if p, _ := s.program(); p != nil {
		p.Send(footMsg(text))
	}
}

// Write puts whole lines above the table, or out as they are.
func (s *screen) Write(b []byte) (int, error) {
	p, plain := s.program()
	text := strings.TrimRight(string(b), "\n")
	if p != nil {
		p.Println(text)
		return len(b), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !plain {
		s.pending = append(s.pending, text)
		return len(b), nil
	}
	return s.out.Write(b)
}
