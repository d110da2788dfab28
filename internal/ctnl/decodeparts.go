package ctnl

import "github.com/ctexp/go-ctexp/ctexp/nf"

// The attributes within attributes of an entry, (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	helpName = 1
	helpInfo = 2

	countPackets   = 1
	countBytes     = 2
	count32Packets = 3 // of old kernels
	count32Bytes   = 4
	countPad       = 5

	seqPosition = 1 // CTA_SEQADJ_CORRECTION_POS
	seqBefore   = 2
	seqAfter    = 3

	secCtxName = 1

	timeStart = 1
	timeStop  = 2
	timePad   = 3

	proxyISN    = 1
	proxyITS    = 2
	proxyOffset = 3
)

func (d *entryDecoder) help(v value) error {
	return d.nested(v, "helper", func(v value) error {
		switch v.typ {
		case helpName:
			d.e.Helper = v.text()
		case helpInfo: // means something to helpers outside of the kernel only
		default:
			return errPassed
		}
		return nil
	})
}

func (d *entryDecoder) counters(packets, octets *uint64, v value) error {
	return d.nested(v, "counters", func(v value) error {
		switch v.typ {
		case countPackets:
			return v.u64(packets)
		case countBytes:
			return v.u64(octets)
		case count32Packets, count32Bytes, countPad:
			return nil
		}
		return errPassed
	})
}

func (d *entryDecoder) seqAdjust(to *nf.SeqShift, v value) error {
	return d.nested(v, "sequence adjustment", func(v value) error {
		var offset uint32
		var err error
		switch v.typ {
		case seqPosition:
			err = v.u32(&to.Position)
		case seqBefore:
			err = v.u32(&offset)
			to.Before = int32(offset)
		case seqAfter:
			err = v.u32(&offset)
			to.After = int32(offset)
		default:
			err = errPassed
		}
		return err
	})
}

func (d *entryDecoder) secCtx(v value) error {
	return d.nested(v, "security context", func(v value) error {
		if v.typ != secCtxName {
			return errPassed
		}
		d.e.SecCtx = v.text()
		return nil
	})
}

func (d *entryDecoder) timestamp(v value) error {
	return d.nested(v, "timestamps", func(v value) error {
		switch v.typ {
		case timeStart:
			return v.time(&d.e.Start)
		case timeStop:
			return v.time(&d.e.Stop)
		case timePad:
			return nil
		}
		return errPassed
	})
}

func (d *entryDecoder) synProxy(v value) error {
	return d.nested(v, "SYNPROXY", func(v value) error {
		switch v.typ {
		case proxyISN:
			return v.u32(&d.e.SynProxy.ISN)
		case proxyITS:
			return v.u32(&d.e.SynProxy.ITS)
		case proxyOffset:
			return v.u32(&d.e.SynProxy.TSOffset)
		}
		return errPassed
	})
}
