package netnsenv

import (
	"os"
	"strconv"
	"sync"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/nsthread"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// keepHooks keeps a namespace with one hook of each type that Envs have, from the first Env of the process to the end of the
// process. When the first hook of a type on the machine is registered, and when the last one is removed, the kernel patches its
// own code and interrupts every CPU (include/linux/netfilter.h, nf_hooks_needed; kernel/jump_label.c): half of the time of Open
// and Close of an Env that is alone. The namespace has no name and no thread, only the descriptor that it returns. Without it
// everything is as it was, but slower, so that an error is of no interest: nil.
var keepHooks = sync.OnceValue(func() *os.File {
	thread, err := nsthread.New()
	if err != nil {
		return nil
	}
	defer thread.Close()
	var netns *os.File
	err = thread.Do(func() error {
		if err := addEveryHook(); err != nil {
			return err
		}
		fd, err := unix.FcntlInt(uintptr(thread.FD()), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			netns = os.NewFile(uintptr(fd), "/proc/self/fd/"+strconv.Itoa(fd))
		}
		return err
	})
	if err != nil {
		return nil
	}
	return netns
})

// addEveryHook adds a chain without rules for each hook to the namespace of the calling thread. Those of the family inet are
// hooks of both families. The one of netdev needs a link: lo is there, and down.
func addEveryHook() error {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return err
	}
	defer conn.CloseLasting()
	inet := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: ours.Table})
	for _, h := range []*nftables.ChainHook{
		nftables.ChainHookPrerouting, nftables.ChainHookInput, nftables.ChainHookForward, nftables.ChainHookOutput, nftables.ChainHookPostrouting,
	} {
		conn.AddChain(&nftables.Chain{
			Table: inet, Name: "hook" + strconv.Itoa(int(*h)), Type: nftables.ChainTypeFilter, Hooknum: h, Priority: nftables.ChainPriorityFilter,
		})
	}
	netdev := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyNetdev, Name: ours.Table})
	conn.AddChain(&nftables.Chain{
		Table: netdev, Name: "ingress", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityFilter,
		Device: "lo",
	})
	if err := conn.Flush(); err != nil {
		return err
	}
	conn.AddChain(&nftables.Chain{
		Table: netdev, Name: "egress", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookEgress, Priority: nftables.ChainPriorityFilter,
		Device: "lo",
	})
	_ = conn.Flush() // before Linux 5.16 there is no such hook
	return nil
}
