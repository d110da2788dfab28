package model

import (
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// This file follows net/netfilter/nf_conntrack_proto_tcp.c; functions are named for those that they model.

// tcpTrack is what the kernel keeps of a TCP flow (include/linux/netfilter/nf_conntrack_tcp.h, struct ip_ct_tcp).
type tcpTrack struct {
	state nf.TCPState
	seen  [2]tcpSide // by direction

	lastIndex                 int // of the last packet that was in the window or ignored
	lastDir                   int
	retrans                   uint8
	lastSeq, lastAck, lastEnd uint32
	lastWin                   uint16
	lastScale                 uint8
	lastFlags                 nf.TCPTrackFlags
}

// tcpSide is what the kernel keeps of the sender of one direction (struct ip_ct_tcp_state).
type tcpSide struct {
	end, maxEnd uint32 // the highest sequence number sent, and the highest that may be sent, each plus one
	maxWin      uint32 // the largest window offered; zero: nothing was sent yet
	maxAck      uint32 // the highest acknowledgement sent
	scale       uint8
	flags       nf.TCPTrackFlags
}

// tcpResult is what becomes of a segment and of its entry.
type tcpResult uint8

const (
	tcpAccept  tcpResult = iota
	tcpInvalid           // the segment is INVALID
	tcpKilled            // the entry is destroyed, the segment still belongs to it
	tcpRepeat            // the entry is destroyed, and the segment is looked up again
	tcpIgnore            // of the window only: the segment is accepted and changes nothing
)

// The kinds of segments (enum tcp_bit_set).
const (
	isSYN = iota
	isSYNACK
	isFIN
	isACK
	isRST
	isNone
)

// kindOf is get_conntrack_index.
func kindOf(f packet.TCPFlags) int {
	switch {
	case f&packet.FlagRST != 0:
		return isRST
	case f&packet.FlagSYN != 0 && f&packet.FlagACK != 0:
		return isSYNACK
	case f&packet.FlagSYN != 0:
		return isSYN
	case f&packet.FlagFIN != 0:
		return isFIN
	case f&packet.FlagACK != 0:
		return isACK
	}
	return isNone
}

// validFlags reports whether a segment's flags make sense (tcp_valid_flags).
func validFlags(f packet.TCPFlags) bool {
	switch f &^ (packet.FlagPSH | packet.FlagECE | packet.FlagCWR) {
	case packet.FlagSYN, packet.FlagSYN | packet.FlagURG, packet.FlagSYN | packet.FlagACK,
		packet.FlagRST, packet.FlagRST | packet.FlagACK,
		packet.FlagFIN | packet.FlagACK, packet.FlagFIN | packet.FlagACK | packet.FlagURG,
		packet.FlagACK, packet.FlagACK | packet.FlagURG:
		return true
	}
	return false
}

// Short names for the table.
const (
	no = nf.TCPNone
	ss = nf.SynSent
	sr = nf.SynRecv
	es = nf.Established
	fw = nf.FinWait
	cw = nf.CloseWait
	la = nf.LastAck
	tw = nf.TimeWait
	cl = nf.Close
	s2 = nf.SynSent2
	ig = nf.SynSent2 + 1 // the segment is ignored
	iv = nf.SynSent2 + 2 // the segment is INVALID
)

// tcpStates has the next state by direction, kind of segment and state (tcp_conntracks).
var tcpStates = [2][6][10]nf.TCPState{
	{ // original; from   no  ss  sr  es  fw  cw  la  tw  cl  s2
		isSYN:    {ss, ss, ig, ig, ig, ig, ig, ss, ss, s2},
		isSYNACK: {iv, iv, sr, iv, iv, iv, iv, iv, iv, sr},
		isFIN:    {iv, iv, fw, fw, la, la, la, tw, cl, iv},
		isACK:    {es, iv, es, es, cw, cw, tw, tw, cl, iv},
		isRST:    {iv, cl, cl, cl, cl, cl, cl, cl, cl, cl},
		isNone:   {iv, iv, iv, iv, iv, iv, iv, iv, iv, iv},
	},
	{ // reply
		isSYN:    {iv, s2, iv, iv, iv, iv, iv, ss, iv, s2},
		isSYNACK: {iv, sr, ig, ig, ig, ig, ig, ig, ig, sr},
		isFIN:    {iv, iv, fw, fw, la, la, la, tw, cl, iv},
		isACK:    {iv, ig, sr, es, cw, cw, tw, tw, cl, ig},
		isRST:    {iv, cl, cl, cl, cl, cl, cl, cl, cl, cl},
		isNone:   {iv, iv, iv, iv, iv, iv, iv, iv, iv, iv},
	},
}

// tcpTimeouts are the defaults by state (tcp_timeouts).
var tcpTimeouts = [10]time.Duration{
	ss: 120 * time.Second, sr: 60 * time.Second, es: 432000 * time.Second, fw: 120 * time.Second, cw: 60 * time.Second,
	la: 30 * time.Second, tw: 120 * time.Second, cl: 10 * time.Second, s2: 120 * time.Second,
}

const (
	tcpRetrans    = 300 * time.Second // TCP_CONNTRACK_RETRANS
	tcpUnack      = 300 * time.Second // TCP_CONNTRACK_UNACK
	tcpMaxRetrans = 3                 // nf_conntrack_tcp_max_retrans
	tcpMaxScale   = 14                // TCP_MAX_WSCALE
	maxAckWindow  = 66000             // MAXACKWINCONST
)

// before and after compare sequence numbers (include/net/tcp.h).
func before(a, b uint32) bool { return int32(a-b) < 0 }
func after(a, b uint32) bool  { return before(b, a) }

// segmentEnd is segment_seq_plus_len.
func segmentEnd(s Step) uint32 {
	end := s.Seq + uint32(s.Len)
	if s.Flags&packet.FlagSYN != 0 {
		end++
	}
	if s.Flags&packet.FlagFIN != 0 {
		end++
	}
	return end
}

// options is tcp_options: without any option the side keeps what it has.
func (side *tcpSide) options(s Step) {
	if len(s.Options) == 0 {
		return
	}
	side.scale = 0
	side.flags &= nf.BeLiberal
	for _, o := range s.Options {
		switch {
		case o.Kind == packet.OptionEnd:
			return
		case o.Kind == packet.OptionSACKPermitted && len(o.Data) == 0:
			side.flags |= nf.SACKPerm
		case o.Kind == packet.OptionWindowScale && len(o.Data) == 1:
			side.scale = min(o.Data[0], tcpMaxScale)
			side.flags |= nf.WindowScale
		}
	}
}

// sackEnd is tcp_sack: the highest right edge of the blocks of the first SACK option, if it is after ack.
func sackEnd(s Step, ack uint32) uint32 {
	for _, o := range s.Options {
		switch {
		case o.Kind == packet.OptionEnd:
			return ack
		case o.Kind == packet.OptionSACK && len(o.Data) >= 8 && len(o.Data)%8 == 0:
			for b := o.Data; len(b) > 0; b = b[8:] {
				if right := uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7]); after(right, ack) {
					ack = right
				}
			}
			return ack
		}
	}
	return ack
}

