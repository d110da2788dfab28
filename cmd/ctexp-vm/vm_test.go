package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"
	"github.com/ulikunitz/xz"
)

func TestVersionsAreChosenByTheirNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version, want string
		has           bool
	}{
		{"6.1.192-3", "6.1", true}, {"6.12.118-1", "6.1", false}, {"6.1.192-3", "6.1.192", true}, {"6.1.192-3", "6.1.192-3", true},
		{"6.1.192-3", "6.1.19", false}, {"6.12.95-1~bpo12+1", "6.12.95-1", true},
	} {
		if got := hasVersion(c.version, c.want); got != c.has {
			t.Errorf("%s is %s: %v", c.version, c.want, got)
		}
	}
	versions := []string{"6.1.192-3", "5.10.262-1", "6.12.118-1", "6.1.192-2", "7.3.4-1~bpo13+1"}
	slices.SortFunc(versions, compareVersions)
	if got, want := fmt.Sprint(versions), "[5.10.262-1 6.1.192-2 6.1.192-3 6.12.118-1 7.3.4-1~bpo13+1]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

const packagesList = `Package: linux-image-6.1.0-57-cloud-amd64
Version: 6.1.192-3
Depends: kmod, linux-base (>= 4.3~)
Filename: pool/a.deb
SHA256: aa

Package: linux-image-6.1.0-57-cloud-amd64-dbg
Version: 6.1.192-3
Filename: pool/b.deb
SHA256: bb

Package: linux-image-cloud-amd64
Version: 6.1.192-3
Filename: pool/c.deb
SHA256: cc

Package: linux-image-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1
Depends: linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1), linux-modules-7.3.4+deb13-cloud-amd64 (= 7.3.4-1)
Filename: pool/d.deb
SHA256: dd

Package: linux-binary-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1
Filename: pool/e.deb
SHA256: ee

Package: linux-modules-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1
Filename: pool/f.deb
SHA256: ff`

