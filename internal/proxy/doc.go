// Package proxy is the data plane: it listens for the gateway and for every edge,
// finds the route of a request, sends it through its filters to an endpoint of its
// service, and drains.
//
// A snapshot is compiled into an immutable table, which one atomic pointer swaps:
// an exchange keeps the routes and filters that it began with. What must outlive a
// snapshot is not in the table: listeners, connections, and the services with
// their endpoints, balancers, health and waiting rooms. So a reload is noticed by
// nobody but those whose route changed.
package proxy
