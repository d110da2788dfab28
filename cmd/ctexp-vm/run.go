package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// options are those of a run.
type options struct {
	kernel        string
	memory, cpus  int
	uid           int
	accel         string
	conntrackMax  int
	programs      string
	modules       string
	fetch         string
	boot, silence time.Duration
	verbose       bool
}

func parse(args []string) (o options, rest []string, err error) {
	set := flag.NewFlagSet("ctexp-vm", flag.ContinueOnError)
	set.StringVar(&o.kernel, "kernel", os.Getenv("CTEXP_VM_KERNEL"), "version (6.1, 5.10.262-1), folder of an unpacked kernel package, or path of a bzImage; CTEXP_VM_KERNEL")
	set.IntVar(&o.memory, "mem", 1024, "memory in MiB")
	set.IntVar(&o.cpus, "smp", 1, "processors; with more than one the guest's clock is the host's, so that a busy host uses up its timeouts")
	set.IntVar(&o.uid, "uid", 0, "user as whom the binary runs")
	set.StringVar(&o.accel, "accel", "auto", "auto, kvm or tcg")
	set.IntVar(&o.conntrackMax, "conntrack-max", 65536, "nf_conntrack_max, in as many buckets: the odds of an eviction are those of a host")
	set.StringVar(&o.programs, "programs", "", "further programs to carry, separated by commas")
	set.StringVar(&o.modules, "modules", "", "further modules to load before, separated by commas; the kernel loads others as it needs them")
	set.StringVar(&o.fetch, "fetch", "", "files and folders to bring back, separated by commas, beside those that go test asks for")
	set.DurationVar(&o.boot, "boot-timeout", 2*time.Minute, "how long the kernel may take to boot; without the time in which a busy host runs others, as below")
	set.DurationVar(&o.silence, "hang-timeout", 3*time.Minute, "how long the machine may give no sign of life")
	set.BoolVar(&o.verbose, "v", false, "print timings and the console")
	set.Usage = func() {
		fmt.Fprintln(set.Output(), "usage: ctexp-vm [flags] binary [arguments]; as go test -exec 'ctexp-vm -kernel 6.1' ./...\n       ctexp-vm kernels list | get VERSION…")
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return o, nil, err
	}
	if set.NArg() == 0 {
		set.Usage()
		return o, nil, errors.New("no binary to run")
	}
	return o, set.Args(), nil
}

// run boots a kernel, runs the binary in it and returns its exit status.
func run(args []string) (status int, err error) {
	o, args, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return 0, errors.New("qemu-system-x86_64 is not installed: apt-get install --no-install-recommends qemu-system-x86 (darwin: brew install qemu)")
	}
	k, err := findKernel(o.kernel)
	if err != nil {
		return 0, err
	}
	c, trees, err := o.config(args)
	if err != nil {
		return 0, err
	}
	base, err := baseArchive(k, lookPrograms(append(slices.Clone(usualPrograms), list(o.programs)...)))
	if err != nil {
		return 0, err
	}
	defer base.Close()
	tmp, err := os.MkdirTemp("", "ctexp-vm-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(tmp)
	m := machine{o: o, kernel: k, qemu: qemu, initrd: filepath.Join(tmp, "initrd"), console: filepath.Join(tmp, "console"), began: time.Now()}
	binary, err := filepath.Abs(args[0])
	if err != nil {
		return 0, err
	}
	room := int64(o.memory) << 20 / 3 // while the kernel unpacks, it has all twice
	if err := runArchive(m.initrd, base, cargo{c, binary, trees, room}); err != nil {
		return 0, err
	}
	m.note("initramfs written, kernel %s", k.version)
	return m.run()
}

// list returns the elements of a list separated by commas.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

