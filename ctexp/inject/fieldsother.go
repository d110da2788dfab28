package inject

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/internal/pktline"
)

func (l *fieldList) sctp(b []byte) {
	l.add("tag", "%d", binary.BigEndian.Uint32(b[4:]))
	chunks := b[12:]
	for i, text := range pktline.Chunks(chunks) {
		l.add(fmt.Sprintf("chunk %d", i+1), "%s", text)
	}
	l.addBytes("chunks", chunks)
}

func (l *fieldList) dccp(b []byte) {
	typ := DCCPType(b[8] >> 1 & 15)
	l.add("type", "%v", typ)
	l.add("data offset", "%d", b[4])
	l.add("ccval", "%d", b[5]>>4)
	l.add("cscov", "%d", b[5]&15)
	n := max(12, int(b[4])*4)
	if b[8]&1 == 0 || n < 16 {
		l.add("seq", "%d", uint32(b[9])<<16|uint32(binary.BigEndian.Uint16(b[10:])))
		l.addBytes("header", b[12:n])
		return
	}
	l.add("seq", "%d", binary.BigEndian.Uint64(b[8:])&(1<<48-1))
	at := 16
	if typ != DCCPRequest && typ != DCCPData && n >= at+8 {
		l.add("ack", "%d", binary.BigEndian.Uint64(b[at:])&(1<<48-1))
		at += 8
	}
	if n >= at+4 {
		switch typ {
		case DCCPRequest, DCCPResponse:
			l.add("service", "%d", binary.BigEndian.Uint32(b[at:]))
			at += 4
		case DCCPReset:
			l.add("reset code", "%d", b[at])
			at += 4
		}
	}
	if at < n {
		l.addBytes("options", b[at:n])
	}
}

func (l *fieldList) gre(b []byte) {
	l.add("gre version", "%d", b[1]&7)
	l.add("gre flags", "%#04x", binary.BigEndian.Uint16(b)&^7)
	l.add("gre protocol", "%#04x", binary.BigEndian.Uint16(b[2:]))
	for _, f := range []struct {
		name  string
		field int
	}{{"key", greKey}, {"seq", greSeq}, {"ack", greAck}} {
		if at := greField(b, f.field); at > 0 {
			l.add(f.name, "%d", binary.BigEndian.Uint32(b[at:]))
		}
	}
}
