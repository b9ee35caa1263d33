package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"swell/internal/web"
)

func statusCommand(g *globals) *cobra.Command {
	return g.shows(&cobra.Command{
		Use:   "status [SERVICE]",
		Short: "What runs: services, or one service's instances",
		Example: `  swell status
  swell status catalog
  swell status -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				d, err := g.client().Service(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return g.show(cmd.OutOrStdout(), d, func(t *grid) { instanceTable(t, d.Instances, time.Now()) })
			}
			list, err := g.client().Services(cmd.Context())
			if err != nil {
				return err
			}
			return g.show(cmd.OutOrStdout(), list, func(t *grid) { serviceTable(t, list) })
		},
	})
}

// serviceTable is the table of services, of status, top and up.
func serviceTable(t *grid, list []web.Service) {
	t.head("SERVICE", "STATUS", "READY", "RATE/S", "ERR/S", "P50", "P95", "P99", "IN FLIGHT", "WAITING")
	for _, s := range list {
		ready := fmt.Sprintf("%d/%d", s.Ready, s.Desired)
		if s.Status == web.External {
			ready = "–"
		}
		errors := rate(s.Errors)
		if s.Errors > 0 {
			errors = t.ink.red(errors)
		}
		waiting := fmt.Sprint(s.Waiting)
		if s.Waiting > 0 {
			waiting = t.ink.yellow(waiting)
		}
		t.row(t.ink.bold(s.Name), t.ink.status(string(s.Status)), ready, rate(s.Rate), errors,
			seconds(s.P50), seconds(s.P95), seconds(s.P99), fmt.Sprintf("%.1f", s.Inflight), waiting)
	}
	if len(list) == 0 {
		t.say("no services")
	}
}

// instanceTable is the table of one service's instances.
func instanceTable(t *grid, list []web.Instance, now time.Time) {
	t.head("INSTANCE", "STATE", "ADDRESS", "AGE", "RATE/S", "P95", "CPU", "MEMORY", "RESTARTS", "REASON")
	for _, i := range list {
		cpu := fmt.Sprintf("%.0f%%", i.CPU*100)
		t.row(i.ID, t.ink.status(i.State), i.Addr, age(i.Created, now), rate(i.Rate), seconds(i.P95),
			cpu, size(i.Memory), fmt.Sprint(i.Restarts), i.Reason)
	}
	if len(list) == 0 {
		t.say("no instances")
	}
}
