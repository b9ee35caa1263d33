package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"swell/internal/web"
)

func routesCommand(g *globals) *cobra.Command {
	method := "GET"
	cmd := g.shows(&cobra.Command{
		Use:   "routes [URL]",
		Short: "The compiled route table, or which route a URL would take",
		Example: `  swell routes
  swell routes http://localhost:8080/api/catalog/7
  swell routes /api/cart/items -X POST`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				m, err := g.client().Match(cmd.Context(), method, args[0])
				if err != nil {
					return err
				}
				if err := g.show(cmd.OutOrStdout(), m, func(t *grid) {
					if m.Route == nil {
						t.say("no route takes %s %s: it would be answered 404 or 405", m.Method, m.URL)
						return
					}
					routeTable(t, []web.Route{*m.Route})
				}); err != nil {
					return err
				}
				if m.Route == nil {
					return withCode(exitFailed, fmt.Errorf("no route takes %s %s", m.Method, m.URL))
				}
				return nil
			}
			list, err := g.client().Routes(cmd.Context())
			if err != nil {
				return err
			}
			return g.show(cmd.OutOrStdout(), list, func(t *grid) { routeTable(t, list) })
		},
	})
	cmd.Flags().StringVarP(&method, "method", "X", "GET", "the request's method")
	return cmd
}

func routeTable(t *grid, list []web.Route) {
	t.head("ROUTE", "MATCH", "TO", "FILTERS", "RATE/S", "ERR/S", "P95")
	for _, r := range list {
		var to []string
		for _, x := range r.To {
			if len(r.To) == 1 {
				to = append(to, x.Service)
			} else {
				to = append(to, fmt.Sprintf("%s %.3g%%", x.Service, x.Share*100))
			}
		}
		if r.Redirect != "" {
			to = []string{r.Redirect}
		}
		t.row(t.ink.bold(r.Name), r.Match, strings.Join(to, ", "), strings.Join(r.Use, " "), rate(r.Rate), rate(r.Errors), seconds(r.P95))
	}
	if len(list) == 0 {
		t.say("no routes")
	}
}
