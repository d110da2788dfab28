// Package ctnl stands between the nouns of package nf and ctnetlink, the kernel's netlink interface to the conntrack
// table: it converts what ti-mo/conntrack reads and writes, and speaks the one request that ti-mo cannot ask with
// every version of mdlayher/netlink.
package ctnl
