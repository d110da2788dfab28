package packet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// addrs returns the addresses that m compares; those of fields that are not set are not valid.
func (m Match) addrs() []netip.Addr {
	return []netip.Addr{m.Src.Addr(), m.Dst.Addr(), m.SrcNet.Addr(), m.DstNet.Addr(), m.Tuple.Src.Addr(), m.Tuple.Dst.Addr()}
}

// Family returns the family of all packets that m matches, zero if it may match packets of both.
func (m Match) Family() nf.Family {
	for _, a := range append(m.addrs(), familyOfICMP[m.Proto], familyOfICMP[m.Tuple.Proto], m.Exactly.Tuple().Src.Addr()) {
		if a.IsValid() {
			return nf.FamilyOf(a.Unmap())
		}
	}
	return familyOfEtherType[m.EtherType]
}

// NeedsEthernet reports whether m matches nothing but frames of an Ethernet, because of an address or a VLAN of it, or an EtherType other
// than those of IP.
func (m Match) NeedsEthernet() bool {
	return m.VLAN != 0 || m.SrcMAC != (nf.MAC{}) || m.DstMAC != (nf.MAC{}) || m.EtherType != 0 && familyOfEtherType[m.EtherType] == 0
}

// Check returns why m matches no packet, nil if it may match some: fields that exclude each other, such as flags of TCP and the
// protocol UDP. An expectation of nothing would always succeed.
func (m Match) Check() error {
	proto := m.Proto
	of := func(what string, is bool, ps ...nf.Proto) error {
		if is && proto != 0 && !slices.Contains(ps, proto) {
			return fmt.Errorf("no packet of %v has %s", proto, what)
		}
		if is && proto == 0 && len(ps) == 1 {
			proto = ps[0]
		}
		return nil
	}
	if t := m.Tuple.Proto; t != 0 {
		if proto != 0 && proto != t {
			return fmt.Errorf("no packet of %v has a tuple of %v", proto, t)
		}
		proto = t
	}
	icmp := m.ICMPType != nil || m.ICMPCode != nil || m.ICMPID != nil || m.MTU != nil || m.Gateway.IsValid() || m.About != nil
	if err := of("fields of ICMP", icmp, nf.ICMP, nf.ICMPv6); err != nil {
		return err
	}
	tcp := m.Flags|m.FlagsMask != 0 || m.Seq != nil || m.Ack != nil || m.Window != nil || len(m.Options) > 0
	if err := of("fields of TCP", tcp, nf.TCP); err != nil {
		return err
	}
	if icmp && tcp {
		return errors.New("no packet has both fields of ICMP and of TCP")
	}
	if (m.Src.Port() != 0 || m.Dst.Port() != 0) && proto != 0 && !proto.HasPorts() && proto != nf.GRE {
		return fmt.Errorf("no packet of %v has ports", proto)
	}
	if err := m.Tuple.Check(); err != nil {
		return err
	}
	first := familyOfICMP[proto]
	for _, a := range m.addrs() {
		switch a = a.Unmap(); {
		case !a.IsValid():
		case !first.IsValid():
			first = a
		case a.Is4() != first.Is4():
			return otherFamily(proto, first, a)
		}
	}
	for _, in := range []struct {
		addr netip.Addr
		net  netip.Prefix
	}{{m.Src.Addr(), m.SrcNet}, {m.Dst.Addr(), m.DstNet}} {
		if in.addr.IsValid() && in.net.IsValid() && !in.net.Contains(in.addr.Unmap()) {
			return fmt.Errorf("%v is not in %v", in.addr, in.net)
		}
	}
	if err := m.checkEtherType(first, proto); err != nil {
		return err
	}
	if icmp && !m.isMessage(proto, first) {
		return m.noMessage()
	}
	if err := m.checkValues(); err != nil {
		return err
	}
	if m.About != nil {
		return m.About.Check()
	}
	return nil
}

// checkEtherType returns an error if no frame of the EtherType has a packet of that family, of which first is an address, and protocol.
func (m Match) checkEtherType(first netip.Addr, proto nf.Proto) error {
	is := familyOfEtherType[m.EtherType]
	switch {
	case m.EtherType == 0 || !first.IsValid() && proto == 0:
	case is == 0:
		return fmt.Errorf("no frame of EtherType %#04x has fields of IP", m.EtherType)
	case first.IsValid() && nf.FamilyOf(first) != is:
		return fmt.Errorf("no frame of EtherType %#04x has a packet of %v", m.EtherType, nf.FamilyOf(first))
	}
	return nil
}

