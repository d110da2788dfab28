package main

import (
	"bufio"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// usualPrograms are those that tests of rules and networks use. What this machine lacks is lacking in the virtual machine.
var usualPrograms = []string{
	"sh", "bash", "cat", "echo", "env", "false", "grep", "head", "id", "kill", "ls", "mkdir", "ps", "readlink", "rm", "sed", "sleep", "sysctl", "tail", "test", "true",
	"uname", "unshare", "nsenter", "mount", "umount", "setpriv", "seq", "touch", "cp", "mv", "ln", "chmod", "chown", "sort", "uniq", "cut", "tr", "wc",
	"tee", "awk", "find", "xargs", "timeout", "date", "dd", "mktemp", "basename", "dirname", "printf", "stat", "expr", "od", "cmp", "tty", "nohup", "nc",
	"nft", "ip", "tc", "ss", "conntrack", "ethtool", "ping", "ipset",
	"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore",
	"iptables-nft", "iptables-nft-save", "iptables-nft-restore", "ip6tables-nft", "ip6tables-nft-save", "ip6tables-nft-restore",
	"iptables-legacy", "iptables-legacy-save", "iptables-legacy-restore", "ip6tables-legacy", "ip6tables-legacy-save", "ip6tables-legacy-restore",
}

// nameFiles are where programs find the names of protocols and ports: nft prints and reads "ip protocol icmp" by them.
var nameFiles = []string{"/etc/protocols", "/etc/services"}

// rootLinks are links on most machines; scripts begin with /bin/sh.
var rootLinks = []string{"/bin", "/sbin", "/lib", "/lib64"}

// programPath is where programs are looked for, also for users whose PATH has no administrator's folders.
const programPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookPrograms returns the paths of the programs that are there. A name may be a path.
func lookPrograms(names []string) (paths []string) {
	for _, name := range names {
		if strings.ContainsRune(name, filepath.Separator) {
			paths = append(paths, name)
			continue
		}
		for dir := range strings.SplitSeq(programPath, ":") {
			if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				paths = append(paths, p)
				break
			}
		}
	}
	return paths
}

// needed returns some files with all that they need to be executed: the targets of links, libraries, the loader, and for
// iptables its extensions. The order is fixed.
func needed(files []string) (all []string) {
	seen := map[string]bool{}
	dirs := libraryDirs()
	var add func(path string)
	add = func(path string) {
		if seen[path] {
			return
		}
		st, err := os.Lstat(path)
		if err != nil {
			return
		}
		seen[path] = true
		if dir := filepath.Dir(path); dir != path {
			if real, err := filepath.EvalSymlinks(dir); err == nil && real != dir { // /bin may be a link
				add(dir)
				add(filepath.Join(real, filepath.Base(path)))
				return
			}
		}
		if st.IsDir() {
			return // what is in it brings it
		}
		all = append(all, path)
		if st.Mode()&os.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err == nil && !filepath.IsAbs(target) {
				target = filepath.Join(filepath.Dir(path), target)
			}
			add(target)
			return
		}
		loader, libraries := linked(path)
		if loader != "" {
			add(loader)
		}
		for _, lib := range libraries {
			for _, dir := range dirs {
				if _, err := os.Stat(filepath.Join(dir, lib)); err == nil {
					add(filepath.Join(dir, lib))
					break
				}
			}
		}
	}
	for _, f := range files {
		add(f)
	}
	if slices.ContainsFunc(all, func(f string) bool { return strings.HasPrefix(filepath.Base(f), "xtables-") }) {
		for _, dir := range dirs {
			extensions, _ := filepath.Glob(filepath.Join(dir, "xtables", "*.so"))
			for _, x := range extensions {
				add(x)
			}
		}
	}
	return all
}

// linked returns the loader and the names of the libraries of an executable or a library.
func linked(path string) (loader string, libraries []string) {
	f, err := elf.Open(path)
	if err != nil {
		return "", nil
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err == nil {
				loader = strings.TrimRight(string(b), "\x00")
			}
		}
	}
	libraries, _ = f.ImportedLibraries()
	return loader, libraries
}

// libraryDirs returns the folders in which the loader looks.
func libraryDirs() []string {
	dirs := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"}
	files, _ := filepath.Glob("/etc/ld.so.conf.d/*.conf")
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			if line := strings.TrimSpace(sc.Text()); strings.HasPrefix(line, "/") {
				dirs = append(dirs, line)
			}
		}
		f.Close()
	}
	return dirs
}
