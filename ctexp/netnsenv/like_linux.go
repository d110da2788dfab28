package netnsenv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nsthread"
	"github.com/ctexp/go-ctexp/internal/procnet"
)

// Like copies a live network namespace into a Config, so that one can ask in an Env what the namespace does with packets,
// without touching it. The path is that of a namespace: /proc/1234/ns/net, /run/netns/name, Env.Path.
//
//	prod, err := netnsenv.Like(ctx, "/proc/1234/ns/net")
//	…
//	for _, n := range prod.NotCopied {
//		log.Print(n)
//	}
//	env, err := netnsenv.Open(ctx, prod.Config)
//
// It copies interfaces with their kind, addresses, MTU, Ethernet address and ports, routes of all tables, routing rules, known
// neighbours, sysctls below net that decide about packets, and the rules of nftables, of both variants of iptables and of ipset. What
// it cannot copy is in Likeness.NotCopied; entries of conntrack always are, because Listing puts those into an Env.
// Interfaces that lead out of the namespace become Links: network cards, the ends of veths and tuns, and tunnels for which there is
// no DeviceKind, whose packets leave as they are. As in every Env, Links ask for no neighbours, the host sends nothing on its own for
// IPv6, and conntrack has events.
//
// The namespace must belong to the process's user namespace, which that of a container or of the host does not after Enter: name those in
// Entry.Like, and the process outside reads them. Where the namespace may not be entered, as one of root's by an
// ordinary user, Like copies what /proc/1234/net tells, links with addresses and networks, and lists the rest. Reading changes nothing
// in the namespace: it is dumps of netlink, files of /proc, and nft, ipset and iptables-save, if there are rules for them.
func Like(ctx context.Context, path string) (Likeness, error) {
	s, ok, err := passedOn(path)
	if !ok && err == nil {
		s, err = see(ctx, path)
	}
	var l Likeness
	if err == nil {
		l, err = s.likeness()
	}
	if err != nil {
		return Likeness{}, fmt.Errorf("netnsenv: like %s: %w", path, err)
	}
	return l, nil
}

// likeness makes a Config of what was seen.
func (s *sighting) likeness() (Likeness, error) {
	l := liking{seen: s, names: map[uint32]string{}, not: slices.Clone(s.Unread)}
	l.cfg.Links = []LinkConfig{} // not the default link
	if s.Closed {
		l.ofProc()
	} else if err := l.ofNetlink(); err != nil {
		return Likeness{}, err
	}
	if s.Entries > 0 {
		l.miss(PartEntries, "", "entries of conntrack (%d): Listing puts what conntrack -L prints into an Env", s.Entries)
	}
	for _, t := range s.Rules {
		l.cfg.Rules = append(l.cfg.Rules, MissingLinks(rulesText{t}))
	}
	order := parts()
	slices.SortStableFunc(l.not, func(a, b NotCopied) int { return cmp.Compare(slices.Index(order, a.Part), slices.Index(order, b.Part)) })
	if _, err := l.cfg.normalize(); err != nil {
		return Likeness{}, fmt.Errorf("its copy is wrong: %w", err)
	}
	return Likeness{Config: l.cfg, NotCopied: l.not}, nil
}

// liking makes a Config of a sighting.
type liking struct {
	seen   *sighting
	cfg    Config
	not    []NotCopied
	faces  []*face
	names  map[uint32]string     // of the interfaces that are copied and up, and of lo, by index
	owners map[netip.Addr]string // the interface of each address that is copied
}

// miss notes what is not copied.
func (l *liking) miss(p Part, name, why string, args ...any) {
	l.not = append(l.not, NotCopied{Part: p, Name: name, Why: fmt.Sprintf(why, args...)})
}

func (l *liking) ofNetlink() error {
	if err := l.interfaces(); err != nil {
		return err
	}
	if err := l.addresses(); err != nil {
		return err
	}
	if err := l.routes(); err != nil {
		return err
	}
	if err := l.routingRules(); err != nil {
		return err
	}
	if err := l.neighbours(); err != nil {
		return err
	}
	return l.sysctls()
}

