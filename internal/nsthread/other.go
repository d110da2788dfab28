//go:build !linux

// Package nsthread runs functions on operating system threads in another network namespace. It is empty on systems
// other than Linux.
package nsthread
