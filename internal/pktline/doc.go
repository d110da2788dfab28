// Package pktline formats packets as lines like tcpdump's: Format for IP packets, FormatFrame for Ethernet frames.
// Decode decodes a packet with gopacket. All of them accept any bytes: the line says what is truncated or invalid.
package pktline
