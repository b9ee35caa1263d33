package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"swell/internal/life"
	"swell/internal/web"
)

func topCommand(g *globals) *cobra.Command {
	return g.shows(&cobra.Command{
		Use:   "top",
		Short: "How hot it runs: the table of services, live",
		Long:  "Shows the table of services and the last decisions, live on a terminal; elsewhere it prints the table once.",
		Example: `  swell top
  swell top -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			scr := newScreen(os.Stdout, g.output != "table", stop)
			if scr.Plain() {
				var frame web.Frame
				once, done := context.WithTimeout(ctx, 5*time.Second)
				defer done()
				err := g.client().Stream(once, func(f web.Frame) error { frame = f; done(); return nil })
				if frame.At.IsZero() {
					return err
				}
				return g.show(cmd.OutOrStdout(), frame, func(t *grid) { serviceTable(t, frame.Services) })
			}
			if _, err := g.client().App(ctx); err != nil {
				return err // before the terminal is taken
			}
			return life.Run(ctx,
				life.Layer{{Name: "terminal", Run: scr.Run}},
				life.Layer{{Name: "stream", Run: func(ctx context.Context) error {
					return g.client().Stream(ctx, func(f web.Frame) error { scr.Show(f); return nil })
				}}})
		},
	})
}
