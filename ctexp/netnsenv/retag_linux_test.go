package netnsenv

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// auxiliary returns the ancillary data of a frame whose tag the kernel has removed: tpacket_auxdata in a cmsghdr
// (include/uapi/linux/if_packet.h).
func auxiliary(status uint32, tci, tpid uint16) []byte {
	native := binary.NativeEndian
	b := make([]byte, unix.CmsgSpace(20))
	if unix.SizeofCmsghdr == 16 {
		native.PutUint64(b, uint64(unix.CmsgLen(20)))
	} else {
		native.PutUint32(b, uint32(unix.CmsgLen(20)))
	}
	native.PutUint32(b[unix.SizeofCmsghdr-8:], unix.SOL_PACKET)
	native.PutUint32(b[unix.SizeofCmsghdr-4:], unix.PACKET_AUXDATA)
	d := b[unix.CmsgLen(0):]
	native.PutUint32(d, status)
	native.PutUint16(d[16:], tci)
	native.PutUint16(d[18:], tpid)
	return b
}

func TestTagIsInserted(t *testing.T) {
	t.Parallel()
	const valid, typed = unix.TP_STATUS_VLAN_VALID, unix.TP_STATUS_VLAN_TPID_VALID
	plain := "destinsource\x08\x00payload"
	for name, c := range map[string]struct {
		frame string
		oob   []byte
		want  string
	}{
		"no tag":           {plain, auxiliary(0, 5, 0x8100), plain},
		"nothing about it": {plain, nil, plain},
		"garbage":          {plain, []byte{1, 2, 3}, plain},
		"a tag":            {plain, auxiliary(valid|typed, 5, 0x8100), "destinsource\x81\x00\x00\x05\x08\x00payload"},
		"a provider's tag": {plain, auxiliary(valid|typed, 5, 0x88a8), "destinsource\x88\xa8\x00\x05\x08\x00payload"},
		"a tag of no type": {plain, auxiliary(valid, 5, 0), "destinsource\x81\x00\x00\x05\x08\x00payload"},
		"half a header":    {plain[:10], auxiliary(valid, 5, 0), plain[:10]},
	} {
		b := make([]byte, 100)
		n := retag(b, copy(b, c.frame), c.oob)
		if diff := cmp.Diff(c.want, string(b[:n])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