func TestPackagesOfAKernel(t *testing.T) {
	t.Parallel()
	all, err := readPackages(strings.NewReader(packagesList))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range all {
		if strings.HasPrefix(p.name, "linux-image-") {
			var files []string
			for _, part := range withParts(p, all) {
				files = append(files, part.file+" "+part.sum)
			}
			got = append(got, p.version+": "+strings.Join(files, ", "))
		}
	}
	want := []string{"6.1.192-3: pool/a.deb aa", "7.3.4-1: pool/d.deb dd, pool/e.deb ee, pool/f.deb ff"}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// A folder that the machine's memory cannot hold is an error that names it, before anything is booted.
func TestTreeThatIsTooLarge(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "x"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	for room, want := range map[int64]string{1 << 20: "", 1<<20 - 1: root} {
		err := writeArchive(io.Discard, func(a *archive) error { return a.copyTree(root, room) })
		if got := fmt.Sprint(err); (err == nil) != (want == "") || !strings.Contains(got, want) {
			t.Errorf("with room for %d bytes: %v", room, err)
		}
	}
}

func TestSumOfAListIsRead(t *testing.T) {
	t.Parallel()
	const release = "Suite: x\nMD5Sum:\n 0 1 main/Packages.xz\nSHA256:\n abc 12 main/Packages.xz\n def 13 main/other\nSize: 1\n"
	if got, err := sumIn([]byte(release), "main/Packages.xz"); got != "abc" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := sumIn([]byte(release), "main/nothing"); err == nil {
		t.Errorf("a file that is not there: %q", got)
	}
}

// deb returns a package with these files.
func deb(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var data bytes.Buffer
	packed, err := xz.NewWriter(&data)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(packed)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []io.Closer{w, packed} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b := []byte("!<arch>\n")
	for _, member := range []struct {
		name string
		body []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.xz", []byte("odd")}, {"data.tar.xz", data.Bytes()}} {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", member.name, 0, 0, 0, "100644", len(member.body))
		b = append(b, member.body...)
		if len(member.body)%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

func TestPackageIsUnpacked(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	b := deb(t, map[string]string{
		"./boot/vmlinuz-6.1": "image", "./lib/modules/6.1/kernel/net/a.ko": "a", "./usr/share/doc/x": "no", "./../../../../evil/vmlinuz": "stays inside",
	})
	if err := unpackDeb(b, root); err != nil {
		t.Fatal(err)
	}
	var got []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, path)
			got = append(got, rel)
		}
		return err
	})
	if want := []string{"boot/vmlinuz-6.1", "evil/vmlinuz", "lib/modules/6.1/kernel/net/a.ko"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for name, wrong := range map[string][]byte{"no archive": []byte("x"), "cut off": b[:len(b)-40], "nothing in it": []byte("!<arch>\n")} {
		if err := unpackDeb(wrong, t.TempDir()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestModulesAreLoadedBehindWhatTheyNeed(t *testing.T) {
	t.Parallel()
	index := moduleIndex{
		"nf_nat":        {needs: []string{"nf_conntrack"}},
		"nf_conntrack":  {needs: []string{"libcrc32c", "nf_defrag_ipv4"}},
		"libcrc32c":     {},
		"nft_chain_nat": {needs: []string{"nf_nat", "nf_tables"}, aliases: []string{"nft_chain_*_nat"}},
		"nf_tables":     {},
		"loop":          {needs: []string{"loop"}},
	}
	var b strings.Builder
	b.WriteString(index.String())
	index, err := readIndex(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"nft-chain-nat":    "[libcrc32c nf_conntrack nf_nat nf_tables nft_chain_nat]",
		"nft_chain_2_nat":  "[libcrc32c nf_conntrack nf_nat nf_tables nft_chain_nat]",
		"built_in_or_gone": "[]",
		"loop":             "[loop]",
		"nf_tables":        "[nf_tables]",
	} {
		if got := fmt.Sprint(index.order(name)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// The tree of a module is in the machine as it is here, and each folder is there once, before what is in it.
func TestTreeIsCarried(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"go.mod": 0o644, "p/testdata/x": 0o600, "p/run.sh": 0o755, ".git/HEAD": 0o644} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("x", filepath.Join(root, "p/testdata/link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := writeArchive(&b, func(a *archive) error { return a.copyTree(root, 1<<20) }); err != nil {
		t.Fatal(err)
	}
	var got []string
	seen := map[string]bool{}
	r := cpio.NewReader(&b)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if seen[h.Name] {
			t.Errorf("%s is there twice", h.Name)
		}
		seen[h.Name] = true
		rel, err := filepath.Rel(root, "/"+h.Name)
		if err == nil && !strings.HasPrefix(rel, "..") && rel != "." && h.Mode&^0o7777 != cpio.TypeDir {
			got = append(got, fmt.Sprintf("%s %o %s", rel, h.Mode.Perm(), h.Linkname))
		}
	}
	want := []string{"go.mod 644 ", "p/run.sh 755 ", "p/testdata/link 777 x", "p/testdata/x 600 "}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"-kernel", "6.1"}, {"-nosuch"}} {
		if _, err := run(args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
	for _, name := range []string{"", "nosuch", "/nosuch/folder"} {
		if _, err := findKernel(name); err == nil {
			t.Errorf("kernel %q: no error", name)
		}
	}
	if err := kernels([]string{"remove"}); err == nil {
		t.Error("kernels remove: no error")
	}
}

func TestModulesAreCarriedWithoutSignatures(t *testing.T) {
	const magic = "~Module signature appended~\n"
	info := string([]byte{0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 5})
	for b, want := range map[string]string{
		"module" + "12345" + info + magic: "module",
		"module":                          "module",
		magic:                             magic,
		"12" + info + magic:               "12" + info + magic, // the signature would begin before the file
	} {
		if got := withoutSignature([]byte(b)); string(got) != want {
			t.Errorf("%q: %q, want %q", b, got, want)
		}
	}
}

// Where a folder is a link, a file in it is carried once, at its real path, with the link.
func TestFilesAreCarriedOnce(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "usr", "bin"), 0o755), os.Symlink("usr/bin", filepath.Join(root, "bin")),
		os.WriteFile(filepath.Join(root, "usr", "bin", "p"), []byte("p"), 0o755)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range needed([]string{filepath.Join(root, "bin", "p"), filepath.Join(root, "usr", "bin", "p")}) {
		got = append(got, strings.TrimPrefix(f, root))
	}
	if want := []string{"/bin", "/usr/bin/p"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The cache keeps the bases that were used last.
func TestTheOldestFilesAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, name := range []string{"base-c.cpio", "base-a.cpio", "base-d.cpio", "other", "base-b.cpio"} {
		path, used := filepath.Join(dir, name), time.Unix(int64(1000*i), 0)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, used, used)); err != nil {
			t.Fatal(err)
		}
	}
	for _, most := range []int{4, 2, 2} {
		if err := removeOldest(filepath.Join(dir, "base-*.cpio"), most); err != nil {
			t.Fatal(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if want := []string{"base-b.cpio", "base-d.cpio", "other"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left are %q, %v, want %q", left, err, want)
	}
}