// usualModules are loaded before the binary runs, because the kernel does not load them for an ordinary user, or not at
// once. Those that a kernel has built in or lacks are passed over.
var usualModules = []string{
	"unix", "af_packet", "tun", "veth", "dummy", "nf_conntrack", "nfnetlink", "nf_conntrack_netlink", "nfnetlink_log", "nfnetlink_queue", "nf_log_syslog", "nf_log_ipv4", "nf_log_ipv6",
	"nf_tables", "nft_ct", "nft_counter", "nft_log", "nft_nat", "nft_masq", "nft_redir", "nft_reject_inet", "nft_queue", "nft_limit", "nft_quota", "nft_objref",
	"nft_compat", "nft_chain_nat", "nft_fib_inet", "nft_socket", "nft_flow_offload", "nft_numgen", "nft_hash", "nft_tproxy", "nft_connlimit", "nft_synproxy",
	"ip_tables", "ip6_tables", "iptable_filter", "iptable_mangle", "iptable_nat", "iptable_raw", "iptable_security",
	"ip6table_filter", "ip6table_mangle", "ip6table_nat", "ip6table_raw", "ip6table_security", "x_tables", "xt_conntrack", "xt_tcpudp",
	"ip_set", "xt_set", "ip_set_hash_ip", "ip_set_hash_net", "ip_set_hash_ipport", "ip_set_hash_netiface", "ip_set_bitmap_port", "ip_set_list_set",
	"nf_conntrack_ftp", "nf_nat_ftp", "nf_conntrack_tftp", "nf_nat_tftp", "nf_conntrack_sip", "nf_nat_sip", "nf_conntrack_pptp", "nf_nat_pptp",
	"nf_conntrack_irc", "nf_nat_irc", "nf_conntrack_amanda", "nf_nat_amanda", "nf_conntrack_h323", "nf_nat_h323", "nf_conntrack_sane",
	"nf_conntrack_bridge", "bridge", "br_netfilter", "8021q", "sctp_diag", "nf_flow_table_inet", "nfnetlink_cttimeout", "nfnetlink_cthelper",
	"sch_tbf", "sch_netem", "sch_plug", "sch_prio", "sch_ingress", "cls_u32", "act_mirred", "ifb", "vrf", "wireguard", "ip_vs",
}

// config returns what the machine is told, and the folders that it gets.
func (o options) config(args []string) (c config, trees []string, err error) {
	dir, err := os.Getwd()
	if err != nil {
		return c, nil, err
	}
	c = config{
		Args: append([]string{filepath.Join(guestBinary, filepath.Base(args[0]))}, args[1:]...), Dir: dir, UID: o.uid,
		Modules:    append(slices.Clone(usualModules), list(o.modules)...),
		Parameters: map[string]string{"nf_conntrack": fmt.Sprintf("hashsize=%d", o.conntrackMax)},
		Sysctls: map[string]string{
			"net/netfilter/nf_conntrack_max": strconv.Itoa(o.conntrackMax), // hashsize= raises it
			"kernel/printk":                  "4 4 1 4", "kernel/hung_task_timeout_secs": "0",
			"kernel/unprivileged_userns_clone": "1", "kernel/dmesg_restrict": "0",
			"net/core/netdev_max_backlog": "10000", // one processor has the packets of all tests
		},
		Fetch: list(o.fetch),
	}
	// The receive buffers of ordinary users are as large as on this machine.
	const buffers = "net/core/rmem_max"
	if max, err := os.ReadFile("/proc/sys/" + buffers); err == nil {
		c.Sysctls[buffers] = strings.TrimSpace(string(max))
	}
	for _, e := range os.Environ() {
		switch name, _, _ := strings.Cut(e, "="); name {
		case "PATH", "TMPDIR", "HOME", "GOTMPDIR":
		default:
			c.Env = append(c.Env, e)
		}
	}
	c.Merged = sameFile(os.Stdout, os.Stderr) // so that what is written to both stays in order
	// Reports of failed tests are where they would be without the machine, as the log says.
	tmp := os.TempDir()
	c.Folders, c.Fetch = append(c.Folders, tmp), append(c.Fetch, filepath.Join(tmp, "ctexp-*"))
	c.Env = append(c.Env, "PATH="+programPath, "HOME=/tmp", "TMPDIR="+tmp, "CTEXP_VM=1")
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		c.Folders, c.Fetch = append(c.Folders, dir), append(c.Fetch, dir)
	}
	for _, a := range args[1:] {
		name, value, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch name {
		case "test.coverprofile", "test.cpuprofile", "test.memprofile", "test.blockprofile", "test.mutexprofile", "test.trace", "test.testlogfile":
			path := absolute(dir, value)
			c.Folders, c.Fetch = append(c.Folders, filepath.Dir(path)), append(c.Fetch, path)
		case "test.gocoverdir", "test.outputdir", "test.fuzzcachedir":
			path := absolute(dir, value)
			c.Folders, c.Fetch = append(c.Folders, path), append(c.Fetch, path)
		}
	}
	c.Fetch = slices.DeleteFunc(c.Fetch, func(path string) bool { return path == dir }) // go test's default is the package's folder
	c.Folders = slices.DeleteFunc(c.Folders, func(path string) bool { return path == dir })
	return c, []string{moduleRoot(dir)}, nil
}

