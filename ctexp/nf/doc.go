// Package nf has the netfilter types that netnsenv, inject and observe share. An Entry is an entry of the conntrack
// table, a Tuple one direction of its flow, and a Probe a point in the ruleset where packets are counted. ParseEntries
// reads a table from text.
//
// The package makes no system calls and compiles on every system. All its types are plain values: ctexp.Diff compares
// them, their String methods use the words of conntrack and nft, and they are safe for concurrent reading.
package nf
