package scale

import (
	"time"

	"swell"
	"swell/internal/plug"
)

// Policy decides the replica count of one service; a value is of one service and
// remembers what it needs from decision to decision. Equal inputs in an equal
// order give equal decisions. Decide may be called at any time, about once a
// second; Input.Now must not run backwards. What Input holds is the caller's again
// when Decide returns.
type Policy interface {
	Decide(in Input) swell.Decision
}

// Paced is a policy that looks only every so often: who asks it no more often than
// Every, with measurements that are means since it was last asked, gets the same
// decisions at less cost.
type Paced interface {
	Policy
	Every() time.Duration
}

// Maker makes a policy that knows nothing yet.
type Maker func() Policy

// Default is the policy of a service that names none.
const Default = "auto"

// Kind returns the policies that can be named.
func Kind() *plug.Kind[Maker] {
	return plug.NewKind("policy", autoEntry(), hpaEntry(), kpaEntry(), kedaEntry(), weekMaxEntry())
}

func autoEntry() plug.Entry[Maker] {
	return plug.Named(Default, "Swell's own: goals or targets of the service, capacity and start-up time learned.", struct{}{},
		func(struct{}) (Maker, error) { return func() Policy { return &auto{} }, nil })
}

// auto is the law of [Decide] with its state.
type auto struct{ state State }

func (a *auto) Decide(in Input) swell.Decision { return Decide(in, &a.state) }

// Capacity returns what was learned of one instance.
func (a *auto) Capacity() *Capacity { return a.state.Capacity() }
