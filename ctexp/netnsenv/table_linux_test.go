package netnsenv_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func entry(port uint16) nf.Entry {
	t := nf.Tuple{Proto: nf.TCP, Src: netip.AddrPortFrom(web.Src.Addr(), port), Dst: web.Dst}
	return nf.Entry{Orig: t, Reply: t.Reverse(), State: nf.Established, Timeout: time.Hour}
}

func TestTableIsWrittenAndRead(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]netnsenv.Config{"empty": {}, "filled": {Room: netnsenv.Free(7)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, cfg)
			table := e.Table()
			for port := range uint16(3) {
				en := entry(1000 + port)
				en.Mark = uint32(port)
				if err := table.Create(en); err != nil {
					t.Fatal(err)
				}
			}
			if err := table.Create(entry(1000)); !errors.Is(err, unix.EEXIST) {
				t.Errorf("create again: %v", err)
			}
			changed := entry(1001)
			changed.Mark = 9
			if err := table.Update(changed); err != nil {
				t.Errorf("update: %v", err)
			}
			if n, err := table.Flush(t.Context(), nf.Filter{Mark: 9, MarkMask: ^uint32(0)}); n != 1 || err != nil {
				t.Errorf("flush by the new mark: %d, %v", n, err)
			}
			if err := table.Delete(entry(1002)); err != nil {
				t.Errorf("delete: %v", err)
			}
			if err := table.Delete(entry(1002)); !errors.Is(err, unix.ENOENT) {
				t.Errorf("delete again: %v", err)
			}
			if n := count(t, e); n != 1 {
				t.Errorf("%d entries left, want 1", n)
			}
		})
	}
}

func TestFillersZoneIsRefused(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	en := entry(1)
	en.Zone = 65535
	if err := e.Table().Create(en); err == nil {
		t.Error("an entry in the filler's zone was created")
	}
}
