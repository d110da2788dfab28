package netnsenv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/procnet"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// sighting is what was read of a network namespace, as the kernel and the programs tell it. It crosses from the process outside as
// JSON, so that nothing outside depends on what an Env can have.
type sighting struct {
	Closed bool              // the namespace may not be entered: there are Files and Unread alone
	Files  map[string]string // procnet.Files

	Interfaces, Bridges, Addresses, Routes, RoutingRules, Neighbours, Proxies, Forwarding, Queues [][]byte // bodies of messages of rtnetlink

	Sysctls map[string]string // by the path below /proc/sys
	Rules   []ruleset.Text
	Entries int // of conntrack
	Unread  []NotCopied
}

// request is a dump that is asked for.
type request struct {
	typ  uint16
	body []byte
	into *[][]byte
	may  bool // the kernel may lack it
}

// dumps reads what rtnetlink and /proc tell of the namespace of the calling thread.
func (s *sighting) dumps() error {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer c.Close()
	family := func(f uint8, size int) []byte { return append([]byte{f}, make([]byte, size-1)...) }
	proxies := func(f uint8) []byte {
		b := family(f, sizeofNdMsg)
		b[10] = unix.NTF_PROXY // ndm_flags
		return b
	}
	vlans := append(family(unix.AF_BRIDGE, unix.SizeofIfInfomsg), nativeAttribute(unix.IFLA_EXT_MASK, filterVLANs)...)
	for _, r := range []request{
		{unix.RTM_GETLINK, family(unix.AF_UNSPEC, unix.SizeofIfInfomsg), &s.Interfaces, false},
		{unix.RTM_GETLINK, vlans, &s.Bridges, true},
		{unix.RTM_GETADDR, family(unix.AF_UNSPEC, unix.SizeofIfAddrmsg), &s.Addresses, false},
		{unix.RTM_GETROUTE, family(unix.AF_INET, unix.SizeofRtMsg), &s.Routes, false},
		{unix.RTM_GETROUTE, family(unix.AF_INET6, unix.SizeofRtMsg), &s.Routes, true},
		{unix.RTM_GETRULE, family(unix.AF_INET, sizeofRuleMsg), &s.RoutingRules, true},
		{unix.RTM_GETRULE, family(unix.AF_INET6, sizeofRuleMsg), &s.RoutingRules, true},
		{unix.RTM_GETNEIGH, family(unix.AF_UNSPEC, sizeofNdMsg), &s.Neighbours, false},
		{unix.RTM_GETNEIGH, proxies(unix.AF_INET), &s.Proxies, false},
		{unix.RTM_GETNEIGH, proxies(unix.AF_INET6), &s.Proxies, true},
		{unix.RTM_GETNEIGH, family(unix.AF_BRIDGE, sizeofNdMsg), &s.Forwarding, true},
		{unix.RTM_GETQDISC, family(unix.AF_UNSPEC, sizeofTcMsg), &s.Queues, true},
	} {
		messages, err := c.Execute(netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(r.typ), Flags: netlink.Request | netlink.Dump}, Data: r.body,
		})
		if err != nil && !r.may {
			return fmt.Errorf("rtnetlink, request %d: %w", r.typ, err)
		}
		for _, m := range messages {
			if m.Header.Type == netlink.HeaderType(r.typ)-2 { // RTM_NEW… (include/uapi/linux/rtnetlink.h); without IPv6 that dump is of all families
				*r.into = append(*r.into, m.Data)
			}
		}
	}
	s.Sysctls = readSysctls()
	if n, err := os.ReadFile("/proc/sys/" + keyCount); err == nil {
		_, _ = fmt.Sscan(string(n), &s.Entries)
	}
	s.others()
	return nil
}

// The sizes of headers that x/sys/unix lacks (include/uapi/linux/neighbour.h, fib_rules.h, rtnetlink.h).
const (
	sizeofNdMsg   = 12
	sizeofRuleMsg = 12
	sizeofTcMsg   = 20
	filterVLANs   = 2 // RTEXT_FILTER_BRVLAN
)

// nativeAttribute encodes an attribute with a number.
func nativeAttribute(typ uint16, v uint32) []byte {
	b := append(nativeUint16(8), nativeUint16(typ)...)
	return binary.NativeEndian.AppendUint32(b, v)
}

// others notes what else decides about packets, which no Env has.
func (s *sighting) others() {
	if text, err := os.ReadFile("/proc/thread-self/net/ip_vs"); err == nil {
		services := 0
		for l := range strings.Lines(string(text)) {
			for _, proto := range []string{"TCP ", "UDP ", "SCTP ", "FWM "} {
				if strings.HasPrefix(l, proto) {
					services++
				}
			}
		}
		if services > 0 {
			s.unread(PartOther, "IPVS", fmt.Errorf("an Env has no virtual servers (services: %d)", services))
		}
	}
	n, err := policies()
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT): // the kernel has no IPsec
	case err != nil:
		s.unread(PartOther, "IPsec", fmt.Errorf("its policies may not be read: %w", err))
	case n > 0:
		s.unread(PartOther, "IPsec", fmt.Errorf("an Env has no policies of IPsec (policies: %d)", n))
	}
}

// policies returns the number of policies of IPsec.
func policies() (int, error) {
	const getPolicy = 0x15 // XFRM_MSG_GETPOLICY, include/uapi/linux/xfrm.h
	c, err := netlink.Dial(unix.NETLINK_XFRM, nil)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	messages, err := c.Execute(netlink.Message{Header: netlink.Header{Type: getPolicy, Flags: netlink.Request | netlink.Dump}})
	return len(messages), err
}

// texts reads the rules.
func (s *sighting) texts(ctx context.Context, ns ruleset.Namespace) {
	var unread []ruleset.Unread
	s.Rules, unread = ruleset.Whole(ctx, ns)
	for _, u := range unread {
		s.unread(PartRules, u.What, u.Err)
	}
}

// unread notes what could not be read.
func (s *sighting) unread(p Part, name string, err error) {
	n := NotCopied{Part: p, Name: name, Why: err.Error()}
	var lack *nf.UnsupportedError
	if errors.As(err, &lack) {
		n.Need, n.Hint, n.Why = lack.Need, lack.Hint, "not read"
		if lack.Err != nil {
			n.Why = lack.Err.Error()
		}
	}
	s.Unread = append(s.Unread, n)
}

const procSNMP = "snmp" // in /proc/PID/net

// forwardingByProc finds ipForwarding of the MIB with the value 1, which is yes (RFC 1213).
var forwardingByProc = regexp.MustCompile(`(?m)^Ip: Forwarding .*\nIp: 1 `)

// ofProc makes links of what /proc tells of a namespace that may not be entered.
func (l *liking) ofProc() {
	for _, p := range procnet.Links(l.seen.Files) {
		if err := checkName(p.Name); err != nil {
			l.miss(PartInterface, p.Name, "%v", err)
			continue
		}
		link := LinkConfig{Name: p.Name, Routes: p.Routes, Prefixes: []netip.Prefix{}}
		for _, prefix := range p.Prefixes {
			if why := noHost(prefix); why != "" {
				prefix = netip.PrefixFrom(prefix.Addr(), prefix.Addr().BitLen())
			}
			link.Prefixes = append(link.Prefixes, prefix)
		}
		l.cfg.Links = append(l.cfg.Links, link)
	}
	if forwardingByProc.MatchString(l.seen.Files[procSNMP]) {
		l.cfg.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"}
	}
}
