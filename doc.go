// Package swell holds the words of the project: the nouns that its parts
// exchange, and the few contracts that cross a process or a runtime.
//
// People own the manifest, policies own decisions, drivers own what was seen;
// a pure function turns the three into workloads for runtimes and one snapshot
// for data planes; data planes own nothing but connections and counts, and the
// counts come back as signals.
//
// In those words: an [App] is what people wrote. A [Decision] is what a policy
// concluded for one service. An [Instance] is what a driver saw. Planning turns
// the three into [Workload] values, which a [Driver] makes true, and into one
// [Snapshot], which a [Feed] brings to every data plane. Data planes and drivers
// report [Signal] values to a [Sink], and policies read them.
//
// Every value here is immutable once it was handed on: whoever receives one may
// keep it and read it from any goroutine, and must not change it, nor anything
// that it points to. Every list is sorted by the field that its comment names,
// so that equal meanings are equal values. The package imports the standard
// library alone and has no behaviour.
package swell
