// Package pcapng writes captured packets as a pcapng file, the format of Wireshark, tshark and capinfos
// (draft-ietf-opsawg-pcapng): with the name of the link that each packet went over, its direction and a comment.
package pcapng
