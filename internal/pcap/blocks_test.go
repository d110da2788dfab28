package pcap_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/internal/pcap"
)

// An interface says in which units its times are, a power of ten or of two, and from when on they count.
func TestTimesHaveTheUnitOfTheirInterface(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options func(o order) []byte
		units   uint64
		want    time.Time
		err     string
	}{
		"microseconds":          {func(order) []byte { return nil }, 5_000_001, time.Unix(5, 1000), ""},
		"an empty option":       {func(o order) []byte { return option(o, nil, 9, nil) }, 5_000_001, time.Unix(5, 1000), ""},
		"seconds":               {func(o order) []byte { return option(o, nil, 9, []byte{0}) }, 5, time.Unix(5, 0), ""},
		"picoseconds":           {func(o order) []byte { return option(o, nil, 9, []byte{12}) }, 5_000_000_001_999, time.Unix(5, 1), ""},
		"2^-20 s":               {func(o order) []byte { return option(o, nil, 9, []byte{0x80 | 20}) }, 5<<20 | 1<<19, time.Unix(5, 500_000_000), ""},
		"2^-63 s":               {func(o order) []byte { return option(o, nil, 9, []byte{0x80 | 63}) }, 1<<63 | 1<<62, time.Unix(1, 500_000_000), ""},
		"an offset":             {func(o order) []byte { return option(o, nil, 14, o.AppendUint64(nil, 100)) }, 1, time.Unix(100, 1000), ""},
		"an offset back":        {func(o order) []byte { return option(o, nil, 14, o.AppendUint64(nil, 1<<64-1)) }, 5_000_000, time.Unix(4, 0), ""},
		"less than an offset":   {func(o order) []byte { return option(o, nil, 14, []byte{1, 2}) }, 1, time.Unix(0, 1000), ""},
		"units that are no use": {func(o order) []byte { return option(o, nil, 9, []byte{20}) }, 1, time.Time{}, "times in units of 0x14: too small"},
		"2^-64 s":               {func(o order) []byte { return option(o, nil, 9, []byte{0x80 | 64}) }, 1, time.Time{}, "times in units of 0xc0: too small"},
	} {
		for endian, o := range orders {
			link := append(o.AppendUint16(nil, 101), 0, 0)
			link = append(o.AppendUint32(link, 0), c.options(o)...)
			body := o.AppendUint32(nil, 0)
			body = o.AppendUint32(o.AppendUint32(body, uint32(c.units>>32)), uint32(c.units))
			body = append(o.AppendUint32(o.AppendUint32(body, uint32(len(ip4))), uint32(len(ip4))), ip4...)
			got, err := readAll(t, bytes.NewReader(concat(section(o), block(o, 1, link), block(o, 6, body))))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%s, %s-endian: %v, want %q", name, endian, err, c.err)
				}
				continue
			}
			if err != nil || len(got) != 1 || !got[0].Time.Equal(c.want) {
				t.Errorf("%s, %s-endian: %+v, %v; want the time %v", name, endian, got, err, c.want)
			}
		}
	}
}

// The old packet block has an interface of 16 bits; its options are not read. Simple packets are cut to the snap length of their
// interface. Version 1.2 is 1.0.
func TestOldAndSimplePacketsAreRead(t *testing.T) {
	t.Parallel()
	for endian, o := range orders {
		head := section(o)
		o.PutUint16(head[14:], 2)
		ns := uint64(at.UnixNano())
		old := append(o.AppendUint16(nil, 1), 0, 7) // 7 packets were dropped
		old = o.AppendUint32(o.AppendUint32(old, uint32(ns>>32)), uint32(ns))
		old = append(o.AppendUint32(o.AppendUint32(old, uint32(len(ip4))), 60), ip4...)
		old = append(old, 0, 0, 0, 2, 0, 255, 255) // an option that is longer than the block
		simple := append(o.AppendUint32(nil, 41), ip6[:40]...)
		got, err := readAll(t, bytes.NewReader(concat(head, iface(o, 101, 40, "a"), iface(o, 101, 0, "b"), block(o, 2, old), block(o, 3, simple))))
		if err != nil || len(got) != 2 {
			t.Fatalf("%s-endian: %+v, %v", endian, got, err)
		}
		if p := got[0]; p.Link != "b" || !p.Time.Equal(at) || p.Length != 60 || !bytes.Equal(p.Data, ip4) || p.Dir != pcap.Unknown {
			t.Errorf("%s-endian: the old packet is %+v", endian, p)
		}
		if p := got[1]; p.Link != "a" || !p.Time.IsZero() || p.Length != 41 || !bytes.Equal(p.Data, ip6[:40]) {
			t.Errorf("%s-endian: the simple packet is %+v", endian, p)
		}
	}
}

// Writing a packet allocates nothing.
func TestWriteAllocatesNothing(t *testing.T) {
	// Not parallel: testing.AllocsPerRun counts what others allocate.
	w, err := pcap.NewWriter(bytes.NewBuffer(make([]byte, 0, 1<<20)), pcap.File{Links: []string{"tun0"}})
	if err != nil {
		t.Fatal(err)
	}
	p := pcap.Packet{Time: time.Unix(1, 2), Link: "tun0", Dir: pcap.In, Data: ip4}
	n := testing.AllocsPerRun(1000, func() {
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations a packet", n)
	}
}
