package observe_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// writePcapng writes frames to a file and returns its name.
func writePcapng(t testing.TB, frames []observe.Frame, comment func(observe.Frame) string) string {
	t.Helper()
	var b bytes.Buffer
	if err := observe.WritePcapng(&b, frames, comment); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "capture.pcapng")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// wireshark runs one of its programs, or skips the test where there is none, and returns what it prints, line by line.
// It must have nothing to complain about.
func wireshark(t testing.TB, program string, args ...string) []string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "tshark", Hint: "apt-get install tshark", Err: err})
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8", "TZ=UTC")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	for line := range strings.Lines(complaints.String()) {
		if !strings.Contains(line, "Running as user \"root\"") && strings.TrimSpace(line) != "" {
			err = errors.Join(err, errors.New(line))
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return strings.Split(strings.TrimRight(string(out), "\n"), "\n")
}

// tshark returns number, time, link, direction, length and comment of each packet.
func tshark(t testing.TB, file string) []string {
	t.Helper()
	return wireshark(t, "tshark", "-n", "-r", file, "-T", "fields", "-E", "separator=|", "-e", "frame.number", "-e", "frame.time_epoch",
		"-e", "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "frame.len", "-e", "frame.comment")
}

// shown is what tshark has to show of frames with a header of so many bytes in front.
func shown(frames []observe.Frame, header int, comment func(observe.Frame) string) []string {
	var lines []string
	for i, f := range frames {
		lines = append(lines, fmt.Sprintf("%d|%d.%09d|%s|0x%08x|%d|%s",
			i+1, f.Time.Unix(), f.Time.Nanosecond(), f.Link, 1+uint8(f.Dir), header+len(f.Packet), comment(f)))
	}
	return lines
}

// What is no IP has a header in front that says what it is.
func TestPcapngOfAnyFrameIsReadByTshark(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 1)
	arp := []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9}
	frames := []observe.Frame{
		{Time: at, Link: "veth0", EtherType: 0x0806, Packet: arp},
		{Time: at.Add(999_999_999), Link: "tun0", Dir: observe.Out, EtherType: 0x0800, Packet: []byte{
			0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0xb0, 0xad, 192, 0, 2, 1, 198, 18, 0, 2, 0, 80, 0x27, 0x10, 0, 8, 0, 0,
		}},
	}
	comment := func(f observe.Frame) string { return "über " + f.Link }
	file := writePcapng(t, frames, comment)

	if diff := cmp.Diff(shown(frames, 16, comment), tshark(t, file)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	protocols := wireshark(t, "tshark", "-n", "-r", file, "-T", "fields", "-e", "frame.protocols")
	if diff := cmp.Diff([]string{"sll:ethertype:arp", "sll:ethertype:ip:udp"}, protocols); diff != "" {
		t.Errorf("protocols (-want +got):\n%s", diff)
	}
}

func TestPcapngWithoutFramesIsRead(t *testing.T) {
	t.Parallel()
	got := wireshark(t, "capinfos", "-T", "-r", "-c", writePcapng(t, nil, nil))
	if _, count, _ := strings.Cut(got[0], "\t"); count != "0" {
		t.Errorf("%q packets", count)
	}
}

func TestPcapngThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	if err := observe.WritePcapng(closedPipe{}, nil, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

// A capture of a real experiment says of each packet what became of it, and is opened without a complaint.
func TestPcapngOfAnExperimentIsReadByTshark(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	x.sendSYNs(3, web)
	frames := collect(t, x.o.Frames(t.Context()))
	comment := func(f observe.Frame) string { return f.TCPFlags() }
	file := writePcapng(t, frames, comment)

	header, layer := 0, "rawip"
	if x.env.Links()[0].L2() { // there is no tun here
		header, layer = 14, "ether"
	}
	if diff := cmp.Diff(shown(frames, header, comment), tshark(t, file)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	table := wireshark(t, "capinfos", "-T", "-r", "-E", "-c", "-o", "-I", file)
	want := fmt.Sprintf("%s\t%s\t%d\tTrue", file, layer, len(frames))
	if diff := cmp.Diff(want, strings.Join(strings.Split(table[0], "\t")[:4], "\t")); diff != "" {
		t.Errorf("capinfos (-want +got):\n%s\n%v", diff, table)
	}
}

// collect returns all that a sequence yields, which must not fail.
func collect[T any](t testing.TB, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func BenchmarkWritePcapng(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true})
	x.sendSYNs(1000, web)
	frames := collect(b, x.o.Frames(b.Context()))
	for b.Loop() {
		if err := observe.WritePcapng(io.Discard, frames, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(frames)), "ns/frame")
}
