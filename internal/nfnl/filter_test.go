package nfnl_test

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"

	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Only what Age itself causes is dropped: an UPDATE, which is a NEW without flags, from its port.
func TestDropAgedDropsUpdatesOfAge(t *testing.T) {
	t.Parallel()
	vm, err := bpf.NewVM(nfnl.DropAged())
	if err != nil {
		t.Fatal(err)
	}
	const create, excl = 0x400, 0x200
	got := map[string]bool{}
	for name, c := range map[string]struct {
		typ, flags uint16
		port       uint32
	}{
		"update of Age":     {1 << 8, 0, ours.AgePort},
		"new entry of Age":  {1 << 8, create | excl, ours.AgePort},
		"destroyed by Age":  {1<<8 | 2, 0, ours.AgePort},
		"update by another": {1 << 8, 0, 7},
		"update by packet":  {1 << 8, 0, 0},
	} {
		b := make([]byte, nfnl.HeaderSize+4)
		binary.NativeEndian.PutUint16(b[4:], c.typ)
		binary.NativeEndian.PutUint16(b[6:], c.flags)
		binary.NativeEndian.PutUint32(b[12:], c.port)
		n, err := vm.Run(b)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = n == 0
	}

	want := map[string]bool{
		"update of Age": true, "new entry of Age": false, "destroyed by Age": false, "update by another": false, "update by packet": false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
}
