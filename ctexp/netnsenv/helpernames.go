package netnsenv

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// kernelHelper is what a helper of the kernel reads, and the modules that it is in.
type kernelHelper struct {
	protos  []nf.Proto
	ipv4    bool // it is for IPv4 only
	modules string
}

// kernelHelpers are those that come with the kernel, by the names that they register (net/netfilter/nf_conntrack_*.c,
// nf_conntrack_helper_register). Programs may register others from userspace (nfnetlink_cthelper).
var kernelHelpers = map[string]kernelHelper{
	"amanda":     {[]nf.Proto{nf.UDP}, false, "nf_conntrack_amanda nf_nat_amanda"},
	"ftp":        {[]nf.Proto{nf.TCP}, false, "nf_conntrack_ftp nf_nat_ftp"},
	"irc":        {[]nf.Proto{nf.TCP}, true, "nf_conntrack_irc nf_nat_irc"},
	"netbios-ns": {[]nf.Proto{nf.UDP}, true, "nf_conntrack_netbios_ns"},
	"pptp":       {[]nf.Proto{nf.TCP}, true, "nf_conntrack_pptp nf_nat_pptp"},
	"Q.931":      {[]nf.Proto{nf.TCP}, false, "nf_conntrack_h323 nf_nat_h323"},
	"RAS":        {[]nf.Proto{nf.UDP}, false, "nf_conntrack_h323 nf_nat_h323"},
	"sane":       {[]nf.Proto{nf.TCP}, false, "nf_conntrack_sane"},
	"sip":        {[]nf.Proto{nf.TCP, nf.UDP}, false, "nf_conntrack_sip nf_nat_sip"},
	"snmp":       {[]nf.Proto{nf.UDP}, true, "nf_conntrack_snmp"},
	"snmp_trap":  {[]nf.Proto{nf.UDP}, true, "nf_nat_snmp_basic"},
	"tftp":       {[]nf.Proto{nf.UDP}, false, "nf_conntrack_tftp nf_nat_tftp"},
}

// missing makes of the kernel's word that there is no such helper what it means: no kernel has it, or this one does not.
func (h Helper) missing(cause error) error {
	k := kernelHelpers[h.Name]
	if err := h.unknown(); err != nil {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return &nf.UnsupportedError{Need: "helper " + h.Name, Hint: "sudo modprobe -a nft_ct " + k.modules, Err: cause}
}

// unknown returns why no kernel has the helper, or nil.
func (h Helper) unknown() error {
	k, ok := kernelHelpers[h.Name]
	switch {
	case !ok:
		names := slices.SortedFunc(maps.Keys(kernelHelpers), func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
		return fmt.Errorf("no kernel has a helper of that name, and no program has registered one: want one of %s", strings.Join(names, ", "))
	case !slices.Contains(k.protos, h.Proto):
		return fmt.Errorf("it reads %v, not %v", k.protos[0], h.Proto)
	case k.ipv4 && h.Family == nf.IPv6:
		return fmt.Errorf("it reads IPv4 only")
	}
	return nil
}
