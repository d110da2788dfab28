package inject

import (
	"encoding/binary"

	"github.com/google/gopacket/layers"
)

// MSS is the TCP option of the maximum segment size, which belongs into a SYN.
//
// TCP options are for TCP.Options and the change Options. Whatever has no function here can be written as a
// layers.TCPOption; lengths and padding are filled in.
func MSS(n uint16) layers.TCPOption {
	return tcpOption(layers.TCPOptionKindMSS, binary.BigEndian.AppendUint16(nil, n))
}

// WindowScale is the TCP option of the number of bits by which later windows are shifted, which belongs into a SYN.
func WindowScale(shift uint8) layers.TCPOption {
	return tcpOption(layers.TCPOptionKindWindowScale, []byte{shift})
}

// SACKPermitted is the TCP option that offers to understand SACK, which belongs into a SYN.
func SACKPermitted() layers.TCPOption { return tcpOption(layers.TCPOptionKindSACKPermitted, nil) }

// SACK is the TCP option that acknowledges blocks, each from its first sequence number up to, and without, its last.
func SACK(blocks ...[2]uint32) layers.TCPOption {
	var b []byte
	for _, block := range blocks {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, block[0]), block[1])
	}
	return tcpOption(layers.TCPOptionKindSACK, b)
}

// Timestamps is the TCP option of the sender's clock and the last one that it heard from the other side.
func Timestamps(val, ecr uint32) layers.TCPOption {
	b := binary.BigEndian.AppendUint32(nil, val)
	return tcpOption(layers.TCPOptionKindTimestamps, binary.BigEndian.AppendUint32(b, ecr))
}

// NOP is the TCP option of one byte that means nothing and aligns the next.
func NOP() layers.TCPOption {
	return layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
}

func tcpOption(kind layers.TCPOptionKind, data []byte) layers.TCPOption {
	return layers.TCPOption{OptionType: kind, OptionLength: uint8(2 + len(data)), OptionData: data}
}
