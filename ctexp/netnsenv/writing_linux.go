package netnsenv

import (
	"errors"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// written is whether rules may write packets.
var written trait

// rulesMayWrite reports whether rules may write packets. It tries, by a table of its own, because the connection that owns ours
// cannot be used after a request that the kernel refuses for want of a capability (google/nftables v0.3.0, Conn.Flush).
func (e *Env) rulesMayWrite() (bool, error) { return written.ask(e.tryWriting) }

func (e *Env) tryWriting() (bool, error) {
	c, err := e.openNFTables()
	if err != nil {
		return false, err
	}
	defer c.CloseLasting()
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: ours.Table + "-writes"})
	chain := c.AddChain(&nftables.Chain{Table: t, Name: "writes"})
	c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
	}})
	c.DelTable(t)
	err = c.Flush()
	if err != nil && !errors.Is(err, unix.EPERM) {
		return false, err
	}
	return err == nil, nil
}

// CopiesFragments reports whether captures by an ordinary socket have fragments as they came in. Newer kernels than 6.18 (seen: 7.3)
// let no rule of a user namespace write packets, by which an Env has them copied
// (net/netfilter/nft_payload.c, nft_payload_set_init). An Observer then captures by a ring, which copies what it captures.
func (e *Env) CopiesFragments() bool {
	written.Lock()
	defer written.Unlock()
	return !written.known || written.is
}

// mayWrite reports whether a rule that may write packets was refused for want of a capability, in the words of nft.
func mayWrite(err error) bool {
	var wrong *RulesError
	return errors.As(err, &wrong) && slices.ContainsFunc(wrong.Problems, func(p RuleProblem) bool {
		return strings.Contains(p.Why, "Operation not permitted") && strings.Contains(p.Text, " set ")
	})
}

// refusesWriting reports whether the kernel has refused what writes packets because it lets no rule of a user namespace do so.
func (e *Env) refusesWriting() bool {
	may, err := e.rulesMayWrite()
	return !may && err == nil
}

// lackOfWriting is the error where the kernel lets no user namespace write packets.
func lackOfWriting(cause error) error {
	return &nf.UnsupportedError{
		Need: "rules that write packets", Hint: "a kernel that does not ask for CAP_NET_ADMIN of the machine, as Linux 6.18", Err: cause,
	}
}
