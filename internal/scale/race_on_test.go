//go:build race

package scale

// raced says that the race detector runs. The plant's stories have one goroutine
// each and take ten times as long with it: then one kind of target has to do.
const raced = true
