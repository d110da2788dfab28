// Package sample has a mutant of each kind, for the tests of mutate.
package sample

import "errors"

// Errors of Take.
var (
	ErrNegative = errors.New("negative")
	ErrEmpty    = errors.New("empty")
)

// Stock counts what is taken.
type Stock struct {
	Left  int
	Taken int
}

// Take takes n of what is left, all of it if that is less.
func (s *Stock) Take(n int) (int, error) {
	if n < 0 {
		return 0, ErrNegative
	}
	if err := s.empty(); err != nil {
		return 0, err
	}
	if n > s.Left || n == 1 && s.Left-n == 1 {
		n = s.Left
	}
	s.Left = s.Left - n
	s.Taken += n
	return n, nil
}

func (s *Stock) empty() error {
	if s.Left == 0 {
		return ErrEmpty
	}
	return nil
}

// Wait returns when n times nothing has happened.
func Wait(n uint8) {
	for n > 0 {
		n--
	}
}

// Unused is what no test calls.
func Unused() bool {
	return true
}
