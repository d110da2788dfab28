//go:build !linux

// Package nsthread runs functions on operating system threads that are in another network namespace than the process:
// on Linux; elsewhere it is empty.
package nsthread
