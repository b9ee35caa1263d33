package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func scaleCommand(g *globals) *cobra.Command {
	var life time.Duration
	cmd := &cobra.Command{
		Use:   "scale SERVICE=N …",
		Short: "A floor by hand: at least N instances, for a while",
		Long: `Keeps at least N instances of a service until the time is over, whatever the
autoscaler wants; it may still have more. N = 0 takes the floor back.`,
		Example: `  swell scale catalog=4
  swell scale catalog=4 cart=2 --for 1h
  swell scale catalog=0`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, a := range args {
				name, count, ok := strings.Cut(a, "=")
				n, err := strconv.Atoi(count)
				if !ok || name == "" || err != nil || n < 0 {
					return withCode(exitUsage, fmt.Errorf("%q is not SERVICE=N, as in catalog=4", a))
				}
				r, err := g.client().Scale(cmd.Context(), name, n, life)
				if err != nil {
					return err
				}
				if n == 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: no floor\n", r.Service)
				} else {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: at least %d until %s\n", r.Service, r.Replicas, r.Until.Local().Format("15:04:05"))
				}
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&life, "for", 10*time.Minute, "how long the floor holds")
	cmd.Flags().Lookup("for").DefValue = "10m"
	return cmd
}
