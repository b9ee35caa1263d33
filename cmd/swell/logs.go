package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"swell/internal/web"
)

func logsCommand(g *globals) *cobra.Command {
	var q web.LogQuery
	var follow bool
	cmd := g.shows(&cobra.Command{
		Use:   "logs [SERVICE]",
		Short: "What the instances write",
		Example: `  swell logs
  swell logs catalog -f
  swell logs --grep timeout -n 50
  swell logs -o json | jq .text`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				q.Service = args[0]
			}
			out := cmd.OutOrStdout()
			if follow {
				return g.client().FollowLogs(cmd.Context(), q, func(lines []web.Line) error { return g.writeLines(out, lines) })
			}
			lines, err := g.client().Logs(cmd.Context(), q)
			if err != nil {
				return err
			}
			return g.writeLines(out, lines)
		},
	})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new lines")
	cmd.Flags().IntVarP(&q.N, "lines", "n", 200, "how many of the last lines")
	cmd.Flags().StringVar(&q.Q, "grep", "", "only lines that hold this text")
	cmd.Flags().StringVar(&q.Instance, "instance", "", "only this instance's")
	return cmd
}

// writeLines writes lines for people, one JSON value a line, or entries of
// one YAML list.
func (g *globals) writeLines(w io.Writer, lines []web.Line) error {
	k := talk(w)
	for _, l := range lines {
		var err error
		switch g.output {
		case "json":
			err = json.NewEncoder(w).Encode(l)
		case "yaml":
			err = writeYAML(w, []web.Line{l})
		default:
			name := k.cyan(l.Instance)
			text := l.Text
			if l.Stream == "swell" {
				text = k.yellow(text)
			}
			_, err = fmt.Fprintf(w, "%s %s %s\n", k.dim(l.At.Local().Format("15:04:05.000")), name, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
