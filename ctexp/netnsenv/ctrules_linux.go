package netnsenv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Load implements Ruleset.
func (p TimeoutPolicy) Load(_ context.Context, e *Env) error {
	err := p.load(e)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		err = &nf.UnsupportedError{Need: "CONFIG_NF_CONNTRACK_TIMEOUT", Hint: "a kernel with ct timeout objects of nftables (nft_ct)", Err: err}
	case err == nil:
		return nil
	}
	return fmt.Errorf("timeout policy: %w", err)
}

func (p TimeoutPolicy) load(e *Env) error {
	times, err := p.check()
	if err != nil {
		return err
	}
	match, err := matchOf(p.Match, p.Proto)
	if err != nil {
		return err
	}
	return e.assign(p.Table, "timeout", ctRule{
		kind: unix.NFT_OBJECT_CT_TIMEOUT, name: "timeout", match: match, family: p.Family, zone: p.Zone,
		data: func(a *netlink.AttributeEncoder) error {
			// The object asks for a family and does not look at it (net/netfilter/nft_ct.c, nft_ct_timeout_obj_eval).
			a.Uint16(expr.NFTA_CT_TIMEOUT_L3PROTO, uint16(max(p.Family, nf.IPv4)))
			a.Uint8(expr.NFTA_CT_TIMEOUT_L4PROTO, uint8(p.Proto))
			a.Nested(expr.NFTA_CT_TIMEOUT_DATA, func(a *netlink.AttributeEncoder) error {
				for state, d := range times {
					a.Uint32(state, uint32(d/time.Second))
				}
				return nil
			})
			return nil
		},
	})
}

// Load implements Ruleset.
func (h Helper) Load(_ context.Context, e *Env) error {
	err := h.load(e)
	switch {
	case errors.Is(err, unix.ENOENT):
		err = h.missing(err)
	case err == nil:
		return nil
	}
	return fmt.Errorf("helper %q: %w", h.Name, err)
}

func (h Helper) load(e *Env) error {
	if h.Name == "" || len(h.Name) > 15 {
		return errors.New("want a name of 1 to 15 bytes")
	}
	if h.Proto != nf.TCP && h.Proto != nf.UDP {
		return fmt.Errorf("protocol %v: helpers read tcp or udp", h.Proto)
	}
	match, err := matchOf(h.Match, h.Proto)
	if err != nil {
		return err
	}
	return e.assign(h.Table, "helper", ctRule{
		kind: unix.NFT_OBJECT_CT_HELPER, name: "helper", match: match, family: h.Family, zone: h.Zone,
		data: func(a *netlink.AttributeEncoder) error {
			a.String(unix.NFTA_CT_HELPER_NAME, h.Name)
			a.Uint16(unix.NFTA_CT_HELPER_L3PROTO, l3proto(h.Family))
			a.Uint8(unix.NFTA_CT_HELPER_L4PROTO, uint8(h.Proto))
			return nil
		},
	})
}

// Load implements Ruleset.
func (x Expect) Load(_ context.Context, e *Env) error {
	if err := x.check(); err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	match, err := matchOf(x.Match, x.Match.Proto)
	if err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	families := []nf.Family{x.Family}
	if x.Family == 0 { // unlike a helper's, its object is of one family
		families = []nf.Family{nf.IPv4, nf.IPv6}
	}
	var rules []ctRule
	for _, f := range families {
		rules = append(rules, ctRule{
			kind: unix.NFT_OBJECT_CT_EXPECT, name: fmt.Sprintf("expect_%v", f), match: match, family: f, zone: x.Zone,
			data: func(a *netlink.AttributeEncoder) error {
				a.Uint16(expr.NFTA_CT_EXPECT_L3PROTO, uint16(f))
				a.Uint8(expr.NFTA_CT_EXPECT_L4PROTO, uint8(x.Proto))
				a.Uint16(expr.NFTA_CT_EXPECT_DPORT, x.Port)
				a.Bytes(expr.NFTA_CT_EXPECT_TIMEOUT, binary.NativeEndian.AppendUint32(nil, uint32(x.Timeout/time.Second)))
				a.Uint8(expr.NFTA_CT_EXPECT_SIZE, max(1, x.Most))
				return nil
			},
		})
	}
	if err := e.assign(x.Table, "expect", rules...); err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	return nil
}

func l3proto(f nf.Family) uint16 {
	if f == 0 {
		return unix.NFPROTO_INET
	}
	return uint16(f)
}
