package netnsenv

import (
	"errors"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
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
