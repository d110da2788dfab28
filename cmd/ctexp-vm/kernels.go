package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// kernel is an unpacked kernel in the cache.
type kernel struct {
	version string // of Debian's package: "6.1.192-3"; for a folder or a file its path
	dir     string // has vmlinuz, modules/NAME.ko and modules/index
}

func (k kernel) image() string   { return filepath.Join(k.dir, "vmlinuz") }
func (k kernel) modules() string { return filepath.Join(k.dir, "modules") }

// cacheDir returns the folder of kernels and archives: that of CTEXP_VM_CACHE, or one in the user's cache.
func cacheDir() (string, error) {
	if dir := os.Getenv("CTEXP_VM_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for kernels (set CTEXP_VM_CACHE): %w", err)
	}
	return filepath.Join(dir, "ctexp-vm"), nil
}

// locked runs f while no other process has the lock of the cache.
func locked(f func(cache string) error) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return f(cache)
}

// kernels is the command "ctexp-vm kernels".
func kernels(args []string) error {
	const usage = "usage: ctexp-vm kernels list | ctexp-vm kernels get VERSION…"
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch verb := args[0]; {
	case verb == "list" && len(args) == 1:
		return listKernels()
	case verb == "get" && len(args) > 1:
		for _, version := range args[1:] {
			k, err := fetchKernel(version)
			if err != nil {
				return err
			}
			fmt.Printf("%s: %s in %s\n", version, k.version, k.dir)
		}
		return nil
	}
	return errors.New(usage)
}

// listKernels prints the kernels in the cache, and those that Debian has.
func listKernels() error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	for _, k := range cached(cache) {
		fmt.Printf("%-24s in %s\n", k.version, k.dir)
	}
	found, err := debianKernels()
	for _, p := range found {
		fmt.Printf("%-24s can be got (%s)\n", p.version, p.suite.name)
	}
	return err
}

// cached returns the kernels in the cache, the newest first.
func cached(cache string) []kernel {
	dirs, _ := filepath.Glob(filepath.Join(cache, "kernels", "*", "complete"))
	var all []kernel
	for _, d := range dirs {
		dir := filepath.Dir(d)
		if k := (kernel{filepath.Base(dir), dir}); k.isInstalled() {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b kernel) int { return compareVersions(b.version, a.version) })
	return all
}

// findKernel returns the kernel that -kernel names: a version or its beginning ("6.1"), a folder with an unpacked kernel
// package, or the image of a kernel without modules. A version that is not in the cache is fetched.
func findKernel(name string) (kernel, error) {
	if name == "" {
		return kernel{}, errors.New("which kernel? -kernel 6.1, the path of an unpacked kernel package or of a bzImage; \"ctexp-vm kernels list\" shows what there is")
	}
	if st, err := os.Stat(name); err == nil && strings.ContainsRune(name, filepath.Separator) {
		return localKernel(name, st)
	}
	if !isVersion(name) {
		return kernel{}, fmt.Errorf("kernel %q: neither a version such as 6.1 nor a path", name)
	}
	cache, err := cacheDir()
	if err != nil {
		return kernel{}, err
	}
	for _, k := range cached(cache) {
		if hasVersion(k.version, name) {
			return k, nil
		}
	}
	fmt.Fprintf(os.Stderr, "ctexp-vm: kernel %s is not in the cache: getting it from Debian\n", name)
	return fetchKernel(name)
}

// localKernel puts the kernel of a folder or a file into the cache, unless it is there as it is now.
func localKernel(path string, st fs.FileInfo) (k kernel, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return k, err
	}
	image, modules := path, ""
	if st.IsDir() {
		if image, modules = parts(path); image == "" {
			return k, fmt.Errorf("%s: there is no vmlinuz in it", path)
		}
		if st, err = os.Stat(image); err != nil {
			return k, err
		}
	}
	name := fmt.Sprintf("%s-%d", strings.ReplaceAll(strings.Trim(path, "/"), "/", "_"), st.ModTime().UnixNano())
	err = locked(func(cache string) error {
		k = kernel{path, filepath.Join(cache, "local", name)}
		return k.installOnce(image, modules)
	})
	return k, err
}

// parts returns the image and the folder of the modules in an unpacked package; "" if there is none.
func parts(root string) (image, modules string) {
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil
		case !d.IsDir() && strings.HasPrefix(d.Name(), "vmlinuz"):
			image = path
		case d.IsDir() && d.Name() == "kernel" && filepath.Base(filepath.Dir(filepath.Dir(path))) == "modules":
			modules = path
			return fs.SkipDir
		}
		return nil
	})
	return image, modules
}

// layout is what the file "complete" of an unpacked kernel says: one that says something else is unpacked anew.
const layout = "without signatures, with ipvlan"

// isInstalled reports whether the kernel is in the cache, whole and as this program unpacks it.
func (k kernel) isInstalled() bool {
	b, err := os.ReadFile(filepath.Join(k.dir, "complete"))
	return err == nil && string(b) == layout
}

// installOnce puts a kernel into its folder of the cache, unless it is there. The caller has the lock.
func (k kernel) installOnce(image, modules string) error {
	if k.isInstalled() {
		return nil
	}
	if err := os.RemoveAll(k.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(k.modules(), 0o755); err != nil {
		return err
	}
	b, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	if err := os.WriteFile(k.image(), b, 0o644); err != nil {
		return err
	}
	index, err := unpackModules(modules, k.modules())
	if err != nil {
		return fmt.Errorf("modules of %s: %w", k.version, err)
	}
	if err := os.WriteFile(filepath.Join(k.modules(), "index"), []byte(index.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(k.dir, "complete"), []byte(layout), 0o644)
}

// isVersion reports whether s may be a version.
func isVersion(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// hasVersion reports whether a version is, or begins with, the wanted one: 6.1.192-3 has 6.1, and 6.12 has not.
func hasVersion(version, want string) bool {
	rest, ok := strings.CutPrefix(version, want)
	return ok && (rest == "" || strings.ContainsRune(".-+~", rune(rest[0])))
}

// compareVersions compares two versions by their numbers, from left to right.
func compareVersions(a, b string) int {
	numbers := func(s string) (all []int) {
		for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
			n, _ := strconv.Atoi(f)
			all = append(all, n)
		}
		return all
	}
	return cmp.Or(slices.Compare(numbers(a), numbers(b)), strings.Compare(a, b))
}
