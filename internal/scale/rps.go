package scale

import "fmt"

// rps wants so many instances that each gets the target rate of requests.
func rps(v *view) (want, bool) {
	target := v.scale.Targets.RPS
	if target <= 0 {
		return want{}, false
	}
	w := want{by: "rps", capacity: target, most: target, unit: target,
		target: number(target) + " requests/s for an instance",
		text:   fmt.Sprintf("an instance is to get %s/s", number(target))}
	// Without a queue target·base are in flight; three times that may be chance.
	w.holds = 2 + 3*target*max(v.cap.base, 0)
	return w, true
}
