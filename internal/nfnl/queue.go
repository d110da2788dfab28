package nfnl

import (
	"encoding/binary"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Queued is a packet that NFQUEUE has sent to user space (net/netfilter/nfnetlink_queue.c, nfqnl_build_packet_message).
type Queued struct {
	Queue    uint16 // the number of the queue
	ID       uint32 // of the packet in its queue, counted from 1
	Protocol uint16 // EtherType
	Hook     nf.Hook
	Mark     uint32   // of the packet, not of its entry
	In, Out  int32    // indices of the input and output links; zero: none
	Class    nf.Class // if the kernel reports it, and the packet has an entry
	Payload  []byte   // the packet from the network layer on; shares memory with the message
	Length   uint32   // of the whole packet, if Payload is cut; else zero
}

// The attributes of a queued packet, of a verdict and of the configuration of a queue
// (include/uapi/linux/netfilter/nfnetlink_queue.h, enum nfqnl_attr_type and nfqnl_attr_config).
const (
	queueHeader  = 1 // NFQA_PACKET_HDR
	queueVerdict = 2 // NFQA_VERDICT_HDR
	queueMark    = 3
	queueInDev   = 5
	queueOutDev  = 6
	queuePayload = 10
	queueCTInfo  = 12
	queueCapLen  = 13

	queueConfigCommand = 1 // NFQA_CFG_CMD
	queueConfigParams  = 2
	queueConfigMaxLen  = 3
	queueConfigMask    = 4
	queueConfigFlags   = 5

	queueBind       = 1 // NFQNL_CFG_CMD_BIND
	queueUnbind     = 2
	queueCopyPacket = 2 // NFQNL_COPY_PACKET
	queueFlagCT     = 2 // NFQA_CFG_F_CONNTRACK
)

// Verdict is what becomes of a queued packet (include/uapi/linux/netfilter.h).
type Verdict uint32

// The verdicts.
const (
	Drop   Verdict = 0 // NF_DROP
	Accept Verdict = 1 // NF_ACCEPT: goes on behind the queueing hook
	Repeat Verdict = 4 // NF_REPEAT: meets the queueing hook again
)

// EachQueued calls queued for each packet of a datagram, and refused for each request that failed, with its sequence
// number.
func EachQueued(datagram []byte, queued func(q Queued) error, refused func(seq uint32, err error)) error {
	return Messages(datagram, func(h MessageHeader, body []byte, at int) error {
		switch h.Type {
		case msgError:
			if err := errorOf(body); err != nil {
				refused(h.Sequence, err)
			}
		case msgQueuePacket:
			q, err := DecodeQueued(body, at)
			if err != nil {
				return err
			}
			return queued(q)
		}
		return nil
	})
}

// DecodeQueued decodes the body of an NFQNL_MSG_PACKET message. The argument at is the body's offset in the datagram;
// errors contain offsets. Attributes that a Queued does not have are skipped.
func DecodeQueued(body []byte, at int) (q Queued, err error) {
	attrs, at, err := Body(body, at)
	if err != nil {
		return q, err
	}
	q.Queue = binary.BigEndian.Uint16(body[2:]) // nfgenmsg.res_id
	err = Attributes(attrs, at, func(typ uint16, at int, b []byte) error {
		v := value{typ, at, b}
		switch typ {
		case queueHeader: // struct nfqnl_msg_packet_hdr, packed
			if err := v.check(7); err != nil {
				return err
			}
			q.ID, q.Protocol, q.Hook = binary.BigEndian.Uint32(b), binary.BigEndian.Uint16(b[4:]), nf.Hook(b[6])
		case queueMark:
			return v.u32(&q.Mark)
		case queueInDev:
			return v.s32(&q.In)
		case queueOutDev:
			return v.s32(&q.Out)
		case queuePayload:
			q.Payload = b
		case queueCTInfo:
			var info uint32
			err := v.u32(&info)
			q.Class = nf.ClassOf(info)
			return err
		case queueCapLen:
			return v.u32(&q.Length)
		}
		return nil
	})
	return q, err
}

// AppendVerdict appends the verdict on a packet. Unless payload is nil, the packet becomes payload, and unless mark is nil,
// its mark becomes *mark. Only errors are reported.
func AppendVerdict(b []byte, queue uint16, id uint32, v Verdict, mark *uint32, payload []byte) []byte {
	b, start := beginQueue(b, msgQueueVerdict, queue)
	b = binary.BigEndian.AppendUint32(appendHeader(b, queueVerdict, 8), uint32(v))
	b = binary.BigEndian.AppendUint32(b, id)
	if mark != nil {
		b = appendU32(b, queueMark, *mark)
	}
	if payload != nil {
		b = appendBytes(b, queuePayload, payload)
	}
	return end(b, start)
}

// AppendDropUpTo appends the request to drop the packets that wait in a queue, up to the one with this id.
func AppendDropUpTo(b []byte, queue uint16, id uint32) []byte {
	b, start := beginQueue(b, msgQueueVerdicts, queue)
	b = binary.BigEndian.AppendUint32(appendHeader(b, queueVerdict, 8), uint32(Drop))
	return end(binary.BigEndian.AppendUint32(b, id), start)
}

// appendQueueBind appends a request to bind the socket to a queue, with whole packets, for at most maxLen packets that
// wait.
func appendQueueBind(b []byte, queue uint16, maxLen uint32) []byte {
	b, start := beginQueue(b, msgQueueConfig, queue)
	b = appendBytes(b, queueConfigCommand, []byte{queueBind, 0, 0, 0})               // struct nfqnl_msg_config_cmd
	b = appendBytes(b, queueConfigParams, []byte{0, 0, 0xff, 0xff, queueCopyPacket}) // nfqnl_msg_config_params, packed
	return end(appendU32(b, queueConfigMaxLen, maxLen), start)
}

// appendQueueClass appends a request to report conntrack's class of each packet.
func appendQueueClass(b []byte, queue uint16) []byte {
	b, start := beginQueue(b, msgQueueConfig, queue)
	b = appendU32(b, queueConfigFlags, queueFlagCT)
	return end(appendU32(b, queueConfigMask, queueFlagCT), start)
}

// AppendQueueUnbind appends the request to be the reader of a queue no longer. The kernel drops the packets that wait,
// at some time after it has answered (net/netfilter/nfnetlink_queue.c, instance_destroy_rcu).
func AppendQueueUnbind(b []byte, queue uint16) []byte {
	b, start := beginQueue(b, msgQueueConfig, queue)
	return end(appendBytes(b, queueConfigCommand, []byte{queueUnbind, 0, 0, 0}), start)
}

func beginQueue(b []byte, typ, queue uint16) (_ []byte, start int) {
	b, start = begin(b, typ, 0, 0 /* AF_UNSPEC */)
	binary.BigEndian.PutUint16(b[len(b)-2:], queue) // nfgenmsg.res_id
	return b, start
}
