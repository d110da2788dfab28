package pcap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/pcap"
)

// The complete packets of a truncated file are read. Then there is an error, unless the file was truncated behind a
// packet.
func TestTruncatedFileIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	o := binary.LittleEndian
	for name, parts := range map[string][][]byte{
		"pcap":   {pcapFile(o, 0xa1b2c3d4, 262144, 101), pcapPacket(o, 0, 21, ip4), pcapPacket(o, 0, 41, ip6)},
		"pcapng": {concat(section(o), iface(o, 101, 0, "tun0")), packet(o, 0, 1, 21, ip4), packet(o, 0, 1, 41, ip6)},
	} {
		file := concat(parts...)
		ends := map[int]int{}
		for i, n := 0, 0; i < len(parts); i++ {
			n += len(parts[i])
			ends[n] = i
		}
		if name == "pcapng" {
			ends[len(section(o))] = 0
		}
		whole := 0
		for n := range len(file) + 1 {
			packets, atEnd := ends[n]
			if atEnd {
				whole = packets
			}
			got, err := readAll(t, bytes.NewReader(file[:n]))
			if len(got) != whole || (err == nil) != atEnd || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, %d of %d bytes: %d packets, want %d; %v", name, n, len(file), len(got), whole, err)
			}
		}
	}
}

func TestGarbageIsNamed(t *testing.T) {
	t.Parallel()
	o := binary.LittleEndian
	head := concat(section(o), iface(o, 101, 0, "tun0"))
	change := func(b []byte, at int, v uint32) []byte {
		b = append([]byte(nil), b...)
		o.PutUint32(b[at:], v)
		return b
	}
	good := packet(o, 0, 1, 21, ip4)
	many := head
	for range 1<<16 + 1 {
		many = append(many, iface(o, 101, 0, "")...)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":             {nil, "the file is empty"},
		"text":              {[]byte("hello, world"), "it is neither pcap nor pcapng: it begins with 68656c6c"},
		"cut gzip":          {[]byte("\x1f\x8b\x08\x00"), "the file is truncated"},
		"other compression": {[]byte("\x28\xb5\x2f\xfd"), "it is compressed by zstd: unpack it first; only gzip is read as it is"},
		"length of a block": {concat(head, change(good, 4, 2)), "length 2"},
		"odd length":        {concat(head, change(good, 4, 66)), "length 66"},
		"huge length":       {concat(head, change(good, 4, 1<<31)), "length 2147483648"},
		"another length":    {concat(head, change(good, len(good)-4, 4)), "at its front, 4 at its end"},
		"of no interface":   {concat(head, change(good, 8, 7)), "a packet of interface 7; the section has 1"},
		"more than it has":  {concat(head, change(change(good, 20, 60), 24, 60)), "a packet of 60 bytes in"},
		"huge packet":       {concat(head, change(change(good, 20, 1<<31), 24, 1<<31)), "a packet of 2147483648 bytes"},
		"option too long":   {concat(head, change(good, 8+20+24, 2|400<<16)), "an option of 400 bytes"},
		"end with a value":  {concat(head, change(good, 8+20+24, 8<<16)), "an end of options of 8 bytes"},
		"version":           {change(head, 12, 9), "pcapng of version 9.0"},
		"skipped block":     {concat(section(o), change(block(o, 4, make([]byte, 8)), 16, 4)), "at its end"},
		"no interface":      {concat(section(o), good), "a packet of interface 0; the section has 0"},
		"many interfaces":   {many, "more than 65536 interfaces"},
		"pcap's version":    {change(pcapFile(o, 0xa1b2c3d4, 0, 1), 4, 9), "version"},
		"pcap's packet": {
			concat(pcapFile(o, 0xa1b2c3d4, 1<<31, 1), change(pcapPacket(o, 0, 1<<30, nil), 8, 1<<30)), "exceeds",
		},
	} {
		_, err := readAll(t, bytes.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// endless is a file that begins with head, followed by a number of copies of body.
type endless struct {
	head, body, rest []byte
	times            int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.head != nil {
		e.rest, e.head = e.head, nil
	}
	if len(e.rest) == 0 {
		if e.times == 0 {
			return 0, io.EOF
		}
		e.times--
		e.rest = e.body
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// A gigabyte of packets and skipped blocks takes as much memory as a megabyte. The test counts all allocations, so it
// is not parallel.
func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	o := binary.LittleEndian
	data := make([]byte, 60_000)
	data[0] = 0x45
	const packets = 16_000
	for name, file := range map[string]*endless{
		"pcap": {head: pcapFile(o, 0xa1b2c3d4, 262144, 101), body: pcapPacket(o, 0, len(data), data), times: packets},
		"pcapng": {
			head:  concat(section(o), iface(o, 101, 0, "tun0")),
			body:  concat(block(o, 4, make([]byte, 100)), block(o, 10, make([]byte, 100)), packet(o, 0, 1, len(data), data)),
			times: packets,
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := pcap.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; err != io.EOF || r.Number() != packets || got > packets*500 {
			t.Errorf("%s: %d packets of %d bytes took %d bytes of memory; %v", name, r.Number(), len(data), got, err)
		}
	}
}

// Reading any file ends, and needs little memory.
func FuzzReader(f *testing.F) {
	for _, o := range orders {
		f.Add(concat(pcapFile(o, 0xa1b2c3d4, 100, 1), pcapPacket(o, 0, 35, concat(make([]byte, 12), []byte{8, 0}, ip4))))
		f.Add(concat(pcapFile(o, 0xa1b23c4d, 100, 276), pcapPacket(o, 0, 60, make([]byte, 60))))
		f.Add(concat(section(o), iface(o, 113, 0, "tun0"), iface(o, 229, 9, ""), packet(o, 0, 1, 41, ip6), packet(o, 1, 0, 41, ip6)))
		f.Add(concat(section(o), iface(o, 101, 8, ""), block(o, 3, append(o.AppendUint32(nil, 21), ip4...))))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := readAll(t, bytes.NewReader(file))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20+64*uint64(len(file)) {
			t.Errorf("a file of %d bytes took %d bytes of memory", len(file), n)
		}
		all := 0
		for _, p := range got {
			if all += len(p.Data); p.Length < len(p.Data) {
				t.Errorf("%d bytes of %d", len(p.Data), p.Length)
			}
		}
		if all > len(file) {
			t.Errorf("%d bytes of packets out of %d", all, len(file))
		}
		// It says the same of the same file, however the bytes come.
		again, errAgain := readAll(t, iotestOneByte{bytes.NewReader(file)})
		if diff := cmp.Diff(got, again); diff != "" || fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Errorf("at once %v, byte by byte %v:\n%s", err, errAgain, diff)
		}
	})
}

// iotestOneByte reads one byte at a time.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func BenchmarkNext(b *testing.B) {
	o := binary.LittleEndian
	r, err := pcap.NewReader(&endless{
		head: concat(section(o), iface(o, 101, 0, "tun0")), body: packet(o, 0, 1, len(ip4), ip4), times: 1 << 30,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
