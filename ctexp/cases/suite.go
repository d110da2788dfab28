package cases

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Suite is a file of cases.
type Suite struct {
	Name   string                // of the file, as errors and failures print it
	Rules  []string              // names of the files with rules, as the file has them
	Links  []netnsenv.LinkConfig // of the host under test; nil: the file has none
	Blocks []Block               // in the order of the file
}

// Block is a list of cases between which the state of the firewall is kept.
type Block struct {
	Cases []Case // at least one
}

// Case is a packet and what is expected of it.
type Case struct {
	Line  int         // in the file, counted from 1
	Text  string      // the line, without its comment
	Trial ctexp.Trial // the packet and its link
	Want  Want        // what is expected
}

// Parse reads the text of a file of cases. The error has every wrong line, each as "name:line:column: what is wrong"; the
// Suite has the lines that are right. Of more than 20 wrong lines the error has the first 20 and the number of the others.
func Parse(name, text string) (Suite, error) {
	s := Suite{Name: name}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return s, fmt.Errorf("%s: is no text: want lines such as tcp 198.18.0.2:10000 > 192.0.2.1:80 S => drop", name)
	}
	var errs []error
	var b Block
	number := 0
	for line := range strings.Lines(text) {
		number++
		bare := packet.WithoutComment(strings.TrimRight(line, "\r\n"))
		if strings.TrimSpace(bare) == "" {
			if strings.TrimSpace(line) == "" { // else a comment
				s.end(&b)
			}
			continue
		}
		if isSetting, err := s.setting(bare); isSetting {
			if err == nil && len(s.Blocks)+len(b.Cases) > 0 {
				err = errors.New("rules and links stand before the first packet")
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: %w", name, number, err))
			}
			continue
		}
		c, err := parseCase(bare)
		if err != nil {
			errs = append(errs, at(name, number, err))
			continue
		}
		c.Line = number
		b.Cases = append(b.Cases, c)
	}
	s.end(&b)
	if len(s.Blocks) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s: there are no packets: want lines such as tcp 198.18.0.2:10000 > 192.0.2.1:80 S => drop", name))
	}
	if more := len(errs) - maxErrors; more > 0 {
		errs = append(errs[:maxErrors], fmt.Errorf("%s: %d more lines are wrong", name, more))
	}
	return s, errors.Join(errs...)
}

// maxErrors is the largest number of wrong lines that Parse tells.
const maxErrors = 20

// ReadFile reads a file of cases; see Parse. Names of files with rules become relative to the folder of the file.
func ReadFile(name string) (Suite, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return Suite{Name: name}, err
	}
	s, err := Parse(name, string(text))
	for i, r := range s.Rules {
		if !filepath.IsAbs(r) {
			s.Rules[i] = filepath.Join(filepath.Dir(name), r)
		}
	}
	return s, err
}

// end adds a block to the suite, if it is not empty.
func (s *Suite) end(b *Block) {
	if len(b.Cases) > 0 {
		s.Blocks = append(s.Blocks, *b)
	}
	*b = Block{}
}

// setting reads a line that says what the suite needs.
func (s *Suite) setting(line string) (is bool, err error) {
	words := strings.Fields(line)
	switch words[0] {
	case "rules":
		if len(words) != 2 {
			return true, errors.New("rules: want the name of one file")
		}
		s.Rules = append(s.Rules, words[1])
		return true, nil
	case "link":
		link, err := parseLink(words[1:])
		s.Links = append(s.Links, link)
		return true, err
	}
	return false, nil
}

// Packets returns the packets of all cases in their order.
func (s Suite) Packets() (all []packet.Packet) {
	for _, b := range s.Blocks {
		for _, c := range b.Cases {
			all = append(all, c.Trial.Packet)
		}
	}
	return all
}

// ParseCase reads one line: a packet with or without a link before it and an expectation behind it. The error is a
// *nf.ParseError with the column of the wrong word.
func ParseCase(line string) (Case, error) { return parseCase(line) }

// inLink is a link before a packet, also behind the place of a line that was printed.
var inLink = regexp.MustCompile(`^\s*(?:\S+:[0-9]+:\s+)?in\s+(\S+)\s`)

