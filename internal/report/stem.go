package report

import (
	"fmt"
	"hash/fnv"
	"strings"
	"unicode"
)

// longestStem is how long the name of a test may be in the name of a file: with the rest it fits into the 255 bytes of
// most file systems.
const longestStem = 160

// Stem returns the name of a test as the names of files begin with: letters and digits of any script, "_", "." and "-" as they are, and
// "-" for everything else. A name that is too long is cut and ends with a number made of the whole.
func Stem(test string) string {
	s := strings.Trim(strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, test), ".-")
	if s == "" {
		return "experiment"
	}
	if len(s) > longestStem {
		h := fnv.New32a()
		h.Write([]byte(test))
		s = fmt.Sprintf("%s-%08x", strings.ToValidUTF8(s[:longestStem-9], ""), h.Sum32())
	}
	return s
}
