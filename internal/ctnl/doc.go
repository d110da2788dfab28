// Package ctnl stands between the nouns of package nf and ctnetlink, the kernel's netlink interface to the conntrack
// table: it decodes what the kernel tells, asks for entries and lists, writes many entries at once, and converts for
// ti-mo/conntrack, which writes single ones.
package ctnl