func parseCase(line string) (c Case, err error) {
	c.Text = strings.TrimSpace(line)
	what, want, expects := cutWant(line)
	rest := what
	if m := inLink.FindStringSubmatchIndex(what); m != nil {
		c.Trial.Link = what[m[2]:m[3]]
		rest = blank(what, m[3])
	} else if c.Trial.Link, err = capturedOn(what); err != nil {
		return c, err
	}
	if c.Trial.Packet, err = packet.Parse(rest); err != nil {
		return c, err
	}
	if expects {
		c.Want, err = parseWant(blank(line, len(line)-len(want)), len(line)-len(want))
	}
	return c, err
}

// capturedOn returns the link of a captured line: the word before "In". What the host has sent on the link is not tried. Before such a line
// anything may stand, but no "in" in another form, which would be passed over.
func capturedOn(line string) (link string, err error) {
	words := strings.Fields(line)
	for i, w := range words {
		switch {
		case i > 0 && w == "In":
			return words[i-1], nil
		case strings.EqualFold(w, "in"):
			return "", &nf.ParseError{Line: 1, Column: strings.Index(line, w) + 1, Word: w, What: "gives no link: want in LINK before a packet, or LINK In, as a captured line has it"}
		case w == "IP" || w == "IP6" || i > 2:
			return "", nil
		}
	}
	return "", nil
}

// cutWant cuts a line at the "=>" that is not within quotes.
func cutWant(line string) (before, behind string, found bool) {
	quoted := false
	for i := range len(line) {
		switch {
		case line[i] == '"' && (i == 0 || line[i-1] != '\\'):
			quoted = !quoted
		case !quoted && strings.HasPrefix(line[i:], "=>"):
			return line[:i], line[i+2:], true
		}
	}
	return line, "", false
}

// blank returns a line with blanks instead of its first n bytes, so that columns stay what they are.
func blank(line string, n int) string { return strings.Repeat(" ", n) + line[n:] }

// at adds the place to the error of a line.
func at(name string, line int, err error) error {
	var wrong *nf.ParseError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("%s:%d: %w", name, line, err)
	}
	wrong.Line = line
	word := ""
	if wrong.Word != "" {
		word = fmt.Sprintf("%q ", shortened(wrong.Word))
	}
	return fmt.Errorf("%s:%d:%d: %s%s", name, line, wrong.Column, word, wrong.What)
}

// ParseLinks reads links of the host under test, one in a line or between semicolons: a name, addresses with their prefix
// lengths, and behind "route", or as "default", what is reached by the link. It also reads what ip -brief address and ip
// route print, so that a text may have both of a machine:
//
//	wan 192.0.2.1/24 2001:db8::1/64 default
//	lan 10.0.0.1/24 route 10.1.0.0/16 mtu 1400
//
//	eth0@if7  UP  192.0.2.1/24
//	default via 192.0.2.254 dev eth0
//
// The link lo, which each host has, is left out. All others are up, whatever their state. Errors name the line; a route that leads to no link,
// such as a blackhole, is one.
func ParseLinks(text string) ([]netnsenv.LinkConfig, error) {
	var links []netnsenv.LinkConfig
	for i, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ';' }) {
		words := strings.Fields(packet.WithoutComment(line))
		if len(words) == 0 {
			continue
		}
		fail := func(err error) error { return fmt.Errorf("links: line %d: %w", i+1, err) }
		if refuses(words) {
			return nil, fail(fmt.Errorf("%s %s: a route by no link, which links cannot have: netnsenv.Config.Routes has it, and ctexp try -like copies it", words[0], behindWord(words, words[0])))
		}
		if dev := behindWord(words, "dev"); dev != "" {
			if err := addRoute(links, dev, words); err != nil {
				return nil, fail(err)
			}
			continue
		}
		link, err := parseLink(words)
		if err != nil {
			return nil, fail(err)
		}
		if link.Name != "lo" {
			links = append(links, link)
		}
	}
	if len(links) == 0 {
		return nil, errors.New("links: there are none: want lines such as wan 192.0.2.1/24 default")
	}
	return links, nil
}

// routeTypes are the words that ip route prints before routes that lead to no link.
var routeTypes = []string{"blackhole", "unreachable", "prohibit", "throw"}

