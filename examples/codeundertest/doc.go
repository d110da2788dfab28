// Package codeundertest is an agent that enforces network policies, in the style of kube-network-policies, and its tests: the
// agent runs in the process of the tests, with goroutines of its own, and as a process. It knows nothing of ctexp.
//
// The agent sends each new connection that the host forwards to an NFQUEUE and decides about it by a list of servers, which
// may change at any time.
package codeundertest
