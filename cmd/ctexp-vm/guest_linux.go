package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guest is this program as the first process of the virtual machine: it runs the binary, says on the control line what has
// become of it, and switches the machine off.
func guest() {
	control, err := serve()
	if err != nil {
		if control == nil {
			control = os.Stdout // the console
		}
		fmt.Fprintf(control, "%s %s\n", saysError, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if control != nil {
		flush(control)
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // QEMU ends; without ACPI nothing can be powered off
	select {}                                      // the first process must not end
}

func serve() (control *os.File, err error) {
	if err := mounts(); err != nil {
		return nil, err
	}
	if control, err = serial(controlLine); err != nil {
		return nil, err
	}
	output, err := newRelay(outputLine)
	if err != nil {
		return control, err
	}
	errorOutput, err := newRelay(errorLine)
	if err != nil {
		return control, err
	}
	b, err := os.ReadFile(guestConfig)
	if err != nil {
		return control, err
	}
	var c config
	if err := json.Unmarshal(b, &c); err != nil {
		return control, err
	}
	fmt.Fprintln(control, saysBooted)
	if err := prepare(c, control); err != nil {
		return control, err
	}
	stop := make(chan struct{})
	go beat(control, stop)
	if c.Merged {
		errorOutput.end()
		errorOutput.write = output.write
	}
	status, err := execute(c, output.write, errorOutput.write)
	close(stop)
	output.end()
	if !c.Merged {
		errorOutput.end()
	}
	if err != nil {
		return control, err
	}
	for _, path := range c.Fetch {
		paths := []string{path}
		if strings.HasSuffix(path, "*") {
			paths, _ = filepath.Glob(path)
		}
		for _, path := range paths {
			if err := sendBack(control, path); err != nil {
				return control, err
			}
		}
	}
	fmt.Fprintf(control, "%s %d\n", saysExit, status)
	return control, nil
}

func mounts() error {
	for _, m := range []struct{ kind, at, options string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"devtmpfs", "/dev", ""}, {"tmpfs", "/run", ""}, {"tmpfs", "/dev/shm", "mode=1777"}, {"cgroup2", "/sys/fs/cgroup", ""}, {"bpf", "/sys/fs/bpf", ""}, {"tracefs", "/sys/kernel/tracing", ""},
	} {
		_ = os.MkdirAll(m.at, 0o755)
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.options); err != nil && (m.kind == "proc" || m.kind == "devtmpfs") {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		_ = os.Symlink(target, "/dev/"+name)
	}
	return nil
}

// serial opens a serial line without any translation of what is written.
func serial(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err == nil {
		t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
		t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB|unix.CBAUD) | unix.CS8 | unix.CLOCAL | unix.B115200
		err = unix.IoctlSetTermios(fd, unix.TCSETS, t)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// relay sends over a serial line what is written into a pipe: a program would take the line itself for a terminal.
type relay struct {
	read, write, line *os.File
	done              chan struct{}
}

func newRelay(name string) (*relay, error) {
	line, err := serial(name)
	if err != nil {
		return nil, err
	}
	r := &relay{line: line, done: make(chan struct{})}
	if r.read, r.write, err = os.Pipe(); err != nil {
		return nil, err
	}
	go func() {
		defer close(r.done)
		_, _ = io.Copy(struct{ io.Writer }{line}, r.read) // without splice, which a line does not know
	}()
	return r, nil
}

// end sends what was written so far, whoever has the pipe open still.
func (r *relay) end() {
	_ = r.read.SetReadDeadline(time.Unix(0, 0))
	<-r.done
	raw, err := r.read.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 64<<10)
	_ = raw.Control(func(fd uintptr) { // the pipe does not block
		for {
			n, err := unix.Read(int(fd), buf)
			if n <= 0 && err != unix.EINTR {
				return
			}
			_, _ = r.line.Write(buf[:max(n, 0)])
		}
	})
	flush(r.line)
}

// flush waits until everything was sent.
func flush(line *os.File) { _ = unix.IoctlSetInt(int(line.Fd()), unix.TCSBRK, 1) }

// prepare loads modules and makes what a machine has.
func prepare(c config, control *os.File) error {
	_ = os.WriteFile("/proc/sys/kernel/modprobe", []byte(guestModprobe), 0o644)
	index, err := guestIndex()
	if err != nil {
		return err
	}
	for _, name := range c.Modules {
		for _, m := range index.order(name) {
			if err := loadModule(m, c.Parameters[m]); err != nil {
				fmt.Fprintf(control, "%s module %s: %v\n", saysNote, m, err)
			}
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		_ = os.MkdirAll("/dev/net", 0o755)
		_ = unix.Mknod("/dev/net/tun", unix.S_IFCHR, int(unix.Mkdev(10, 200)))
	}
	_ = os.Chmod("/dev/net/tun", 0o666) // udev's default
	for name, value := range c.Sysctls {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			fmt.Fprintf(control, "%s sysctl %s: %v\n", saysNote, name, err)
		}
	}
	if err := unix.Sethostname([]byte("ctexp-vm")); err != nil {
		return err
	}
	return loopbackUp()
}

// loopbackUp sets lo up.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// beat says once a second that the machine is alive.
func beat(control *os.File, stop chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			fmt.Fprintln(control, saysAlive)
		}
	}
}

// execute runs the binary and returns its exit status. As the first process it also waits for processes that have lost
// their parents.
func execute(c config, output, errorOutput *os.File) (status int, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	attr := &os.ProcAttr{Dir: c.Dir, Env: c.Env, Files: []*os.File{null, output, errorOutput}}
	if c.UID != 0 {
		attr.Sys = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.UID)}}
	}
	p, err := os.StartProcess(c.Args[0], c.Args, attr)
	if err != nil {
		return 0, err
	}
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case pid == p.Pid && ws.Signaled():
			fmt.Fprintf(errorOutput, "signal: %v\n", ws.Signal())
			return 128 + int(ws.Signal()), nil
		case pid == p.Pid:
			return ws.ExitStatus(), nil
		}
	}
}

// sendBack sends a file, or the files of a folder.
func sendBack(control *os.File, path string) error {
	err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		is, err := d.Info()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(control, "%s %s %o %s\n", saysFile, base64.StdEncoding.EncodeToString([]byte(path)), is.Mode().Perm(), base64.StdEncoding.EncodeToString(b))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a test that fails may not have written it
	}
	return err
}

func guestIndex() (moduleIndex, error) {
	f, err := os.Open(guestMods + "/index")
	if errors.Is(err, fs.ErrNotExist) {
		return moduleIndex{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readIndex(f)
}

// loadModule loads a module that is carried, unless it is loaded.
func loadModule(name, parameters string) error {
	f, err := os.Open(guestMods + "/" + name + ".ko")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), parameters, 0); err != nil && err != unix.EEXIST {
		return err
	}
	return nil
}

// modprobe is this program as the kernel executes it to load a module.
func modprobe(args []string) int {
	name := ""
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			name = a
			break
		}
	}
	index, err := guestIndex()
	modules := index.order(name)
	if err != nil || len(modules) == 0 {
		return 1
	}
	for _, m := range modules {
		if err := loadModule(m, ""); err != nil {
			return 1
		}
	}
	return 0
}
