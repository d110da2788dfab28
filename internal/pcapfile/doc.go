// Package pcapfile reads recorded packets from pcap and pcapng files, one after the other, in memory that does not grow with
// the file: when they were seen, at which link, in which direction, and the packet without its link layer.
//
// The formats are pcapgo's to understand. What it takes on trust is checked before it sees it: the frame of each block of
// a pcapng file, and the lengths that a file claims.
package pcapfile
