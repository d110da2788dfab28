//go:build !linux

package observe

// Place is a network namespace that somebody else has made; here there is none.
type Place struct{}

// At returns an nf.UnsupportedError.
func At(string) (*Place, error) { return nil, errNotLinux }

// AtPID returns an nf.UnsupportedError.
func AtPID(int) (*Place, error) { return nil, errNotLinux }

// AtFD returns an nf.UnsupportedError.
func AtFD(int) (*Place, error) { return nil, errNotLinux }

// Host returns an nf.UnsupportedError.
func Host() (*Place, error) { return nil, errNotLinux }

// Do returns an nf.UnsupportedError.
func (*Place) Do(func() error) error { return errNotLinux }

// FD returns -1.
func (*Place) FD() int { return -1 }

// Close does nothing.
func (*Place) Close() error { return nil }
