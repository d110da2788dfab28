package pcapfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/gopacket/gopacket/pcapgo"
)

// nextOfPcap reads the header of a pcap file and returns what reads its packets.
func nextOfPcap(b *bufio.Reader) (func() (record, error), error) {
	r, err := pcapgo.NewReader(b)
	if err != nil {
		return nil, truncated(err)
	}
	r.SetSnaplen(min(r.Snaplen(), maxPacket))
	return func() (record, error) {
		data, ci, err := r.ZeroCopyReadPacketData()
		if errors.Is(err, io.EOF) && ci.CaptureLength > 0 {
			err = io.ErrUnexpectedEOF // right behind the packet's header
		}
		if err != nil {
			return record{}, truncated(err)
		}
		return record{time: ci.Timestamp, linkType: r.LinkType(), data: data, length: ci.Length}, nil
	}, nil
}

// errTruncated is not io.ErrUnexpectedEOF itself, which pcapgo takes for the end of the file where a block begins.
var errTruncated = fmt.Errorf("the file is truncated: %w", io.ErrUnexpectedEOF)

// truncated says of a file that ends too early that it does.
func truncated(err error) error {
	if err == io.ErrUnexpectedEOF {
		return errTruncated
	}
	return err
}
