package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"swell/internal/web"
)

func explainCommand(g *globals) *cobra.Command {
	n := 5
	cmd := g.shows(&cobra.Command{
		Use:   "explain SERVICE",
		Short: "Why this replica count: signal, target, capacity, limit, result",
		Example: `  swell explain catalog
  swell explain catalog -n 20
  swell explain catalog -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := g.client().Service(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			before, err := g.client().Decisions(cmd.Context(), args[0], n)
			if err != nil {
				return err
			}
			v := struct {
				Service   web.ServiceDetail `json:"service"`
				Decisions []web.Decision    `json:"decisions"`
			}{d, before}
			return g.show(cmd.OutOrStdout(), v, func(t *grid) { explain(t, d, before) })
		},
	})
	cmd.Flags().IntVarP(&n, "decisions", "n", 5, "how many of the last decisions")
	return cmd
}

func explain(t *grid, d web.ServiceDetail, before []web.Decision) {
	k := t.ink
	t.say("%s  %s, %d ready of %d wanted, between %d and %d", k.bold(d.Name), k.status(string(d.Status)), d.Ready, d.Desired, d.Min, d.Max)
	if len(d.Goals) > 0 {
		t.say("goals  %s", strings.Join(d.Goals, ", "))
	}
	if d.Decision == nil {
		t.say("nothing was decided yet")
		return
	}
	t.say("")
	t.say("%s  %d by %s: %s", k.bold("now"), d.Decision.Replicas, d.Decision.By, d.Decision.Reason)
	for _, s := range d.Decision.Steps {
		t.say("  %s  %s", k.cyan(fmt.Sprintf("%-10s", s.Name)), s.Text)
	}
	if len(before) == 0 {
		return
	}
	t.say("")
	t.say("%s", k.bold("the last decisions that changed something"))
	for _, x := range before {
		from := "  "
		if x.Previous != nil {
			from = fmt.Sprintf("%2d", *x.Previous)
		}
		t.say("  %s  %s → %-2d  %-12s %s", k.dim(x.At.Local().Format("15:04:05")), from, x.Replicas, x.By, x.Reason)
	}
}