func sameFile(a, b *os.File) bool {
	isA, errA := a.Stat()
	isB, errB := b.Stat()
	return errA == nil && errB == nil && os.SameFile(isA, isB)
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// moduleRoot returns the folder with the go.mod above a folder, or the folder itself.
func moduleRoot(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}

// machine is a virtual machine.
type machine struct {
	o               options
	kernel          kernel
	qemu            string
	initrd, console string
	began           time.Time
	alive           atomic.Int64 // when it gave a sign of life, in nanoseconds since began
	booted          atomic.Bool
	seen            sign // the last sign of life that hangs has seen
}

// sign is a sign of life: when it was, and how long the machine had waited for a processor until hangs saw it.
type sign struct{ at, waited time.Duration }

func (m *machine) note(format string, args ...any) {
	if m.o.verbose {
		fmt.Fprintf(os.Stderr, "ctexp-vm: %6.2f s: %s\n", time.Since(m.began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// arguments returns those of QEMU. Descriptors 3 to 6 are the console, standard output, the control line and standard error: no
// path, in which QEMU gives commas a meaning.
func (m *machine) arguments(kvm bool) []string {
	args := []string{
		"-M", "pc", "-m", strconv.Itoa(m.o.memory), "-smp", strconv.Itoa(m.o.cpus), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-chardev", "file,id=console,path=/dev/fd/3", "-serial", "chardev:console",
		"-chardev", "file,id=output,path=/dev/fd/4", "-serial", "chardev:output",
		"-chardev", "file,id=control,path=/dev/fd/5", "-serial", "chardev:control",
		"-chardev", "file,id=errors,path=/dev/fd/6", "-serial", "chardev:errors",
		"-kernel", m.kernel.image(), "-initrd", m.initrd,
	}
	parameters := "console=ttyS0 panic=-1 quiet mitigations=off random.trust_cpu=1 cgroup_no_v1=all cryptomgr.notests init_on_alloc=0"
	if kvm {
		return append(args, "-accel", "kvm", "-cpu", "host", "-append", parameters)
	}
	// TCG executes "rep movsb", which the kernel prefers if the processor is said to be fast at it, byte by byte.
	args = append(args, "-cpu", "max,-erms,-fsrm")
	if m.o.cpus > 1 {
		return append(args, "-accel", "tcg,thread=multi", "-append", parameters)
	}
	// The guest's clock counts instructions, so that a host that gives it no time does not use up its timeouts, and a
	// guest that sleeps does not wait. For such a clock to calibrate the local APIC's timer takes five seconds.
	return append(args, "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-rtc", "clock=vm",
		"-append", parameters+" nolapic_timer acpi=off")
}

// run runs the machine and returns the exit status of the binary.
func (m *machine) run() (status int, err error) {
	kvm := m.o.accel == "kvm"
	if m.o.accel == "auto" {
		kvm = kvmWorks(m.qemu)
	}
	console, err := os.Create(m.console)
	if err != nil {
		return 0, err
	}
	defer console.Close()
	output, outputEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	errorOutput, errorEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	control, controlEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(m.qemu, m.arguments(kvm)...)
	cmd.ExtraFiles = []*os.File{console, outputEnd, controlEnd, errorEnd}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = withParent()
	stop, err := startWithParent(cmd)
	for _, end := range []*os.File{outputEnd, controlEnd, errorEnd} {
		end.Close()
	}
	if err != nil {
		return 0, err
	}
	defer stop()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer signal.Stop(signals)

	shown := make(chan struct{})
	go func() {
		defer close(shown)
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(os.Stdout, output) })
		both.Go(func() { _, _ = io.Copy(os.Stderr, errorOutput) })
		both.Wait()
	}()
	result := make(chan outcome, 1)
	go func() { result <- m.listen(control) }()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	why := m.await(cmd, ended, signals, &said)
	<-shown
	got := <-result
	m.note("the machine is off (KVM %t)", kvm)
	if m.o.verbose || why != nil || !got.known {
		m.showConsole()
	}
	if why != nil {
		return 0, why
	}
	return m.status(got)
}

// await waits until QEMU has ended, and returns why it did not end by itself. It ends a machine that hangs, and switches one off
// at a signal.
func (m *machine) await(cmd *exec.Cmd, ended <-chan error, signals <-chan os.Signal, said *bytes.Buffer) (why error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil && why == nil {
				why = fmt.Errorf("QEMU: %w: %s", err, bytes.TrimSpace(said.Bytes()))
			}
			return why
		case s := <-signals:
			why = fmt.Errorf("%v: the machine was switched off", s)
			_ = cmd.Process.Kill()
		case <-tick.C:
			if hang := m.hangs(waited(cmd.Process.Pid)); hang != nil && why == nil {
				why = hang
				_ = cmd.Process.Kill()
			}
		}
	}
}

// status returns the exit status of the program, or why there is none.
func (m *machine) status(got outcome) (int, error) {
	switch {
	case got.err != nil:
		return 0, got.err
	case !got.known && !m.booted.Load():
		return 0, errors.New("the kernel did not come to run the first process; its last lines are above")
	case !got.known:
		return 0, errors.New("the machine ended without a result: a panic of the kernel? Its last lines are above")
	}
	return got.status, nil
}

// hangs returns an error if the machine has given no sign of life for too long, without the time that it has waited for a
// processor of a busy host; waited is all of that.
func (m *machine) hangs(waited time.Duration) error {
	if alive := time.Duration(m.alive.Load()); alive != m.seen.at {
		m.seen = sign{alive, waited}
	}
	since := time.Since(m.began) - m.seen.at - (waited - m.seen.waited)
	switch {
	case !m.booted.Load() && since > m.o.boot:
		return fmt.Errorf("the kernel has not booted in %v (-boot-timeout)", m.o.boot)
	case m.booted.Load() && since > m.o.silence:
		return fmt.Errorf("the machine has given no sign of life for %v (-hang-timeout)", m.o.silence)
	}
	return nil
}

// outcome is what the control line has said about the end.
type outcome struct {
	known  bool
	status int
	err    error
}

// listen reads the control line to its end.
func (m *machine) listen(control io.Reader) (got outcome) {
	r := bufio.NewReader(control)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return got
		}
		m.alive.Store(int64(time.Since(m.began)))
		what, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch what {
		case saysBooted:
			m.booted.Store(true)
			m.note("booted")
		case saysNote:
			m.note("%s", rest)
		case saysFile:
			if err := writeBack(rest); err != nil && got.err == nil {
				got.err = fmt.Errorf("a file from the machine: %w", err)
			}
		case saysExit:
			got.status, err = strconv.Atoi(rest)
			got.known = err == nil
		case saysError:
			got.err = fmt.Errorf("in the machine: %s", rest)
		}
	}
}

