package observe

import (
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// framelog stores the captured frames: 40 bytes for each and the bytes of the frame, without a pointer that the garbage
// collector would follow. It grows without copying what it has.
type framelog struct {
	mu    sync.Mutex
	limit int // of frames
	room  int // for the bytes of frames beyond the first alwaysKept; zero: no bound
	lost  lostFrames

	frames keptFrames
	links  map[string]uint32 // numbers of frames.links
	used   int               // bytes used of the last piece
	bytes  int               // of all frames
}

// keptFrames are frames of a framelog. A copy has those that were there when it was made: later ones do not change it.
type keptFrames struct {
	n      int
	blocks []*[framelogBlock]keptFrame
	pieces [][]byte // what keptFrame.piece counts
	links  []string // what keptFrame.link counts
}

// keptFrame is a frame without its bytes.
type keptFrame struct {
	sec               int64 // the time, as that of the Unix epoch
	nsec              uint32
	piece, at         uint32 // where the bytes are: the link-layer header and then the packet
	ethernet, network uint32 // their lengths
	length            uint32 // packet.Record.Length
	link              uint32
	etherType         uint16
	dir               packet.Dir
}

const (
	framelogBlock = 512      // frames
	framelogPiece = 64 << 10 // bytes
)

// add stores a copy of f.
func (l *framelog) add(f packet.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := len(f.Ethernet) + len(f.Packet)
	full := l.frames.n >= l.limit || l.room > 0 && l.frames.n >= alwaysKept && l.bytes+size > l.room
	if full || l.lost.beyond > 0 { // those that are kept are the first ones, without a gap
		l.lost.beyond++
		return
	}
	if f.IsCut() {
		l.lost.cut++
	}
	k := keptFrame{
		sec: f.Time.Unix(), nsec: uint32(f.Time.Nanosecond()), ethernet: uint32(len(f.Ethernet)), network: uint32(len(f.Packet)),
		length: uint32(f.Length), link: l.link(f.Link), etherType: f.EtherType, dir: f.Dir,
	}
	b := l.place(&k, size)
	copy(b[copy(b, f.Ethernet):], f.Packet)
	l.bytes += size
	if l.frames.n%framelogBlock == 0 {
		l.frames.blocks = append(l.frames.blocks, new([framelogBlock]keptFrame))
	}
	l.frames.blocks[l.frames.n/framelogBlock][l.frames.n%framelogBlock] = k
	l.frames.n++
}

// place finds memory for the bytes of a frame.
func (l *framelog) place(k *keptFrame, size int) []byte {
	last := len(l.frames.pieces) - 1
	if last < 0 || l.used+size > len(l.frames.pieces[last]) {
		l.frames.pieces = append(l.frames.pieces, make([]byte, max(size, framelogPiece)))
		l.used = 0
		last++
	}
	k.piece, k.at = uint32(last), uint32(l.used)
	l.used += size
	return l.frames.pieces[last][k.at:l.used]
}

// link returns the number of a name.
func (l *framelog) link(name string) uint32 {
	n, known := l.links[name]
	if !known {
		if l.links == nil {
			l.links = map[string]uint32{}
		}
		n = uint32(len(l.frames.links))
		l.links[name] = n
		l.frames.links = append(l.frames.links, name)
	}
	return n
}

// dropped counts n frames that the kernel dropped.
func (l *framelog) dropped(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost.kernel += n
}

// snapshot returns the frames so far and what is missing among them.
func (l *framelog) snapshot() (keptFrames, lostFrames) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frames, l.lost
}

// first returns the first n frames.
func (k keptFrames) first(n int) keptFrames {
	k.n = min(k.n, n)
	return k
}

// record returns the frame with this index. Its bytes are those that are kept.
func (k keptFrames) record(i int) packet.Record {
	f := &k.blocks[i/framelogBlock][i%framelogBlock]
	b := k.pieces[f.piece][f.at:][: f.ethernet+f.network : f.ethernet+f.network]
	r := packet.Record{
		Number: i + 1, Time: time.Unix(f.sec, int64(f.nsec)), Link: k.links[f.link], Dir: f.dir, EtherType: f.etherType,
		Packet: b[f.ethernet:], Length: int(f.length),
	}
	if f.ethernet > 0 {
		r.Ethernet = b[:f.ethernet:f.ethernet]
	}
	return r
}

// all returns the frames one by one.
func (k keptFrames) all() iter.Seq[packet.Record] {
	return func(yield func(packet.Record) bool) {
		for i := range k.n {
			if !yield(k.record(i)) {
				return
			}
		}
	}
}

// list returns the frames, for what needs all at once.
func (k keptFrames) list() []packet.Record {
	return slices.AppendSeq(make([]packet.Record, 0, k.n), k.all())
}
