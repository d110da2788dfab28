package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// suite is a part of Debian's archive.
type suite struct{ name, archive string }

const debian, security = "https://deb.debian.org/debian", "https://deb.debian.org/debian-security"

// suites are searched for kernels, in this order.
var suites = []suite{
	{"bullseye", debian}, {"bullseye-security", security},
	{"bookworm", debian}, {"bookworm-security", security}, {"bookworm-backports", debian},
	{"trixie", debian}, {"trixie-security", security}, {"trixie-backports", debian},
	{"sid", debian},
}

// debPackage is an entry of a suite's list of packages.
type debPackage struct {
	suite                             suite
	name, version, file, sum, depends string
}

// abi returns the part of the name that the packages of one kernel share: "6.1.0-57-cloud-amd64".
func (p debPackage) abi() string {
	for _, prefix := range kernelPackages {
		if rest, ok := strings.CutPrefix(p.name, prefix); ok && isVersion(rest) {
			return rest
		}
	}
	return ""
}

// kernelPackages are the names of the packages of a kernel; from 7.x on it has several.
var kernelPackages = []string{"linux-image-", "linux-binary-", "linux-modules-", "linux-base-"}

// debianKernels returns the image packages of the cloud kernels of all suites, the newest first, one for each version. A
// suite that cannot be read is left out, unless none can.
func debianKernels() ([]debPackage, error) {
	all, err := debianPackages()
	images := slices.DeleteFunc(all, func(p debPackage) bool { return !strings.HasPrefix(p.name, "linux-image-") })
	slices.SortStableFunc(images, func(a, b debPackage) int { return compareVersions(b.version, a.version) })
	return slices.CompactFunc(images, func(a, b debPackage) bool { return a.version == b.version }), err
}

// debianPackages returns the packages of signed cloud kernels of all suites.
func debianPackages() (all []debPackage, err error) {
	var errs []error
	for _, s := range suites {
		found, err := s.packages()
		all, errs = append(all, found...), append(errs, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no kernels of Debian: %w", errors.Join(errs...))
	}
	for _, err := range errs {
		if err != nil {
			fmt.Fprintln(os.Stderr, "ctexp-vm: left out:", err)
		}
	}
	return all, nil
}

const architecture = "amd64"

// packages reads the suite's list, whose checksum its InRelease file has. If gpgv and Debian's keyring are there, the
// signature of that file is checked, too.
func (s suite) packages() ([]debPackage, error) {
	base := s.archive + "/dists/" + s.name + "/"
	release, err := get(base + "InRelease")
	if err != nil {
		return nil, err
	}
	if err := checkSignature(release); err != nil {
		return nil, fmt.Errorf("%s: %w", base+"InRelease", err)
	}
	list := "main/binary-" + architecture + "/Packages.xz"
	sum, err := sumIn(release, list)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base+"InRelease", err)
	}
	packed, err := getChecked(base+list, sum)
	if err != nil {
		return nil, err
	}
	r, err := xz.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base+list, err)
	}
	found, err := readPackages(r)
	for i := range found {
		found[i].suite = s
	}
	return found, err
}

// keyring is the one that a Debian system has.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

