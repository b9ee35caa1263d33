//go:build !linux

package driver

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// canKeep: processes that are no children can't be watched here without races, so
// that instances never outlive the process that started them.
const canKeep = false

func openPidfd(int) (int, error) { return -1, unix.ENOSYS }

func closePidfd(int) {}

func awaitPidfd(int) {}

func signalGroup(int, syscall.Signal) bool { return true }

func sameGroup(int) bool { return false }

func exitOf(int) string { return "ended" }
