package dropreason

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// event is a record of the BPF program.
type event struct {
	monotonic uint64 // CLOCK_MONOTONIC in ns
	location  uint64 // return address of the call that dropped the packet
	reason    uint32 // enum skb_drop_reason
	length    uint32 // sk_buff.len
	link      string // name of the device; empty: none
	packet    []byte // beginning of the packet; shares memory with the record
}

// Offsets and sizes of the fields of a record, in bytes. Numbers are in host byte order.
const (
	atTime     = 0
	atLocation = 8
	atReason   = 16
	atLength   = 20
	atCaptured = 24 // length of the packet field; followed by 4 unused bytes
	atLink     = 32
	linkSize   = 16 // IFNAMSIZ
	atPacket   = atLink + linkSize
	packetSize = 128 // enough for IPv6 with extension headers and TCP with options
	eventSize  = atPacket + packetSize
)

// decode decodes a record.
func decode(b []byte) (event, error) {
	if len(b) < eventSize {
		return event{}, fmt.Errorf("drop of %d bytes: want %d", len(b), eventSize)
	}
	n := binary.NativeEndian.Uint32(b[atCaptured:])
	if n > packetSize {
		return event{}, fmt.Errorf("drop at offset %d: %d bytes of a packet, want at most %d", atCaptured, n, packetSize)
	}
	link, _, _ := bytes.Cut(b[atLink:atLink+linkSize], []byte{0})
	return event{
		monotonic: binary.NativeEndian.Uint64(b[atTime:]),
		location:  binary.NativeEndian.Uint64(b[atLocation:]),
		reason:    binary.NativeEndian.Uint32(b[atReason:]),
		length:    binary.NativeEndian.Uint32(b[atLength:]),
		link:      string(link),
		packet:    b[atPacket : atPacket+int(n)],
	}, nil
}

// names maps the numbers of the reasons to the kernel's names.
type names map[uint32]string

// prefix is the prefix of most names.
const prefix = "SKB_DROP_REASON_"

func (n names) add(number uint32, name string) { n[number] = strings.TrimPrefix(name, prefix) }

// name returns the name of a reason. The reasons of subsystems (include/net/dropreason.h, SKB_DROP_REASON_SUBSYS_MASK)
// are not part of the enumeration.
func (n names) name(number uint32) string {
	if s := n[number]; s != "" {
		return s
	}
	if sub := number >> 16; sub != 0 {
		return fmt.Sprintf("reason(subsystem %d, %d)", sub, number&0xffff)
	}
	return fmt.Sprintf("reason(%d)", number)
}

// symbol is a kernel function.
type symbol struct {
	at   uint64
	name string
}

// symbols is a list of kernel functions, sorted by address.
type symbols []symbol

// kernelSymbols reads the functions of the running kernel once, which takes 50 ms. It returns none if they cannot be
// read or have no addresses (kernel.kptr_restrict).
var kernelSymbols = sync.OnceValue(func() symbols {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil
	}
	defer f.Close()
	s, err := parseSymbols(f)
	if err != nil {
		return nil
	}
	return s
})

// parseSymbols reads lines such as "ffffffff81000000 T _text" and returns the functions. It skips other lines.
func parseSymbols(r io.Reader) (symbols, error) {
	var all symbols
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 3 || !strings.Contains("tTwW", words[1]) {
			continue
		}
		at, err := strconv.ParseUint(words[0], 16, 64)
		if err != nil || at == 0 {
			continue
		}
		all = append(all, symbol{at, words[2]})
	}
	slices.SortStableFunc(all, func(a, b symbol) int { return cmp.Compare(a.at, b.at) })
	return all, lines.Err()
}

// name returns the function that contains an address; "" if the address is before the first function.
func (s symbols) name(address uint64) string {
	i := sort.Search(len(s), func(i int) bool { return s[i].at > address })
	if i == 0 {
		return ""
	}
	return s[i-1].name
}
