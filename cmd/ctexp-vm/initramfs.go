package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cavaliergopher/cpio"
)

// Where things are in the virtual machine.
const (
	guestDir    = "/ctexp-vm" // what is ours
	guestConfig = guestDir + "/config"
	guestBinary = guestDir + "/binary" // the folder of the binary
	guestMods   = guestDir + "/modules"

	guestModprobe = guestDir + "/modprobe"
)

// archive writes an initramfs. Folders are written once, before what is in them.
type archive struct {
	w       *cpio.Writer
	written map[string]bool
}

func newArchive(w io.Writer) *archive {
	return &archive{cpio.NewWriter(w), map[string]bool{"/": true, ".": true}}
}

// add writes a file, link or folder at an absolute path.
func (a *archive) add(name string, mode fs.FileMode, body []byte) error {
	if a.written[name] {
		return nil
	}
	if err := a.add(filepath.Dir(name), fs.ModeDir|0o755, nil); err != nil {
		return err
	}
	a.written[name] = true
	kind := cpio.FileMode(cpio.TypeReg)
	switch {
	case mode.IsDir():
		kind = cpio.TypeDir
	case mode&fs.ModeSymlink != 0:
		kind = cpio.TypeSymlink
	}
	permissions := cpio.FileMode(mode.Perm())
	if mode&fs.ModeSticky != 0 {
		permissions |= cpio.ModeSticky
	}
	h := &cpio.Header{Name: strings.TrimPrefix(name, "/"), Mode: kind | permissions, Size: int64(len(body)), Links: 1}
	if kind == cpio.TypeSymlink {
		h.Linkname = string(body)
	}
	if err := a.w.WriteHeader(h); err != nil {
		return fmt.Errorf("initramfs: %s: %w", name, err)
	}
	if _, err := a.w.Write(body); err != nil {
		return fmt.Errorf("initramfs: %s: %w", name, err)
	}
	return nil
}

// copyFile adds a file or a link of this machine at the same path, or at another.
func (a *archive) copyFile(from, to string) error {
	st, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return a.add(to, st.Mode(), []byte(target))
	}
	if st.IsDir() {
		return a.add(to, st.Mode(), nil)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return a.add(to, st.Mode(), b)
}

// copyTree adds a folder at the same path, without what version control and editors keep there. It fails if the files have more
// than room bytes.
func (a *archive) copyTree(root string, room int64) error {
	left := room
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case !d.IsDir() && !d.Type().IsRegular() && d.Type() != fs.ModeSymlink:
			return nil
		}
		if info, err := d.Info(); err == nil && d.Type().IsRegular() {
			if left -= info.Size(); left < 0 {
				return fmt.Errorf("the folder %s, which the machine carries, has more than %d MiB: run from a smaller one, or give the machine more memory with -mem", root, room>>20)
			}
		}
		return a.copyFile(path, path)
	})
}

// folders that the machine begins with, by their modes.
var folders = map[string]fs.FileMode{
	"/proc": 0o555, "/sys": 0o555, "/dev": 0o755, "/run": 0o755, "/root": 0o700, "/etc": 0o755,
	"/tmp": 0o777 | fs.ModeSticky, "/var/tmp": 0o777 | fs.ModeSticky,
}

// maxBases is the largest number of bases in the cache, of about 100 MB each.
const maxBases = 10

// baseArchive makes, once for each kernel, version of this program and set of programs, the part of the initramfs that is
// the same in every run, and opens it.
func baseArchive(k kernel, programs []string) (base *os.File, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	files := needed(slices.Concat([]string{self}, rootLinks, programs, nameFiles))
	key := sha256.New()
	fmt.Fprintln(key, k.dir)
	for _, f := range append(slices.Clone(files), self, filepath.Join(k.dir, "complete")) {
		st, err := os.Stat(f)
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(key, f, st.Size(), st.ModTime().UnixNano())
	}
	err = locked(func(cache string) error {
		path := filepath.Join(cache, "base-"+hex.EncodeToString(key.Sum(nil)[:8])+".cpio")
		now := time.Now()
		if err := os.Chtimes(path, now, now); errors.Is(err, fs.ErrNotExist) {
			err = whole(path, func(a *archive) error { return writeBase(a, k, self, files) })
			if err != nil {
				return err
			}
		}
		if base, err = os.Open(path); err != nil {
			return err
		}
		return removeOldest(filepath.Join(cache, "base-*.cpio"), maxBases)
	})
	return base, err
}

func writeBase(a *archive, k kernel, self string, files []string) error {
	for name, mode := range folders {
		if err := a.add(name, fs.ModeDir|mode, nil); err != nil {
			return err
		}
	}
	if err := a.copyFile(self, "/init"); err != nil {
		return err
	}
	if err := a.add(guestModprobe, fs.ModeSymlink|0o777, []byte("/init")); err != nil {
		return err
	}
	modules, err := os.ReadDir(k.modules())
	for _, m := range modules {
		err = errors.Join(err, a.copyFile(filepath.Join(k.modules(), m.Name()), filepath.Join(guestMods, m.Name())))
	}
	for _, f := range files {
		if f != self && filepath.Base(f) != "modprobe" {
			err = errors.Join(err, a.copyFile(f, f))
		}
	}
	for name, text := range map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
		"/etc/group":  "root:x:0:\nnogroup:x:65534:\n", "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
	} {
		err = errors.Join(err, a.add(name, 0o644, []byte(text)))
	}
	return err
}

// removeOldest removes files whose path matches a pattern, until there are no more than a number: first those that were used the
// longest time ago.
func removeOldest(pattern string, most int) error {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) <= most {
		return err
	}
	used := map[string]time.Time{}
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		used[path] = st.ModTime()
	}
	slices.SortFunc(paths, func(a, b string) int { return used[a].Compare(used[b]) })
	for _, path := range paths[:len(paths)-most] {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// whole writes an archive to a file, which is there only if it is complete.
func whole(path string, write func(*archive) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".cpio-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := writeArchive(f, write); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func writeArchive(f io.Writer, write func(*archive) error) error {
	buffered := bufio.NewWriterSize(f, 1<<20)
	a := newArchive(buffered)
	if err := write(a); err != nil {
		return err
	}
	if err := a.w.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// cargo is what the machine carries for one run.
type cargo struct {
	config config
	binary string
	trees  []string // folders
	room   int64    // bytes that each of them may have
}

// runArchive writes the initramfs of one run: the base, and behind it the cargo.
func runArchive(path string, base io.Reader, l cargo) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, base); err != nil {
		return err
	}
	return writeArchive(f, func(a *archive) error {
		for name := range folders { // they are in the base, with their modes
			a.written[name] = true
		}
		encoded, err := json.Marshal(l.config)
		if err != nil {
			return err
		}
		if err := a.add(guestConfig, 0o644, encoded); err != nil {
			return err
		}
		if err := a.copyFile(l.binary, l.config.Args[0]); err != nil {
			return err
		}
		for _, tree := range l.trees {
			if err := a.copyTree(tree, l.room); err != nil {
				return err
			}
		}
		for _, dir := range l.config.Folders {
			if err := a.add(dir, fs.ModeDir|0o777, nil); err != nil {
				return err
			}
		}
		return nil
	})
}