// init is tcp_init_sender.
func (c *tcpTrack) init(dir int, s Step) {
	sender, receiver := &c.seen[dir], &c.seen[1-dir]
	sender.end = segmentEnd(s)
	sender.maxEnd = sender.end
	sender.maxWin = max(1, uint32(s.Window))
	sender.options(s)
	if dir == 1 && !(sender.flags.Has(nf.WindowScale) && receiver.flags.Has(nf.WindowScale)) {
		sender.scale, receiver.scale = 0, 0
	}
}

// create is tcp_new. It reports whether the segment may open a flow.
func (c *tcpTrack) create(k Kernel, s Step) bool {
	first := tcpStates[0][kindOf(s.Flags)][no]
	if first >= ig || first != ss && k.Strict {
		return false
	}
	*c = tcpTrack{lastIndex: isNone}
	side := &c.seen[0]
	side.end = segmentEnd(s)
	side.maxWin = max(1, uint32(s.Window))
	side.maxEnd = side.end
	if first == ss {
		side.options(s)
		return true
	}
	side.maxEnd += side.maxWin
	side.flags = nf.SACKPerm | nf.BeLiberal // picked up
	c.seen[1].flags = side.flags
	return true
}

// tcpPacket is nf_conntrack_tcp_packet.
func (e *entry) tcpPacket(k Kernel, isNew bool, dir int, s Step, o *oracle) tcpResult {
	if !validFlags(s.Flags) {
		return tcpInvalid
	}
	c := &e.tcp
	if isNew && !c.create(k, s) {
		return tcpInvalid
	}
	kind, old := kindOf(s.Flags), c.state
	next := tcpStates[dir][kind][old]
	inWindow := false // without the check of the window
	switch {
	case next == ss && old >= tw && ((c.seen[0].flags | c.seen[1].flags).Has(nf.CloseInit) || c.lastDir == dir && c.lastIndex == isRST):
		return tcpRepeat
	case next == ig || next == ss && old >= tw:
		if !(kind == isSYNACK && c.lastIndex == isSYN && c.lastDir != dir && s.Ack == c.lastEnd) {
			c.ignore(dir, kind, s)
			return tcpAccept
		}
		// The answer to a SYN that was ignored: the two ends are in sync, and now the kernel is, too.
		old, next = ss, sr
		side := &c.seen[c.lastDir]
		side.end, side.maxEnd, side.maxWin, side.scale = c.lastEnd, c.lastEnd, max(1, uint32(c.lastWin)), c.lastScale
		c.lastFlags &^= nf.ChallengeACK
		side.flags = c.lastFlags
		c.seen[dir] = tcpSide{flags: c.seen[dir].flags & nf.BeLiberal}
	case next == iv:
		return tcpInvalid
	case next == tw && old == la && kind == isACK && c.lastDir != dir && c.lastIndex == isSYN && c.lastFlags.Has(nf.ChallengeACK):
		c.lastFlags &^= nf.ChallengeACK
		return tcpAccept
	case next == s2:
		c.lastFlags |= nf.SimultaneousOpen
	case next == sr && dir == 1 && kind == isACK && c.lastFlags.Has(nf.SimultaneousOpen):
		next = es
	case next == cl && kind == isRST:
		var ok bool
		if next, inWindow, ok = e.reset(k, dir, s); !ok {
			return tcpInvalid
		}
	}
	if !inWindow {
		switch c.window(k, dir, kind, s) {
		case tcpIgnore:
			return tcpAccept
		case tcpInvalid:
			e.outOfWindow(dir, kind, o)
			return tcpInvalid
		}
	}
	c.lastIndex, c.lastDir, c.state = kind, dir, next
	if old != next && next == fw {
		c.seen[dir].flags |= nf.CloseInit
	}
	timeout := c.timeout(k, kind, next)
	switch {
	case !e.reply && kind == isRST:
		return tcpKilled
	case !e.reply && kind == isSYN && old == ss:
		return tcpAccept // a retransmitted SYN does not renew the timeout
	case !e.reply && next == es:
		timeout = min(timeout, tcpUnack)
	case e.reply && !e.assured && (old == sr || old == es) && next == es:
		e.assured = true
	}
	e.refresh(timeout)
	return tcpAccept
}

