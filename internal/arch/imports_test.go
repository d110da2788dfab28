package arch

import (
	"bytes"
	"go/build"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layer returns which part of the picture a folder belongs to; "" if to none.
func layer(dir string) string {
	first, rest, _ := strings.Cut(dir, "/")
	if first == "internal" {
		if noun, _, _ := strings.Cut(rest, "/"); picture[noun] != nil {
			return noun
		}
	}
	switch first {
	case "internal", "examples", "cmd":
		return first
	case "ctexp":
		if rest == "" {
			return "ctexp"
		}
		noun, _, _ := strings.Cut(rest, "/")
		if _, ok := picture[noun]; ok {
			return noun
		}
	}
	return ""
}

// picture says which layers a layer may import. It is also drawn in CONTRIBUTING.md.
var picture = map[string][]string{
	"header":     {},
	"mutate":     {"mutate"},
	"plain":      {},
	"nf":         {"header", "plain"},
	"internal":   {"header", "plain", "nf", "internal"},
	"packet":     {"header", "plain", "nf", "internal"},
	"netnsenv":   {"header", "plain", "nf", "packet", "internal"},
	"inject":     {"header", "plain", "nf", "packet", "internal"},
	"peer":       {"header", "plain", "nf", "packet", "internal"},
	"observe":    {"header", "plain", "nf", "packet", "internal"},
	"report":     {"header", "plain", "nf", "packet", "internal", "observe"},
	"ctexp":      {"header", "plain", "nf", "packet", "internal", "netnsenv", "inject", "peer", "observe", "report"},
	"cases":      {"plain", "nf", "packet", "internal", "netnsenv", "observe", "ctexp"},
	"model":      {"plain", "nf", "packet", "internal", "netnsenv", "ctexp"},
	"examples":   {"plain", "nf", "packet", "internal", "netnsenv", "inject", "peer", "observe", "report", "ctexp", "model", "cases"},
	"packettest": {"header", "plain", "nf", "packet", "internal"},
	"cmd":        {"plain", "nf", "packet", "internal", "netnsenv", "inject", "peer", "observe", "ctexp", "cases"},
}

// example returns the example that a folder belongs to; "" if to none.
func example(dir string) string {
	rest, ok := strings.CutPrefix(dir, "examples/")
	name, _, _ := strings.Cut(rest, "/")
	if !ok {
		return ""
	}
	return name
}

// Tests may import any sibling. Nothing imports an example but a folder of the same. A package inside a noun may import the noun.
func importsFitThePicture(f *file) []breach {
	var out []breach
	for p, at := range f.imports {
		if p != module && !strings.HasPrefix(p, module+"/") {
			continue
		}
		dir := strings.TrimPrefix(p, module+"/")
		from, to := layer(f.dir()), layer(dir)
		switch {
		case from == "examples" && example(f.dir()) == example(dir):
		case strings.HasPrefix(f.dir(), dir+"/") && from == to:
		case from == "" || to == "":
			out = append(out, f.breach(at, "the picture has no place for the import of %s by %s", p, f.dir()))
		case f.isTest() && to != "examples" && to != "cmd":
		case !slices.Contains(picture[from], to):
			out = append(out, f.breach(at, "%s must not import %s", from, p))
		}
	}
	return out
}

func onlyTestsImportTesting(f *file) []breach {
	var out []breach
	for p, at := range f.imports {
		if !f.isTest() && (p == "testing" || strings.HasPrefix(p, "testing/")) {
			out = append(out, f.breach(at, "%s is imported outside of a test", p))
		}
	}
	return out
}

// linuxLibraries are those that do not compile elsewhere, or have other names there.
var linuxLibraries = []string{
	"github.com/coreos/go-iptables",
	"github.com/google/nftables",
	"github.com/jsimonetti/rtnetlink",
	"github.com/ti-mo/conntrack",
	"github.com/ti-mo/netfilter",
	"golang.org/x/sys/unix",
}

// portableExamples are compiled for another system by .ci/run; the other examples are for Linux alone.
var portableExamples = []string{"examples/firsttest"}

func linuxLibrariesStayInLinuxFiles(f *file) []breach {
	if !builtFor("darwin", f) || layer(f.dir()) == "examples" && !slices.Contains(portableExamples, f.dir()) {
		return nil
	}
	var out []breach
	for p, at := range f.imports {
		for _, lib := range linuxLibraries {
			if p == lib || strings.HasPrefix(p, lib+"/") {
				out = append(out, f.breach(at, "%s is imported by a file that is not for Linux alone: name it _linux.go", p))
			}
		}
	}
	return out
}

// builtFor reports whether name and build tags of a file let it be compiled for a system.
func builtFor(goos string, f *file) bool {
	if f.ast == nil {
		return false
	}
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = goos, "arm64", false
	ctx.OpenFile = func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.src)), nil }
	ok, err := ctx.MatchFile(f.dir(), path.Base(f.path))
	return ok && err == nil
}

// plain are the packages that a first test imports, and what these import.
var plain = []string{"./ctexp", "./ctexp/netnsenv", "./ctexp/nf", "./ctexp/packet", "./ctexp/observe", "./ctexp/inject", "./ctexp/peer"}

// A test pays in compile time and size for all that is linked. What programs of eBPF need is in packages of its own, and one gopacket
// is enough: each has the decoders of all protocols.
func TestPlainTestsDoNotLinkWhatFewNeed(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", append([]string{"list", "-deps"}, plain...)...)
	cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	linked := strings.Fields(string(out))
	for _, p := range linked {
		for _, not := range []string{"github.com/cilium/ebpf", "github.com/gopacket/gopacket", "net/http", "crypto/tls"} {
			if p == not || strings.HasPrefix(p, not+"/") {
				t.Errorf("a plain test links %s", p)
			}
		}
	}
	if !slices.Contains(linked, "github.com/google/gopacket/layers") {
		t.Error("a plain test links no gopacket: the list is another than was meant")
	}
}

func TestImportsFitThePicture(t *testing.T) { hold(t, importsFitThePicture) }

func TestOnlyTestsImportTesting(t *testing.T) { hold(t, onlyTestsImportTesting) }

func TestLinuxLibrariesStayInLinuxFiles(t *testing.T) { hold(t, linuxLibrariesStayInLinuxFiles) }