// isMessage reports whether there is a message of ICMP, of the protocol and the family of an address if they are known, that can have all
// fields of ICMP that m compares. Those that depend on its type are what mtuOf, gatewayOf, header.IsQuery and header.Quotes have.
func (m Match) isMessage(proto nf.Proto, first netip.Addr) bool {
	code := func(c uint8) bool {
		return (m.ICMPCode == nil || *m.ICMPCode == c) && (m.Tuple == nf.Tuple{} || m.Tuple.ICMP.Code == c)
	}
	for p, addr := range familyOfICMP {
		family := nf.FamilyOf(addr)
		if proto != 0 && proto != p || first.IsValid() && nf.FamilyOf(first) != family || m.Gateway.IsValid() && nf.FamilyOf(m.Gateway) != family {
			continue
		}
		if m.About != nil && m.About.Family() != 0 && m.About.Family() != family {
			continue
		}
		for typ := range 256 {
			t := nf.Tuple{Proto: p, ICMP: nf.ICMPTuple{Type: uint8(typ)}}
			message := make([]byte, 40) // as long as a redirect's header
			tooBig := p == nf.ICMPv6
			if p == nf.ICMP {
				t.ICMP.Code, tooBig = 4, code(4)
			}
			_, hasMTU := mtuOf(t, message)
			_, hasGateway := gatewayOf(t, message)
			query := header.IsQuery(uint8(p), uint8(typ))
			switch {
			case m.ICMPType != nil && int(*m.ICMPType) != typ, m.Tuple != nf.Tuple{} && int(m.Tuple.ICMP.Type) != typ:
			case m.ICMPID != nil && !query, m.ICMPID != nil && m.Tuple != nf.Tuple{} && m.Tuple.ICMP.ID != *m.ICMPID:
			case m.MTU != nil && !(hasMTU && tooBig), m.Gateway.IsValid() && !hasGateway:
			case m.About != nil && !header.Quotes(uint8(p), uint8(typ)):
			default:
				return true
			}
		}
	}
	return false
}

// noMessage is the error if m is none: "no ICMP message of type 8 has an MTU".
func (m Match) noMessage() error {
	of, sep, about := "", " of", "a packet that it is about"
	var has []string
	if m.ICMPType != nil {
		of, sep = fmt.Sprintf(" of type %d", *m.ICMPType), " and"
	}
	if m.ICMPCode != nil {
		of += fmt.Sprintf("%s code %d", sep, *m.ICMPCode)
	}
	if m.About != nil && m.About.Family() != 0 {
		about = fmt.Sprintf("a packet of %v that it is about", m.About.Family())
	}
	for _, field := range []struct {
		is   bool
		name string
	}{
		{m.Tuple != nf.Tuple{}, fmt.Sprintf("the tuple %v", m.Tuple)}, {m.ICMPID != nil, "such an identifier"}, {m.MTU != nil, "an MTU"},
		{m.Gateway.IsValid(), fmt.Sprintf("the gateway %v", m.Gateway)}, {m.About != nil, about},
	} {
		if field.is {
			has = append(has, field.name)
		}
	}
	if from := m.Family(); from != 0 && (m.Gateway.IsValid() || m.About != nil) {
		of += fmt.Sprintf(" in %v", from)
	}
	return fmt.Errorf("no ICMP message%s has %s", of, strings.Join(has, " and "))
}

// checkValues returns an error for fields of which each is possible, but not all together.
func (m Match) checkValues() error {
	for _, end := range []struct {
		name      string
		of, tuple netip.AddrPort
		in        netip.Prefix
	}{{"source", m.Src, m.Tuple.Src, m.SrcNet}, {"destination", m.Dst, m.Tuple.Dst, m.DstNet}} {
		port := end.of.Port() != 0 && end.tuple.Port() != 0 && end.of.Port() != end.tuple.Port()
		addr := end.of.Addr().IsValid() && end.tuple.Addr().IsValid() && end.of.Addr().Unmap() != end.tuple.Addr().Unmap()
		if port || addr || end.in.IsValid() && end.tuple.Addr().IsValid() && !end.in.Contains(end.tuple.Addr().Unmap()) {
			return fmt.Errorf("no packet has another %s than that of its tuple, %v", end.name, end.tuple)
		}
	}
	mask := m.FlagsMask
	if mask != 0 && m.Flags != 0 && m.Flags&mask == 0 {
		return fmt.Errorf("the flags %v are not compared with: FlagsMask is %v", m.Flags, mask)
	}
	if mask == 0 && m.Flags != 0 {
		mask = ^TCPFlags(0)
	}
	switch {
	case m.Ack != nil && mask&FlagACK != 0 && m.Flags&FlagACK == 0:
		return errors.New("no segment without the flag ACK has an Ack")
	case m.Payload != nil && !strings.Contains(string(m.Payload), m.Contains):
		return fmt.Errorf("the payload %q does not contain %q", m.Payload, m.Contains)
	case m.Exactly != nil:
		only := m
		only.In, only.Out, only.EtherType, only.SrcMAC, only.DstMAC, only.VLAN = "", "", 0, nf.MAC{}, nf.MAC{}, 0
		only.Exactly, only.Is = nil, nil
		if !only.Match(m.Exactly.On("", Out)) {
			return fmt.Errorf("the packet that it must be exactly, %v, does not match %v", m.Exactly, only)
		}
	}
	return nil
}

// familyOfICMP has an address of the family of each ICMP, which is not that of a packet.
var familyOfICMP = map[nf.Proto]netip.Addr{nf.ICMP: netip.IPv4Unspecified(), nf.ICMPv6: netip.IPv6Unspecified()}

// familyOfEtherType has the families of IP by their EtherTypes.
var familyOfEtherType = map[uint16]nf.Family{EtherTypeIPv4: nf.IPv4, EtherTypeIPv6: nf.IPv6}

// otherFamily is the error of addresses, or an address and an ICMP, of different families.
func otherFamily(p nf.Proto, first, a netip.Addr) error {
	if first == familyOfICMP[p] {
		return fmt.Errorf("no packet of %v has the address %v", p, a)
	}
	return fmt.Errorf("no packet has both %v and %v, which are of different families", first, a)
}
