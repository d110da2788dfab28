package netnsenv

import "sync"

// trait is something that the kernel does or does not do, which is the same in all namespaces of the process: it is tried once.
type trait struct {
	sync.Mutex
	known, is bool
}

// ask returns whether the kernel does it, which try finds out. After an error the next call tries again.
func (t *trait) ask(try func() (bool, error)) (bool, error) {
	t.Lock()
	defer t.Unlock()
	if t.known {
		return t.is, nil
	}
	is, err := try()
	if err == nil {
		t.known, t.is = true, is
	}
	return is, err
}
