package entertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

const ownNetwork = "/proc/self/ns/net"

// likeChild prints the names of the interfaces of the network that the process was started in, as Like has them, and what files a
// program has that it starts.
func likeChild() {
	l, err := netnsenv.Like(context.Background(), ownNetwork)
	if err != nil {
		fmt.Print(err)
		os.Exit(1)
	}
	names := []string{"lo"}
	for _, link := range l.Config.Links {
		names = append(names, link.Name)
	}
	for _, d := range l.Config.Devices {
		names = append(names, d.Name)
	}
	for _, n := range l.NotCopied {
		if n.Part == netnsenv.PartInterface && !slices.Contains(names, n.Name) {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	files, err := exec.Command("ls", "-l", "/proc/self/fd").Output()
	fmt.Println(strings.Join(names, " "), strings.Contains(string(files), "memfd"), err)
	os.Exit(0)
}

// What Entry.Like names is read before the process enters its own namespaces, in which the same path is another network. No program
// inherits what was read.
func TestLikeReadsFromOutside(t *testing.T) {
	t.Parallel()
	namespaces(t)
	unentered(t)
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range interfaces {
		fallback := i.Flags&net.FlagUp == 0 && strings.HasSuffix(i.Name, "0") // tunnels that every namespace has
		if !fallback {
			names = append(names, i.Name)
		}
	}
	slices.Sort(names)

	out, err := again(t, "like").Output()

	got, rest, _ := strings.Cut(string(out), " false <nil>")
	for _, name := range names {
		if !slices.Contains(strings.Fields(got), name) {
			t.Errorf("%v, got %s, want all of %v", err, out, names)
			break
		}
	}
	if rest != "\n" {
		t.Errorf("got %q, want that programs do not inherit the file", out)
	}
}
