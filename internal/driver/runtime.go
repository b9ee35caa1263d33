package driver

import (
	"context"
	"fmt"
	"time"

	"swell"
)

// Runtime starts and ends single instances; the supervisor makes a driver of it.
// Its methods may be called from several goroutines. The simulation, in
// simulated.go, is the worked example; drivertest is the contract.
type Runtime interface {
	// Open makes the runtime usable: it takes its locks and ends what an earlier
	// run left behind. The returned func gives everything back and waits for
	// whatever the runtime started; it is called once all instances have ended.
	Open() (func(), error)

	// Check tells why the workload can't be started here, in a sentence for the
	// people who wrote it; nil if nothing speaks against it.
	Check(w swell.Workload) error

	// Start starts one instance, and doesn't wait for it to be ready. id is new.
	// A *PortHeld error means that another instance must end first.
	Start(id string, slot int, w swell.Workload, out Output) (Running, Place, error)

	// Usage measures every running instance since the call before.
	Usage() []Usage
}

// Running is one started instance.
type Running interface {
	// Probe checks once whether the instance can serve; it ends when ctx does.
	Probe(ctx context.Context, h swell.Health) error

	// End asks the instance to end, or kills it. It may be called often, and
	// after the end.
	End(kill bool)

	// Exited gets one value once nothing of the instance is left.
	Exited() <-chan Exit
}

// Place is where a started instance is.
type Place struct {
	Addr string // host:port
	PID  int    // 0 if it is no process
}

// Exit says how an instance ended.
type Exit struct {
	Reason string // "exited with code 1", "killed by SIGKILL"
	Last   string // the last line on its standard error; "" if it wrote none
}

// Usage is what an instance used over a window of time.
type Usage struct {
	ID     string
	Window time.Duration
	CPU    float64 // cores, mean over the window
	Memory int64   // bytes resident, at its end
}

// Output takes what an instance says.
type Output interface {
	// Line takes one line without its end. It doesn't block and keeps no text.
	Line(stream string, text []byte)
}

// PortHeld is the error of a start on a fixed port that another instance holds.
type PortHeld struct {
	Port int
	By   string // the instance
}

// Error implements error.
func (e *PortHeld) Error() string {
	return fmt.Sprintf("port %d is fixed and instance %s listens there; a program that listens on $PORT instead can have any number of instances", e.Port, e.By)
}
