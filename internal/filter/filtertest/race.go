//go:build race

package filtertest

// raced: the race detector empties pools on purpose, so allocations say nothing.
const raced = true