// passedOn returns what the process outside has seen of a namespace, for Entry.Like.
func passedOn(path string) (s *sighting, ok bool, err error) {
	fd, err := strconv.Atoi(os.Getenv(likeVariable))
	if err != nil {
		return nil, false, nil
	}
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	if target, err := os.Readlink(name); err != nil || !strings.Contains(target, likeFile) {
		return nil, false, nil // this process has inherited the variable alone
	}
	f, err := os.Open(name) // with an offset of its own
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	var all map[string]*sighting
	if err := json.NewDecoder(f).Decode(&all); err != nil {
		return nil, false, fmt.Errorf("read what was seen from outside: %w", err)
	}
	s, ok = all[path]
	return s, ok, nil
}

const (
	likeVariable = "CTEXP_LIKE"     // has the descriptor of the file
	likeFile     = "ctexp-likeness" // is in the name of the file
)

// seeAll looks at the namespaces of Entry.Like and returns a file with what it has seen, or nil if there are none.
func (e Entry) seeAll() (*os.File, error) {
	if len(e.Like) == 0 {
		return nil, nil
	}
	all := map[string]*sighting{}
	for _, path := range e.Like {
		if s, err := see(context.Background(), path); err == nil { // else Like meets the error again
			all[path] = s
		}
	}
	fd, err := unix.MemfdCreate(likeFile, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), likeFile)
	if err := json.NewEncoder(f).Encode(all); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// see looks at a namespace.
func see(ctx context.Context, path string) (*sighting, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrPermission) { // a process of another user
		return lookByProc(path, err)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	t, err := nsthread.Join(file)
	switch {
	case err == nil:
		defer t.Close()
		return look(ctx, t)
	case errors.Is(err, unix.EINVAL) && isFolder(file) && strings.HasSuffix(path, "/ns/net"):
		return lookByProc(path, os.ErrPermission) // seen: 5.10 leads to the folder ns who may not follow the link
	case errors.Is(err, unix.EINVAL):
		return nil, errors.New("it is no network namespace")
	case isOwnNetwork(file):
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return look(ctx, hereNow{})
	case errors.Is(err, unix.EPERM):
		return lookByProc(path, err)
	}
	return nil, err
}

func isFolder(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.IsDir()
}

// hereNow is the namespace of the calling thread, as a ruleset.Namespace.
type hereNow struct{}

// Do calls f.
func (hereNow) Do(f func() error) error { return f() }

// isOwnNetwork reports whether a file is the network namespace of the calling thread.
func isOwnNetwork(file *os.File) bool {
	var there, here unix.Stat_t
	return unix.Fstat(int(file.Fd()), &there) == nil && unix.Stat("/proc/thread-self/ns/net", &here) == nil && there.Ino == here.Ino && there.Dev == here.Dev
}

// lookByProc reads what /proc tells everybody of the namespace of a process, which may not be entered.
func lookByProc(path string, cause error) (*sighting, error) {
	dir, isProc := strings.CutSuffix(path, "/ns/net")
	if !isProc || !strings.HasPrefix(dir, "/proc/") {
		return nil, &nf.UnsupportedError{Need: needOver, Hint: hintOver, Err: cause}
	}
	s := &sighting{Closed: true, Files: map[string]string{}}
	for _, name := range append(slices.Clone(procnet.Files), procSNMP) {
		text, err := os.ReadFile(dir + "/net/" + name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		s.Files[name] = string(text)
	}
	for _, p := range parts() {
		why := "may not be read by this user"
		switch p {
		case PartInterface:
			why = "kinds, ports, MTUs and Ethernet addresses " + why
		case PartAddress:
			continue
		case PartRoute:
			why = "gateways, metrics and other tables " + why
		}
		s.Unread = append(s.Unread, NotCopied{Part: p, Why: why, Need: needOver, Hint: hintOver})
	}
	return s, nil
}

const (
	needOver = "CAP_SYS_ADMIN over the namespace"
	hintOver = "run as root, and name the namespace in netnsenv.Entry.Like"
)

// look reads the namespace of a thread. What may not be read is noted.
func look(ctx context.Context, ns interface{ Do(func() error) error }) (*sighting, error) {
	s := &sighting{}
	if err := ns.Do(s.dumps); err != nil {
		return nil, err
	}
	s.texts(ctx, ns)
	return s, nil
}
