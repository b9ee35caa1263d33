package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"swell/internal/bench"
)

// completionTime bounds how long a Tab waits for the running swell.
const completionTime = 300 * time.Millisecond

// completer offers what may stand at a place of a command line.
type completer = func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective)

// oneService offers the names of the running swell's services as the first
// argument. Where no swell runs it offers nothing: a Tab is no place for an error.
func (g *globals) oneService(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return g.services(cmd, ""), cobra.ShellCompDirectiveNoFileComp
}

// floors offers SERVICE= for each service that has no floor on the line yet.
func (g *globals) floors(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	given := map[string]bool{}
	for _, a := range args {
		name, _, _ := strings.Cut(a, "=")
		given[name+"="] = true
	}
	var out []cobra.Completion
	for _, c := range g.services(cmd, "=") {
		if !given[c] {
			out = append(out, c)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func (g *globals) services(cmd *cobra.Command, suffix string) []cobra.Completion {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	list, err := g.client().Services(ctx)
	if err != nil {
		return nil
	}
	var out []cobra.Completion
	for _, s := range list {
		out = append(out, s.Name+suffix)
	}
	return out
}

// ofManifests offers YAML files and folders.
func ofManifests(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// flagValues are the flags whose values are known beforehand, of any command.
var flagValues = map[string][]cobra.Completion{
	"output":     {"table", "json", "yaml"},
	"log-format": {"text", "json"},
	"shape":      bench.ShapeNames,
	"load":       bench.ShapeNames,
	"method":     {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"},
}

// completes gives every command of the tree what completes it.
func (g *globals) completes(root *cobra.Command) {
	arguments := map[string]completer{
		"status": g.oneService, "logs": g.oneService, "explain": g.oneService, "scale": g.floors,
		"up": ofManifests, "validate": ofManifests, "fmt": ofManifests,
	}
	for _, c := range root.Commands() {
		if f, ok := arguments[c.Name()]; ok {
			c.ValidArgsFunction = f
		} else if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
			c.ValidArgsFunction = cobra.NoFileCompletions
		}
		for name, values := range flagValues {
			if _, own := c.GetFlagCompletionFunc(name); own || c.Flags().Lookup(name) == nil {
				continue
			}
			if err := c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
				panic(err) // the same flag twice
			}
		}
	}
}

// usageErrors makes every mistake in a command's words, its own and those of the
// commands under it, end with exit code 64 and say where help is.
func usageErrors(c *cobra.Command) {
	if c.HasSubCommands() && c.Run == nil && c.RunE == nil {
		c.Args = knownCommand
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		c.DisableFlagsInUseLine = true
	} else if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, got []string) error {
			if err := check(cmd, got); err != nil {
				return withCode(exitUsage, fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

// knownCommand refuses words after a command that only groups others: one that is
// meant would have been found.
func knownCommand(cmd *cobra.Command, words []string) error {
	if len(words) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	hint := "; see "
	if near := cmd.SuggestionsFor(words[0]); len(near) > 0 {
		hint = `; did you mean "` + strings.Join(near, `" or "`) + `"? See `
	}
	return withCode(exitUsage, fmt.Errorf("%s has no command %q%s%s --help", cmd.CommandPath(), words[0], hint, cmd.CommandPath()))
}
