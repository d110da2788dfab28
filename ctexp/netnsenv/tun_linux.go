package netnsenv

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// tun is a tun link opened by water. The interface is persistent, so that it goes with its namespace: to close the
// last descriptor of one that is not waits 20 to 40 ms for RCU (drivers/net/tun.c, __tun_detach).
type tun struct {
	*water.Interface // also kept because its descriptor dies with it
	file             *os.File
}

func openTun(e *Env, name string) (device, error) {
	var d *tun
	err := e.Do(func() error {
		// water opens without O_CLOEXEC: nobody may fork until the flag is set.
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		w, err := water.New(water.Config{
			DeviceType:             water.TUN,
			PlatformSpecificParams: water.PlatformSpecificParams{Name: name, Persist: true},
		})
		if err != nil {
			return err
		}
		f, ok := w.ReadWriteCloser.(*os.File)
		if !ok {
			w.Close()
			return fmt.Errorf("water: the interface is a %T, not a file", w.ReadWriteCloser)
		}
		d = &tun{Interface: w, file: f}
		return setCloseOnExec(f)
	})
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, &nf.UnsupportedError{
			Need: "/dev/net/tun",
			Hint: "sudo chmod 0666 /dev/net/tun; in a container: --device /dev/net/tun; a veth link does without",
			Err:  err,
		}
	}
	return nil, fmt.Errorf("open the tun: %w", err)
}

func (t *tun) SetReadDeadline(at time.Time) error { return t.file.SetReadDeadline(at) }

func setCloseOnExec(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { unix.CloseOnExec(int(fd)) })
}

func unsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }
