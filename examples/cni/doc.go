// Package cni tests CNI plugins as they are installed: a node and a pod are an Env each, and the plugins join them. It needs
// Debian's containernetworking-plugins.
package cni
