package model

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Classes returns rules by which a History has the class and direction of each packet that was delivered: directly behind
// conntrack they write both into the DSCP of the packet, from where ForAll reads them. Load them with netnsenv.Config.Rules,
// unless the experiment's own rules match the DSCP. They do not need the program nft. Where the kernel lets no rule of a user
// namespace write packets (seen: 7.3; net/netfilter/nft_payload.c, nft_payload_set_init), the error is an
// nf.UnsupportedError.
func Classes() netnsenv.Ruleset { return classes{} }

type classes struct{}

// Load implements netnsenv.Ruleset.
func (classes) Load(ctx context.Context, e *netnsenv.Env) error {
	err := classRules().Load(ctx, e)
	if errors.Is(err, unix.EPERM) {
		err = &nf.UnsupportedError{Need: "rules that write packets", Hint: "this kernel refuses them in a user namespace", Err: err}
	}
	return err
}

func classRules() netnsenv.Ruleset {
	return netnsenv.NFTables(func(c *nftables.Conn) error {
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "model"})
		behind := nftables.ChainPriority(nf.PriorityConntrack + 1)
		chain := c.AddChain(&nftables.Chain{
			Name: "classes", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: &behind,
		})
		for code, v := range codes {
			if v.class == 0 {
				continue
			}
			match := []expr.Any{
				&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
				&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, uint32(v.class)), Xor: make([]byte, 4)},
				&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
			}
			if v.dir != 0 {
				match = append(match,
					&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(v.dir - nf.Original)}})
			}
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(match,
				// The first two bytes of a header without options: the checksum of the header is kept right for whole words.
				&expr.Immediate{Register: 1, Data: []byte{4<<4 | ipv4Header/4, byte(code << 2)}},
				&expr.Payload{
					OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 0, Len: 2,
					CsumType: expr.CsumTypeInet, CsumOffset: 10,
				})})
		}
		return nil
	})
}
