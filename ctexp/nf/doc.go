// Package nf has the kernel's nouns that netnsenv, inject and observe share, as plain values: families, hooks,
// protocols, tuples, the status bits and TCP states of an entry, the entry itself and what was expected, and probes. ParseEntries reads
// a table that was written as text.
//
// It imports nothing of ctexp, talks to no kernel and compiles everywhere. All values are comparable by
// ctexp.Diff, print themselves in the words of conntrack and nft, and are safe for concurrent reading.
package nf
