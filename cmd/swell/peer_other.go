//go:build !linux

package main

import "net"

// ours would be asked after an upgrade alone, which there is on Linux alone.
func ours(*net.UnixConn) bool { return false }
