package netnsenv

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// noSubsystem are the errors of a netfilter netlink request that prove that the kernel does not have what the request is
// for, and no module with it: there is no such subsystem or message (net/netfilter/nfnetlink.c, nfnetlink_rcv_msg), or no
// nfnetlink at all (net/netlink/af_netlink.c, netlink_create; net/socket.c, __sock_create). A request that has what its
// message wants. EPERM, ENOBUFS, EMFILE, ENOMEM and others prove nothing.
var noSubsystem = []unix.Errno{unix.EINVAL, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT}

// noExpression are the errors of an nftables transaction that prove that the kernel lacks a type of chains, expressions or
// objects that it contains (net/netfilter/nf_tables_api.c, nft_chain_validate_hook, nft_expr_type_get, nft_obj_type_get),
// if all that it refers to by name is in the transaction itself.
var noExpression = []unix.Errno{unix.ENOENT, unix.EOPNOTSUPP}

// lackIf returns lack with err as its cause if err is one of the errnos that prove it, else err.
func lackIf(err error, lack nf.UnsupportedError, proof ...unix.Errno) error {
	var errno unix.Errno
	if !errors.As(err, &errno) || !slices.Contains(proof, errno) {
		return err
	}
	lack.Err = err
	return &lack
}

// noLack returns err so that it does not match errors.ErrUnsupported unless it has an nf.UnsupportedError. Package syscall
// lets EOPNOTSUPP, ENOSYS and ENOTSUP match, but a kernel that refuses a wrong request by one of them lacks nothing.
func noLack(err error) error {
	var lack *nf.UnsupportedError
	if !errors.Is(err, errors.ErrUnsupported) || errors.As(err, &lack) {
		return err
	}
	return refusal{err}
}

// refusal is an error that matches all that its cause does but errors.ErrUnsupported.
type refusal struct{ error }

// Is implements the interface of errors.Is.
func (r refusal) Is(target error) bool {
	return target != errors.ErrUnsupported && errors.Is(r.error, target)
}

// As implements the interface of errors.As.
func (r refusal) As(target any) bool { return errors.As(r.error, target) }

// trait is something that the kernel does or does not do, which is the same in all namespaces of the process: it is tried once.
type trait struct {
	sync.Mutex
	known, is bool
}

// ask returns whether the kernel does it, which try finds out. After an error the next call tries again.
func (t *trait) ask(try func() (bool, error)) (bool, error) {
	t.Lock()
	defer t.Unlock()
	if t.known {
		return t.is, nil
	}
	is, err := try()
	if err == nil {
		t.known, t.is = true, is
	}
	return is, err
}

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
