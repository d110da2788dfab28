// Package xdp drops packets by XDP, for the row of the tales that asks for it. It is a package of its own so that
// nothing else compiles what loads BPF programs.
package xdp
