package observe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// mibFile is an open file of network counters, whose namespace is that of the thread which opened it, and its text at
// that time, which is parsed on demand.
type mibFile struct {
	*os.File
	start string
}

type mibFiles []mibFile

// mibSize is large enough for any of the files.
const mibSize = 32 << 10

// openMIB opens the files that a path of these probes needs. It must be called on a thread in the namespace.
func openMIB(path []nf.Probe) (files mibFiles, err error) {
	var names []string
	for _, p := range path {
		if names == nil {
			names = []string{"snmp", "netstat"}
		}
		if p.Family == nf.IPv6 {
			names = append(names, "snmp6")
			break
		}
	}
	buf := make([]byte, mibSize)
	for _, name := range names {
		f, err := os.Open("/proc/thread-self/net/" + name)
		if errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			continue
		}
		file := mibFile{File: f}
		if err == nil {
			files = append(files, file)
			files[len(files)-1].start, err = file.read(buf)
		}
		if err != nil {
			files.close()
			return nil, err
		}
	}
	return files, nil
}

func (f mibFile) read(buf []byte) (string, error) {
	n, err := io.ReadFull(io.NewSectionReader(f, 0, int64(len(buf))), buf)
	if err == nil {
		return "", fmt.Errorf("read %s: more than %d bytes", f.Name(), len(buf))
	}
	if err != io.ErrUnexpectedEOF && err != io.EOF {
		return "", err
	}
	return string(buf[:n]), nil
}

// since returns how much the counters of mibNames have grown since openMIB.
func (files mibFiles) since() (map[string]uint64, error) {
	before, after := map[string]uint64{}, map[string]uint64{}
	buf := make([]byte, mibSize)
	for _, f := range files {
		text, err := f.read(buf)
		if err != nil {
			return nil, err
		}
		if text == f.start { // usual for snmp6
			continue
		}
		if err := errors.Join(parseMIB(f.start, before), parseMIB(text, after)); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name(), err)
		}
	}
	wanted := map[string]uint64{}
	for _, name := range mibNames() {
		wanted[name] = after[name]
	}
	return subCounts(wanted, before), nil
}

func (files mibFiles) close() {
	for _, f := range files {
		_ = f.Close()
	}
}
