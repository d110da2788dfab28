// Command ctexp-vm runs a test binary or a program under another Linux kernel, in a virtual machine without any image:
//
//	go test -exec 'ctexp-vm -kernel 6.1' ./...
//	go run -exec 'ctexp-vm -kernel 5.10' ./examples/tales
//
// The kernel comes from Debian's packages, which are unpacked into the user's cache and never installed; see "ctexp-vm
// kernels". It is booted by QEMU from an initramfs made on the fly: the binary, the folder of its Go module, the kernel's
// modules, and the programs that tests use (nft, iptables, ip, tc, conntrack, sh) with their libraries. The binary has its
// arguments, environment, working directory and exit status as without it; what it writes is shown at once, and files that
// go test asks for (profiles, coverage, the output directory) come back.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	switch {
	case os.Getpid() == 1:
		guest()
	case filepath.Base(os.Args[0]) == "modprobe":
		os.Exit(modprobe(os.Args[1:]))
	case len(os.Args) > 1 && os.Args[1] == "kernels":
		os.Exit(exitStatus(kernels(os.Args[2:])))
	default:
		status, err := run(os.Args[1:])
		if err != nil {
			status = exitStatus(err)
		}
		os.Exit(status)
	}
}

// failed is the exit status if there is no result, as of docker run.
const failed = 125

func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "ctexp-vm:", err)
	return failed
}
