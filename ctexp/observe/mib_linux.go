package observe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// mibFiles are the counters of a namespace, which is decided when they are opened.
type mibFiles []*os.File

// openMIB must be called on a thread in the namespace.
func openMIB() (files mibFiles, err error) {
	for _, name := range []string{"snmp", "netstat", "snmp6"} {
		f, err := os.Open("/proc/thread-self/net/" + name)
		if errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			continue
		}
		if err != nil {
			files.close()
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// read returns the counters that mibNames names, those that are not zero.
func (files mibFiles) read() (map[string]uint64, error) {
	all := map[string]uint64{}
	for _, f := range files {
		text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
		if err == nil {
			err = parseMIB(string(text), all)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name(), err)
		}
	}
	mib := map[string]uint64{}
	for _, name := range mibNames() {
		if n := all[name]; n > 0 {
			mib[name] = n
		}
	}
	return mib, nil
}

func (files mibFiles) close() {
	for _, f := range files {
		_ = f.Close()
	}
}
