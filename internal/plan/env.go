package plan

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"swell"
)

// resolve returns the service's Run with the edges' variables added and every
// ${edge:NAME.host|port|url} replaced. What the manifest sets wins over what is
// added.
func resolve(svc swell.Service, edges []swell.EdgeAddr) (swell.Run, error) {
	run := svc.Run
	env := map[string]string{}
	for _, callee := range svc.Uses {
		addr, host, port, err := address(svc.Name, callee, edges)
		if err != nil {
			return run, err
		}
		for _, p := range variables(callee, addr, host, port) {
			env[p.Name] = p.Value
		}
	}
	for _, p := range svc.Run.Env {
		v, err := expand(p.Value, svc, edges)
		if err != nil {
			return run, fmt.Errorf("service %s: env %s: %w", svc.Name, p.Name, err)
		}
		env[p.Name] = v
	}
	run.Env = make([]swell.Pair, 0, len(env))
	for k, v := range env {
		run.Env = append(run.Env, swell.Pair{Name: k, Value: v})
	}
	slices.SortFunc(run.Env, func(a, b swell.Pair) int { return cmp.Compare(a.Name, b.Name) })

	run.Command = slices.Clone(run.Command)
	for i, arg := range run.Command {
		v, err := expand(arg, svc, edges)
		if err != nil {
			return run, fmt.Errorf("service %s: command: %w", svc.Name, err)
		}
		run.Command[i] = v
	}
	return run, nil
}

// variables are the names under which programs look for another service: plain
// ones, Kubernetes' and Aspire's.
func variables(callee, addr, host, port string) []swell.Pair {
	upper := strings.ToUpper(strings.ReplaceAll(callee, "-", "_"))
	return []swell.Pair{
		{Name: upper + "_URL", Value: "http://" + addr},
		{Name: upper + "_HOST", Value: host},
		{Name: upper + "_PORT", Value: port},
		{Name: upper + "_SERVICE_HOST", Value: host},
		{Name: upper + "_SERVICE_PORT", Value: port},
		{Name: "services__" + callee + "__http__0", Value: "http://" + addr},
	}
}

func address(caller, callee string, edges []swell.EdgeAddr) (addr, host, port string, err error) {
	for _, e := range edges {
		if e.Caller == caller && e.Callee == callee {
			host, port, err = net.SplitHostPort(e.Addr)
			return e.Addr, host, port, err
		}
	}
	return "", "", "", fmt.Errorf("service %s uses %s, but that edge has no address", caller, callee)
}

// expand replaces every ${edge:NAME.WHAT} in s; all else stays.
func expand(s string, svc swell.Service, edges []swell.EdgeAddr) (string, error) {
	const open = "${edge:"
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, open)
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		ref, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", fmt.Errorf("%q has no closing brace", open+rest)
		}
		name, what, _ := strings.Cut(ref, ".")
		addr, host, port, err := address(svc.Name, name, edges)
		if err != nil {
			return "", err
		}
		switch what {
		case "host":
			b.WriteString(host)
		case "port":
			b.WriteString(port)
		case "url":
			b.WriteString("http://" + addr)
		default:
			return "", fmt.Errorf("${edge:%s}: an edge has host, port and url", ref)
		}
		s = after
	}
}
