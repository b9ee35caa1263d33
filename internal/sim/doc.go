// Package sim runs scaling policies over recorded load in virtual time, and scores
// what they do: the same code as live, one second at a time.
//
// The service is a fluid: what arrives in a second is served at most at the capacity
// of the ready instances, and the rest is a backlog, of which no more is kept than the
// instances work off in some seconds. Load is spread perfectly, and an instance serves
// from the moment that it is ready. See [Options] for what can be chosen, and [Score]
// for what is told.
package sim
