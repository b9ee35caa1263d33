package sim

import (
	"encoding/json"
	"fmt"
	"strings"

	"swell"
	"swell/internal/scale"
	"swell/internal/unit"
)

// Spec is a policy to be simulated: a name that [scale.Kind] knows and, as in
// "hpa@70%", the share of an instance's capacity that it is to use; 0 leaves that to
// the service's own goals and targets, and a policy that must have one to
// [UsualTarget].
type Spec struct {
	Name   string
	Target float64
}

// UsualTarget is what a policy that needs a target aims at where nothing is said.
const UsualTarget = 0.7

// ParseSpecs reads a list of policies with commas between.
func ParseSpecs(s string) ([]Spec, error) {
	var out []Spec
	for _, one := range strings.Split(s, ",") {
		name, target, ok := strings.Cut(strings.TrimSpace(one), "@")
		p := Spec{Name: name}
		if _, err := scale.Kind().Build(name, nil); err != nil {
			return nil, err
		}
		if ok {
			if !strings.HasSuffix(target, "%") {
				target += "%"
			}
			var share unit.Percent
			if err := share.UnmarshalText([]byte(target)); err != nil || share < 0.01 || share > 1 {
				return nil, fmt.Errorf("%q: the target is a share of an instance's capacity from 1%% to 100%%, as in %s@70%%", one, name)
			}
			p.Target = float64(share)
		}
		out = append(out, p)
	}
	return out, nil
}

// String is the spec as it is written.
func (p Spec) String() string {
	if p.Target == 0 {
		return p.Name
	}
	return fmt.Sprintf("%s@%.4g%%", p.Name, 100*p.Target)
}

// make makes the policy, and the service as it is to see it.
func (p Spec) make(o *Options) (scale.Policy, swell.Service, error) {
	svc, target := o.Service, p.Target
	t := &svc.Scale.Targets
	var options any
	own := false // the service has a target for it
	switch p.Name {
	case "hpa":
		own = t.CPU > 0 || t.RPS > 0
	case "kpa":
		own = t.Concurrency > 0
	case "keda", "week-max":
		own = t.RPS > 0
	default:
		own = true
	}
	if target == 0 && !own {
		target = UsualTarget
	}
	if target > 0 {
		switch p.Name {
		case "hpa":
			options = map[string]any{"cpu": unit.Percent(target)}
		case "kpa":
			options = map[string]any{"concurrency": o.workers(), "utilization": unit.Percent(target)}
		case "keda", "week-max":
			options = map[string]any{"rps": unit.Rate(target * o.Capacity)}
		default:
			*t = swell.Targets{RPS: target * o.Capacity}
			svc.Scale.SLO = swell.SLO{}
		}
	}
	var raw json.RawMessage
	if options != nil {
		var err error
		if raw, err = json.Marshal(options); err != nil {
			return nil, svc, fmt.Errorf("options of %s: %w", p.Name, err)
		}
	}
	maker, err := scale.Kind().Build(p.Name, raw)
	if err != nil {
		return nil, svc, err
	}
	return maker(), svc, nil
}
