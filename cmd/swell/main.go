// Command swell makes a set of microservices elastic: one binary, one manifest.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"swell/internal/manifest"
	"swell/internal/web"
)

// version is set by the linker; a plain build takes it from the module.
var version = func() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "dev"
}()

// The exit codes.
const (
	exitFailed      = 1
	exitFindings    = 3 // findings, a threshold that was missed
	exitUsage       = 64
	exitManifest    = 65 // the manifest is invalid
	exitUnreachable = 69
	exitInterrupted = 130
)

// coded is an error with the exit code that it ends the process with.
type coded struct {
	code int
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &coded{code, err}
}

func main() { os.Exit(run()) }

// run executes the command line and returns the exit code. The first interrupt
// ends the command's context, so that it drains; the second kills.
func run() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupts
		stop()
		<-interrupts
		killAll()
		os.Exit(exitInterrupted)
	}()

	cmd := rootCommand()
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if c := (*coded)(nil); errors.As(err, &c) {
		if c.err.Error() != "" {
			fmt.Fprintln(os.Stderr, talk(os.Stderr).red("swell:"), c.err)
		}
		return c.code
	}
	fmt.Fprintln(os.Stderr, talk(os.Stderr).red("swell:"), err)
	var invalid *web.Invalid
	var problems manifest.Problems
	switch {
	case errors.As(err, &problems), errors.As(err, &invalid):
		return exitManifest
	case errors.Is(err, web.ErrUnreachable):
		return exitUnreachable
	case ctx.Err() != nil:
		return exitInterrupted
	}
	return exitFailed
}

// globals are the flags that every command has.
type globals struct {
	admin  string
	token  string
	output string
}

func rootCommand() *cobra.Command {
	g := &globals{}
	cmd := &cobra.Command{
		Use:   "swell",
		Short: "Makes a set of microservices elastic: one binary, one manifest",
		Long: `Swell runs your services behind one gateway, finds, balances, protects and
observes them, and gives each as many instances as its load needs.

Write a swell.yaml, then: swell up`,
		Example: `  swell up                      run the application of ./swell.yaml here
  swell status                  what runs
  swell explain catalog         why this replica count
  swell load http://localhost:8080/ --rate 100/s --duration 30s`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.PersistentFlags().StringVar(&g.admin, "admin", "127.0.0.1:7070", "admin address of the running swell")
	cmd.PersistentFlags().StringVar(&g.token, "token", os.Getenv("SWELL_TOKEN"), "bearer token for the admin address, beyond loopback (default $SWELL_TOKEN)")
	cmd.PersistentFlags().Lookup("token").DefValue = ""
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return withCode(exitUsage, fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
	})
	cmd.AddCommand(
		upCommand(g), statusCommand(g), topCommand(g), logsCommand(g), scaleCommand(g),
		explainCommand(g), routesCommand(g), loadCommand(g), simulateCommand(), doctorCommand(g),
		validateCommand(), schemaCommand(), fmtCommand(), keepCommand(),
	)
	cmd.InitDefaultCompletionCmd()
	g.completes(cmd)
	usageErrors(cmd)
	return cmd
}

// client is the client of the running swell.
func (g *globals) client() *web.Client { return web.NewClient(g.admin, g.token) }

// shows adds -o to a command that shows something, and refuses another form
// before anything is asked.
func (g *globals) shows(c *cobra.Command) *cobra.Command {
	c.Flags().StringVarP(&g.output, "output", "o", "table", "table, json or yaml")
	c.PreRunE = func(*cobra.Command, []string) error {
		switch g.output {
		case "table", "json", "yaml":
			return nil
		}
		return withCode(exitUsage, fmt.Errorf("-o %s: there are table, json and yaml", g.output))
	}
	return c
}
