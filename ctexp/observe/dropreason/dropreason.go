package dropreason

import (
	"bufio"
	"bytes"
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

// event is what the BPF program says of a packet, in the machine's byte order.
type event struct {
	monotonic uint64 // ns since the machine was started
	location  uint64 // address in the kernel behind the call that dropped it
	reason    uint32
	length    uint32
	link      string
	packet    []byte // of the record, not a copy
}

// Where the record of an event has its fields.
const (
	atTime     = 0
	atLocation = 8
	atReason   = 16
	atLength   = 20
	atCaptured = 24 // bytes of the packet; at 28 nothing
	atLink     = 32
	linkSize   = 16 // IFNAMSIZ
	atPacket   = atLink + linkSize
	packetSize = 128 // IPv6 with options and TCP with options fit
	eventSize  = atPacket + packetSize
)

// decode reads a record.
func decode(b []byte) (event, error) {
	if len(b) < eventSize {
		return event{}, fmt.Errorf("drop of %d bytes: want %d", len(b), eventSize)
	}
	n := binary.NativeEndian.Uint32(b[atCaptured:])
	if n > packetSize {
		return event{}, fmt.Errorf("drop at offset %d: %d bytes of a packet, want %d at most", atCaptured, n, packetSize)
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

// names are the kernel's names of the reasons, by their numbers.
type names map[uint32]string

// prefix begins the names of most of them.
const prefix = "SKB_DROP_REASON_"

func (n names) add(number uint32, name string) { n[number] = strings.TrimPrefix(name, prefix) }

// name returns the name of a reason. Subsystems have numbers of their own (include/net/dropreason.h,
// SKB_DROP_REASON_SUBSYS_MASK), which are no part of the enumeration.
func (n names) name(number uint32) string {
	if s := n[number]; s != "" {
		return s
	}
	if sub := number >> 16; sub != 0 {
		return fmt.Sprintf("reason(subsystem %d, %d)", sub, number&0xffff)
	}
	return fmt.Sprintf("reason(%d)", number)
}

// symbol is a function of the kernel's.
type symbol struct {
	at   uint64
	name string
}

// symbols are functions by their addresses.
type symbols []symbol

// kernelSymbols reads the functions of the running kernel once, 50 ms. Where they cannot be read, or have no addresses
// (kernel.kptr_restrict), there are none.
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

// parseSymbols reads lines such as "ffffffff81000000 T _text" and keeps the functions. Lines of another form are passed over.
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
	slices.SortStableFunc(all, func(a, b symbol) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	return all, lines.Err()
}

// name returns the function that an address is in; "" if it is before all of them.
func (s symbols) name(address uint64) string {
	i := sort.Search(len(s), func(i int) bool { return s[i].at > address })
	if i == 0 {
		return ""
	}
	return s[i-1].name
}
