package swell

import "context"

// Driver makes workloads true on a runtime and tells what it sees.
// One goroutine calls Apply; Watch may be called by several.
type Driver interface {
	// Apply hands over the complete set of workloads, sorted by service and
	// revision; what is not in it ends. It is idempotent and returns once the set
	// is accepted, not once it is true. An error names the workload that can't be
	// accepted; the others are.
	Apply(ctx context.Context, want []Workload) error

	// Watch calls seen with the complete set of instances, sorted by ID, first at
	// once and then after every change, until ctx ends or seen fails, whose error
	// it returns. Slow readers miss steps in between, never the newest.
	Watch(ctx context.Context, seen func([]Instance) error) error
}

// Feed brings snapshots to a data plane.
type Feed interface {
	// Follow calls use with the newest snapshot, first at once if there is one,
	// then after every change, until ctx ends. An error of use is the data
	// plane's refusal: it goes back to the control plane, and Follow goes on.
	Follow(ctx context.Context, use func(*Snapshot) error) error
}

// Sink takes signals from data planes and drivers.
type Sink interface {
	// Report hands over what was measured; newer signals of the same source,
	// service and instance replace older ones. It does not block for long.
	Report(ctx context.Context, signals []Signal) error
}
