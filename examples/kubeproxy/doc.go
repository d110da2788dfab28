// Package kubeproxy tests the proxier of kube-proxy, as it is, in its nftables mode: with real packets to a Service, and with
// the entry that it must delete when an endpoint goes away. It is a module of its own, so that nobody else gets what Kubernetes
// depends on.
//
// To test another proxier in this way, exchange kubeProxy.
package kubeproxy
