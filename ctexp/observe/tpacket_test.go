package observe

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// block returns a ring block with these packets.
func block(packets ...string) []byte {
	b := make([]byte, blockHeader)
	binary.NativeEndian.PutUint32(b[blockPackets:], uint32(len(packets)))
	binary.NativeEndian.PutUint32(b[blockFirst:], blockHeader)
	for i, p := range packets {
		f := make([]byte, frameLLEnd, 256)
		binary.NativeEndian.PutUint32(f[frameSec:], uint32(i+1))
		binary.NativeEndian.PutUint32(f[frameNsec:], 5000)
		binary.NativeEndian.PutUint32(f[frameSnaplen:], uint32(len(p)))
		binary.NativeEndian.PutUint32(f[frameLen:], uint32(len(p)))
		binary.NativeEndian.PutUint16(f[frameNet:], frameLLEnd)
		binary.BigEndian.PutUint16(f[llProtocol:], etherIPv4)
		binary.NativeEndian.PutUint32(f[llIfindex:], 2)
		f[llPkttype] = 4
		f = append(f, p...)
		f = append(f, make([]byte, (8-len(f)%8)%8)...)
		if i < len(packets)-1 {
			binary.NativeEndian.PutUint32(f[frameNext:], uint32(len(f)))
		}
		b = append(b, f...)
	}
	return b
}

// walk parses all frames of a block.
func walk(b []byte, n int) (frames []rawFrame, err error) {
	at := 0
	for i := range n {
		if at, err = nextFrame(b, i, at); err != nil {
			return frames, err
		}
		f, err := parseFrame(b, at)
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
	}
	return frames, nil
}

func TestParseFramesOfABlock(t *testing.T) {
	t.Parallel()
	got, err := walk(block("one", "three"), 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []rawFrame{
		{time: time.Unix(1, 5000), link: 2, protocol: etherIPv4, direction: 4, packet: []byte("one")},
		{time: time.Unix(2, 5000), link: 2, protocol: etherIPv4, direction: 4, packet: []byte("three")},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(rawFrame{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFramesBeyondTheBlockAreErrors(t *testing.T) {
	t.Parallel()
	past := block("one", "two")
	binary.NativeEndian.PutUint32(past[blockHeader+frameNext:], 1<<20)
	long := block("one")
	binary.NativeEndian.PutUint32(long[blockHeader+frameSnaplen:], 1<<31)
	for name, c := range map[string]struct {
		block []byte
		n     int
	}{
		"more frames than there are": {block("one"), 2},
		"next frame past the block":  {past, 2},
		"packet past the block":      {long, 1},
		"no header":                  {make([]byte, 4), 1},
	} {
		if got, err := walk(c.block, c.n); err == nil {
			t.Errorf("%s: got %v and no error", name, got)
		}
	}
}

func FuzzParseBlock(f *testing.F) {
	f.Add(block("one", "two", "three"))
	f.Add(make([]byte, blockHeader))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		if len(b) >= blockHeader {
			n = int(min(binary.NativeEndian.Uint32(b[blockPackets:]), 1000))
		}
		frames, _ := walk(b, n)
		for _, f := range frames {
			_ = string(f.packet)
		}
	})
}
