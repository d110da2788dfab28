package main

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// moduleIndex says what the modules of a kernel need, and by which other names the kernel asks for them.
type moduleIndex map[string]module // by name, with underscores

type module struct{ needs, aliases []string }

// wantedFolders are those of the modules that are carried, below kernel/: what has to do with networks, and what boots.
var wantedFolders = []string{
	"net/", "drivers/net/tun.ko", "drivers/net/veth.ko", "drivers/net/dummy.ko", "drivers/net/ifb.ko", "drivers/net/vrf.ko", "drivers/net/macvlan.ko",
	"drivers/net/bonding/", "drivers/net/ipvlan/", "drivers/net/wireguard/", "drivers/net/vxlan", "drivers/net/geneve.ko", "lib/", "crypto/", "arch/x86/crypto/",
}

// unpackModules writes the modules below a folder that are carried, decompressed, as NAME.ko into another, and returns their
// index. An empty folder has none.
func unpackModules(from, to string) (moduleIndex, error) {
	index := moduleIndex{}
	if from == "" {
		return index, nil
	}
	err := filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		base, ending, isModule := strings.Cut(d.Name(), ".ko")
		if err != nil || d.IsDir() || !isModule {
			return err
		}
		rel, err := filepath.Rel(from, file)
		if err != nil || !slices.ContainsFunc(wantedFolders, func(f string) bool { return strings.HasPrefix(filepath.ToSlash(rel), f) }) {
			return err
		}
		b, err := readModule(file, ending)
		if err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		name := underscored(base)
		if index[name], err = moduleInfo(b); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		return os.WriteFile(filepath.Join(to, name+".ko"), b, 0o644)
	})
	return index, err
}

func readModule(file, ending string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := unpacked(ending, f)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return withoutSignature(b), err
}

// withoutSignature returns a module without the signature behind it (include/linux/module_signature.h), the check of which
// took two thirds of the time that the kernel spent with modules.
func withoutSignature(b []byte) []byte {
	const magic, infoSize = "~Module signature appended~\n", 12 // struct module_signature, whose last word is the length
	info, ok := bytes.CutSuffix(b, []byte(magic))
	if !ok || len(info) < infoSize {
		return b
	}
	size := uint64(binary.BigEndian.Uint32(info[len(info)-4:])) + infoSize
	if size > uint64(len(info)) {
		return b
	}
	return info[:uint64(len(info))-size]
}

// underscored returns a module's name as the kernel writes it.
func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }

// moduleInfo reads the section .modinfo of a module.
func moduleInfo(b []byte) (m module, err error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return m, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return m, nil
	}
	info, err := section.Data()
	if err != nil {
		return m, err
	}
	for entry := range strings.SplitSeq(string(info), "\x00") {
		key, value, _ := strings.Cut(entry, "=")
		switch key {
		case "depends":
			for need := range strings.SplitSeq(value, ",") {
				if need != "" {
					m.needs = append(m.needs, underscored(need))
				}
			}
		case "softdep":
			if before, ok := strings.CutPrefix(value, "pre: "); ok {
				m.needs = append(m.needs, strings.Fields(underscored(before))...)
			}
		case "alias":
			m.aliases = append(m.aliases, underscored(value))
		}
	}
	return m, nil
}

// String writes the index, a line for each module: its name, what it needs and its aliases.
func (x moduleIndex) String() string {
	var lines []string
	for name, m := range x {
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s\n", name, strings.Join(m.needs, " "), strings.Join(m.aliases, " ")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// readIndex reads what String has written.
func readIndex(r io.Reader) (moduleIndex, error) {
	index := moduleIndex{}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		f := strings.Split(sc.Text(), "\t")
		if len(f) != 3 {
			return nil, fmt.Errorf("index of modules: %q", sc.Text())
		}
		index[f[0]] = module{strings.Fields(f[1]), strings.Fields(f[2])}
	}
	return index, sc.Err()
}

// order returns the modules to load for a name or an alias, each behind what it needs; none if the kernel has it built in
// or lacks it.
func (x moduleIndex) order(name string) (names []string) {
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		m, ok := x[name]
		if !ok || seen[name] {
			return
		}
		seen[name] = true
		for _, need := range m.needs {
			add(need)
		}
		names = append(names, name)
	}
	name = underscored(name)
	if _, ok := x[name]; ok {
		add(name)
		return names
	}
	var byAlias []string
	for module, m := range x {
		if slices.ContainsFunc(m.aliases, func(a string) bool { ok, _ := path.Match(a, name); return ok }) {
			byAlias = append(byAlias, module)
		}
	}
	slices.Sort(byAlias)
	for _, module := range byAlias {
		add(module)
	}
	return names
}
