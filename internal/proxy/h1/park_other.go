//go:build !linux

package h1

import "errors"

var errParked = errors.New("there is no epoll here")

// poller is Linux's; elsewhere connections keep their goroutines.
type poller struct{}

func newPoller() (*poller, error)    { return nil, errParked }
func (*poller) wait(int, bool) error { return errParked }
func (*poller) run(func(fd int32))   {}
func (*poller) close()               {}
