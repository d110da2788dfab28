// Package pktline prints a packet as one line in the manner of tcpdump and decodes it with gopacket, for inject and
// observe alike. It takes whatever bytes there are: what is cut short or makes no sense is said in the line.
package pktline
