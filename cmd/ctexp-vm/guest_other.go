//go:build !linux

package main

// guest is only for Linux.
func guest() {}

// modprobe is only for Linux.
func modprobe([]string) int { return 1 }