// writeBack writes a file that the machine has sent.
func writeBack(line string) error {
	name, rest, _ := strings.Cut(line, " ")
	mode, content, _ := strings.Cut(rest, " ")
	perm, err := strconv.ParseUint(mode, 8, 9)
	if err != nil {
		return err
	}
	path, err := base64.StdEncoding.DecodeString(name)
	if err != nil {
		return err
	}
	b, err := base64.StdEncoding.DecodeString(content)
	if err != nil {
		return err
	}
	folder := fs.FileMode(perm | perm>>2&0o111) // who may read the file may enter its folder
	if err := os.MkdirAll(filepath.Dir(string(path)), folder|0o100); err != nil {
		return err
	}
	return os.WriteFile(string(path), b, fs.FileMode(perm))
}

// showConsole prints the last lines of the console.
func (m *machine) showConsole() {
	const lines = 60
	b, err := os.ReadFile(m.console)
	if err != nil {
		return
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	fmt.Fprintf(os.Stderr, "ctexp-vm: the console of kernel %s:\n%s\n", m.kernel.version, strings.Join(all[max(0, len(all)-lines):], "\n"))
}

// kvmWorks reports whether KVM can run a machine. It is tried once for each boot of this machine: on some that are virtual
// themselves /dev/kvm is there and executes nothing, which takes seconds to see.
func kvmWorks(qemu string) (works bool) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return tryKVM(qemu)
	}
	_ = locked(func(cache string) error { // without a cache it is TCG
		const yes, no = " works\n", " does not work\n"
		file, id := filepath.Join(cache, "kvm"), strings.TrimSpace(string(boot))
		switch known, _ := os.ReadFile(file); string(known) {
		case id + yes:
			works = true
			return nil
		case id + no:
			return nil
		}
		verdict := no
		if works = tryKVM(qemu); works {
			verdict = yes
		}
		return os.WriteFile(file, []byte(id+verdict), 0o644)
	})
	return works
}

// tryKVM reports whether KVM executes the first instructions of the firmware.
func tryKVM(qemu string) bool {
	// The firmware finds nothing to boot, and the machine runs on: it is ended after a while. One that cannot run aborts.
	const long = 3 * time.Second
	cmd := exec.Command(qemu, "-M", "pc", "-accel", "kvm", "-cpu", "host", "-m", "64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-device", "isa-debugcon,chardev=d", "-chardev", "stdio,id=d")
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return false
	}
	timer := time.AfterFunc(long, func() { _ = cmd.Process.Kill() })
	n, _ := out.Read(make([]byte, 1)) // the firmware's first message
	timer.Stop()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return n == 1
}