// refuses reports whether a line is a route of another type than unicast. The one of the lowest priority that kernels have for all of IPv6
// changes nothing.
func refuses(words []string) bool {
	special := slices.Contains(routeTypes, words[0]) || words[0] == "local" && behindWord(words, "dev") != ""
	return special && behindWord(words, "metric") != "4294967295"
}

// behindWord returns the word that follows another; empty if there is none.
func behindWord(words []string, word string) string {
	for i, w := range words[:max(0, len(words)-1)] {
		if w == word {
			return words[i+1]
		}
	}
	return ""
}

// addRoute adds a line of ip route to its link. Networks of the links' own addresses are there already.
func addRoute(links []netnsenv.LinkConfig, dev string, words []string) error {
	for i := range links {
		l := &links[i]
		if l.Name != dev {
			continue
		}
		p, err := routeOf(words[0], behindWord(words, "via"))
		if err != nil {
			return err
		}
		for _, own := range l.Prefixes {
			if own.Masked() == p {
				return nil
			}
		}
		l.Routes = append(l.Routes, p)
		return nil
	}
	if dev == "lo" {
		return nil
	}
	return fmt.Errorf("route by %s: no line before has a link of this name", dev)
}

// routeOf reads the destination of a route. The gateway tells the family of "default".
func routeOf(word, via string) (netip.Prefix, error) {
	if word == "default" {
		if a, err := netip.ParseAddr(via); err == nil && a.Is6() {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0), nil
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
	}
	if a, err := netip.ParseAddr(word); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(word)
	if err != nil {
		return p, fmt.Errorf("%q is no network: want 10.0.0.0/24 or default", word)
	}
	return p.Masked(), nil
}

// linkWords are words of a line that no link has as its name.
var linkWords = []string{"default", "route", "mtu", "dev", "via"}

// parseLink reads the words of one link.
func parseLink(words []string) (l netnsenv.LinkConfig, err error) {
	if len(words) == 0 {
		return l, errors.New("link: want a name and addresses, such as wan 192.0.2.1/24 default")
	}
	if l.Name, _, _ = strings.Cut(words[0], "@"); l.Name == "" || slices.Contains(linkWords, l.Name) || strings.ContainsAny(l.Name, "/:%") { // eth0@if7
		return l, fmt.Errorf("link %q: want the name of a link before its addresses, such as wan 192.0.2.1/24 default", words[0])
	}
	l.Routes, l.Prefixes = []netip.Prefix{}, []netip.Prefix{}
	defaults, routes := false, false
	for i := 1; i < len(words); i++ {
		switch w := words[i]; w {
		case "UP", "DOWN", "UNKNOWN", "LOWERLAYERDOWN": // of ip -brief address
		case "default":
			defaults = true
		case "route":
			routes = true
		case "mtu":
			if i++; i == len(words) {
				return l, fmt.Errorf("link %s: mtu: want a number of bytes behind it", l.Name)
			}
			if l.MTU, err = strconv.Atoi(words[i]); err != nil || l.MTU <= 0 {
				return l, fmt.Errorf("link %s: mtu %q: want a number of bytes", l.Name, words[i])
			}
		default:
			if routes {
				p, err := routeOf(w, "")
				if err != nil {
					return l, fmt.Errorf("link %s: route: %w", l.Name, err)
				}
				l.Routes = append(l.Routes, p)
				continue
			}
			p, err := netip.ParsePrefix(w)
			if err != nil {
				return l, fmt.Errorf("link %s: %q: want an address with its prefix length, such as 192.0.2.1/24, or default, route, mtu", l.Name, w)
			}
			if p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() { // each link has its own
				continue
			}
			l.Prefixes = append(l.Prefixes, p)
		}
	}
	if defaults {
		l.Routes = append(l.Routes, defaultRoutes(l.Prefixes)...)
	}
	return l, nil
}

// defaultRoutes returns the default routes of the families that a link has addresses of.
func defaultRoutes(prefixes []netip.Prefix) (routes []netip.Prefix) {
	for _, f := range nf.Families() {
		any := netip.IPv4Unspecified()
		if f == nf.IPv6 {
			any = netip.IPv6Unspecified()
		}
		for _, p := range prefixes {
			if nf.FamilyOf(p.Addr()) == f {
				routes = append(routes, netip.PrefixFrom(any, 0))
				break
			}
		}
	}
	return routes
}