// ignore keeps what may be needed to get in sync with two ends that are ahead of the kernel.
func (c *tcpTrack) ignore(dir, kind int, s Step) {
	old := c.state
	c.lastIndex, c.lastDir = kind, dir
	c.lastSeq, c.lastEnd, c.lastWin = s.Seq, segmentEnd(s), s.Window
	if kind == isSYN && dir == 0 {
		var seen tcpSide
		seen.options(s)
		c.lastFlags = seen.flags & (nf.WindowScale | nf.SACKPerm)
		c.lastScale = seen.scale
		if old == la {
			c.lastFlags |= nf.ChallengeACK
		}
	}
	if old == ss && kind == isACK && dir == 1 {
		c.lastAck = s.Ack
	}
}

// reset is what the case TCP_CONNTRACK_CLOSE does with an RST: the next state, whether the window is not to be checked, and
// false if the segment is INVALID.
func (e *entry) reset(k Kernel, dir int, s Step) (next nf.TCPState, inWindow, ok bool) {
	c := &e.tcp
	next = cl
	switch c.state {
	case fw, la, tw, cl, cw: // tcp_can_early_drop
		return next, true, true
	}
	established := c.state == es && e.assured // nf_conntrack_tcp_established
	if peer := c.seen[1-dir]; peer.flags.Has(nf.MaxACKSet) && c.lastIndex != isSYN {
		switch {
		case s.Seq == 0 && !established:
			return next, false, true
		case before(s.Seq, peer.maxAck) && !k.IgnoreInvalidRST:
			return next, false, false
		case !established || s.Seq == peer.maxAck,
			c.lastIndex == isACK && c.lastDir == dir && s.Seq == c.lastEnd:
			return next, false, true
		}
		next = c.state // not exact: a challenge ACK may follow
	}
	switch {
	case (e.reply && c.lastIndex == isSYN && (c.lastDir != dir || k.OwnSYNReset) || !e.assured && c.lastIndex == isACK) && s.Ack == c.lastEnd:
		return next, true, true // the answer to a segment that was let through
	case c.state == ss && c.lastIndex == isACK && c.lastDir == 1 && s.Seq == c.lastAck:
		return next, true, true // the answer to a challenge ACK
	}
	return next, false, true
}