func checkSignature(release []byte) error {
	gpgv, err := exec.LookPath("gpgv")
	if _, kerr := os.Stat(keyring); err != nil || kerr != nil {
		return nil // the transport is authenticated anyway
	}
	cmd := exec.Command(gpgv, "--quiet", "--keyring", keyring)
	cmd.Stdin = bytes.NewReader(release)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("gpgv: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// sumIn returns the SHA-256 sum of a file in an InRelease file.
func sumIn(release []byte, file string) (string, error) {
	_, sums, _ := strings.Cut(string(release), "\nSHA256:\n")
	for line := range strings.Lines(sums) {
		f := strings.Fields(line)
		if !strings.HasPrefix(line, " ") {
			break
		}
		if len(f) == 3 && f[2] == file {
			return f[0], nil
		}
	}
	return "", fmt.Errorf("it has no SHA-256 sum of %s", file)
}

// readPackages reads the packages of signed cloud kernels from a list.
func readPackages(r io.Reader) (found []debPackage, err error) {
	var p debPackage
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	end := func() {
		cloud := strings.HasSuffix(p.name, "-cloud-"+architecture)
		if cloud && p.abi() != "" && !strings.HasSuffix(p.name, "-dbg") && p.file != "" && p.sum != "" {
			found = append(found, p)
		}
		p = debPackage{}
	}
	for sc.Scan() {
		key, value, _ := strings.Cut(sc.Text(), ": ")
		switch key {
		case "":
			end()
		case "Package":
			p.name = value
		case "Version":
			p.version = value
		case "Filename":
			p.file = value
		case "SHA256":
			p.sum = value
		case "Depends":
			p.depends = value
		}
	}
	end()
	return found, sc.Err()
}

// fetchKernel gets the newest kernel of a version or its beginning from Debian, unless it is in the cache.
func fetchKernel(version string) (k kernel, err error) {
	all, err := debianPackages()
	if err != nil {
		return k, err
	}
	var images []debPackage
	have := map[string]bool{}
	for _, p := range all {
		if strings.HasPrefix(p.name, "linux-image-") {
			if hasVersion(p.version, version) {
				images = append(images, p)
			}
			if f := strings.SplitN(p.version, ".", 3); len(f) > 1 {
				have[f[0]+"."+f[1]] = true
			}
		}
	}
	if len(images) == 0 {
		var versions []string
		for v := range have {
			versions = append(versions, v)
		}
		slices.SortFunc(versions, compareVersions)
		return k, fmt.Errorf("kernel %s: Debian has %s now", version, strings.Join(versions, ", "))
	}
	slices.SortStableFunc(images, func(a, b debPackage) int { return compareVersions(b.version, a.version) })
	var errs []error
	for _, image := range images { // a list may name a package that is gone: try the next
		if k, err = fetch(image, all); err == nil {
			return k, nil
		}
		errs = append(errs, err)
		if len(errs) == 3 {
			break
		}
	}
	return k, errors.Join(errs...)
}

// fetch gets the packages of one kernel and puts it into the cache.
func fetch(image debPackage, all []debPackage) (k kernel, err error) {
	err = locked(func(cache string) error {
		k = kernel{image.version, filepath.Join(cache, "kernels", image.version)}
		if k.isInstalled() {
			return nil
		}
		root, err := os.MkdirTemp(cache, "unpack-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(root)
		for _, p := range withParts(image, all) {
			deb, err := getChecked(p.suite.archive+"/"+p.file, p.sum)
			if err != nil {
				return err
			}
			if err := unpackDeb(deb, root); err != nil {
				return fmt.Errorf("%s: %w", p.file, err)
			}
		}
		at, modules := parts(root)
		if at == "" || modules == "" {
			return fmt.Errorf("%s %s: no image or no modules in it", image.name, image.version)
		}
		return k.installOnce(at, modules)
	})
	return k, err
}

// withParts returns the package of an image, and those of the same kernel that it depends on.
func withParts(image debPackage, all []debPackage) []debPackage {
	want := []debPackage{image}
	for _, p := range all {
		part := p.abi() == image.abi() && p.version == image.version && p.suite == image.suite && p.name != image.name
		if part && strings.Contains(image.depends, p.name) {
			want = append(want, p)
		}
	}
	return want
}

func get(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	return b, nil
}

// getChecked is get, and compares the SHA-256 sum.
func getChecked(url, sum string) ([]byte, error) {
	b, err := get(url)
	if err != nil {
		return nil, err
	}
	if got := sha256.Sum256(b); hex.EncodeToString(got[:]) != sum {
		return nil, fmt.Errorf("%s: its SHA-256 sum is %x, want %s", url, got, sum)
	}
	return b, nil
}

// unpackDeb unpacks the files of a package, an ar archive with data.tar.xz or data.tar.zst, below root.
func unpackDeb(deb []byte, root string) error {
	const magic, headerSize = "!<arch>\n", 60
	b, ok := bytes.CutPrefix(deb, []byte(magic))
	if !ok {
		return errors.New("it is no ar archive")
	}
	for len(b) >= headerSize {
		name := strings.TrimRight(string(b[:16]), " /")
		size, err := strconv.Atoi(strings.TrimSpace(string(b[48:58])))
		if err != nil || size < 0 || headerSize+size > len(b) {
			return fmt.Errorf("%s has a wrong size", name)
		}
		body := b[headerSize : headerSize+size]
		b = b[min(len(b), headerSize+size+size%2):]
		if compression, ok := strings.CutPrefix(name, "data.tar"); ok {
			r, err := unpacked(compression, bytes.NewReader(body))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return unpackTar(r, root)
		}
	}
	return errors.New("it has no data.tar")
}

// unpacked returns the data that a file with that ending has in compressed form.
func unpacked(ending string, r io.Reader) (io.Reader, error) {
	switch ending {
	case "":
		return r, nil
	case ".xz":
		return xz.NewReader(bufio.NewReader(r))
	case ".zst":
		d, err := zstd.NewReader(r)
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("compressed as %q: want xz or zst", ending)
}

// unpackTar writes the image and the modules in a tar archive below root.
func unpackTar(r io.Reader, root string) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)
		wanted := strings.HasPrefix(path.Base(name), "vmlinuz") || strings.Contains(path.Base(name), ".ko")
		if h.Typeflag != tar.TypeReg || !wanted {
			continue
		}
		to := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		f, err := os.Create(to)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, archive)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}
