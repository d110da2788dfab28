package dropreason

import (
	"bufio"
	"io"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

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