// window is tcp_in_window.
func (c *tcpTrack) window(k Kernel, dir, kind int, s Step) tcpResult {
	sender, receiver := &c.seen[dir], &c.seen[1-dir]
	refuse := func(r tcpResult) tcpResult { // nf_tcp_log_invalid
		if k.Liberal || sender.flags.Has(nf.BeLiberal) {
			return tcpAccept
		}
		return r
	}
	syn, hasAck := s.Flags&packet.FlagSYN != 0, s.Flags&packet.FlagACK != 0
	seq, ack, sack, win, end := s.Seq, s.Ack, s.Ack, uint32(s.Window), segmentEnd(s)
	if receiver.flags.Has(nf.SACKPerm) {
		sack = sackEnd(s, sack)
	}
	switch {
	case sender.maxWin == 0 && syn:
		if c.init(dir, s); !hasAck {
			return tcpAccept // simultaneous open
		}
	case sender.maxWin == 0:
		sender.end = end
		sender.maxWin = max(1, win<<sender.scale)
		sender.maxEnd = end + sender.maxWin
		if receiver.maxWin == 0 {
			receiver.end, receiver.maxEnd = sack, sack
		} else if sack == receiver.end+1 {
			receiver.end++ // a keepalive is answered
		}
	case syn && after(end, sender.end) && (c.state == ss || c.state == sr):
		if c.init(dir, s); dir == 1 && !hasAck {
			return tcpAccept
		}
	}
	if !hasAck || s.Flags&packet.FlagRST != 0 && ack == 0 {
		ack, sack = receiver.end, receiver.end
	}
	if s.Flags&packet.FlagRST != 0 && seq == 0 && c.state == ss {
		seq, end = sender.end, sender.end // the answer to a SYN
	}
	lowestAck := receiver.end - max(sender.maxWin, maxAckWindow) - 1
	reaches := after(end, sender.end-receiver.maxWin-1)
	switch {
	case !before(seq, sender.maxEnd+1):
		overshot := end - sender.maxEnd + 1
		if receiver.maxWin != 0 && reaches && after(sack, lowestAck) && overshot <= receiver.maxWin && before(sack, receiver.end+1) {
			sender.end = end
			sender.flags |= nf.DataUnacknowledged
			return refuse(tcpIgnore)
		}
		return refuse(tcpInvalid)
	case !before(sack, receiver.end+1):
		return refuse(tcpInvalid)
	case receiver.maxWin != 0 && !reaches, !after(sack, lowestAck):
		return refuse(tcpIgnore)
	}
	if !syn {
		win <<= sender.scale
	}
	sender.maxWin = max(sender.maxWin, win+(sack-ack))
	if after(end, sender.end) {
		sender.end = end
		sender.flags |= nf.DataUnacknowledged
	}
	if hasAck && (!sender.flags.Has(nf.MaxACKSet) || after(ack, sender.maxAck)) {
		sender.maxAck = ack
		sender.flags |= nf.MaxACKSet
	}
	if receiver.maxWin != 0 && after(end, sender.maxEnd) {
		receiver.maxWin += end - sender.maxEnd
	}
	if after(sack+win, receiver.maxEnd-1) {
		receiver.maxEnd = sack + max(win, 1)
	}
	if ack == receiver.end {
		receiver.flags &^= nf.DataUnacknowledged
	}
	if kind == isACK {
		if c.lastDir == dir && c.lastSeq == seq && c.lastAck == ack && c.lastEnd == end && c.lastWin == s.Window {
			c.retrans++
		} else {
			c.lastDir, c.lastSeq, c.lastAck, c.lastEnd, c.lastWin, c.retrans = dir, seq, ack, end, s.Window, 0
		}
	}
	return tcpAccept
}

// timeout returns the timeout after a segment that is in the window.
func (c *tcpTrack) timeout(k Kernel, kind int, next nf.TCPState) time.Duration {
	t := tcpTimeouts[next]
	unacknowledged := (c.seen[0].flags | c.seen[1].flags).Has(nf.DataUnacknowledged)
	switch {
	case c.retrans >= tcpMaxRetrans && t > tcpRetrans:
		return tcpRetrans
	case kind == isRST && !k.LongReset:
		return tcpTimeouts[cl]
	case (kind == isRST || unacknowledged) && t > tcpUnack:
		return tcpUnack
	case c.lastWin == 0 && t > tcpRetrans:
		return tcpRetrans
	}
	return t
}

// outOfWindow is nf_tcp_handle_invalid: when each side has sent a FIN or RST outside of the window, the entry is not kept
// for long.
func (e *entry) outOfWindow(dir, kind int, o *oracle) {
	c := &e.tcp
	if !e.assured || kind != isRST && kind != isFIN {
		return
	}
	if c.lastDir == dir || c.lastIndex != isFIN && c.lastIndex != isRST {
		c.lastIndex, c.lastDir = kind, dir
		return
	}
	switch {
	case e.hi <= tcpUnack:
	case e.lo > tcpUnack, o.ask():
		e.refresh(tcpUnack)
	default:
		e.hi = tcpUnack
	}
}

// info returns what ctnetlink reports of both sides.
func (c tcpTrack) info() nf.TCPInfo {
	side := func(s tcpSide) nf.TCPSide { return nf.TCPSide{Scale: s.scale, Flags: s.flags} }
	return nf.TCPInfo{Orig: side(c.seen[0]), Reply: side(c.seen[1])}
}
