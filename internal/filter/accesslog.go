package filter

import (
	"fmt"

	"swell/internal/exchange"
	"swell/internal/plug"
)

// AccessLogOptions are the options of access-log.
//
// Lines that tools for web servers read:
//
//	access-log: {format: common}
type AccessLogOptions struct {
	Format string `json:"format" doc:"json, or common for the Common Log Format." enum:"json,common"`
}

func accessLogEntry() plug.Entry[Maker] {
	return plug.Named("access-log", "Writes a line for every request once its answer has been sent.",
		AccessLogOptions{Format: "json"}, func(o AccessLogOptions) (Maker, error) {
			if known := []string{"common", "json"}; o.Format != known[0] && o.Format != known[1] {
				return nil, fmt.Errorf("no format is named %q%s", o.Format, plug.Suggest(o.Format, known))
			}
			return func(env Env) Filter {
				line := env.complete().Log(o.Format)
				return func(next Round) Round {
					return func(x *exchange.Exchange) error {
						x.Ended = append(x.Ended, line)
						return next(x)
					}
				}
			}, nil
		})
}
