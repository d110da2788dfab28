package sample

import (
	"errors"
	"os"
	"testing"
)

func TestTakeTakesWhatIsLeft(t *testing.T) {
	s := Stock{Left: 5}
	if n, err := s.Take(3); n != 3 || err != nil || s.Left != 2 {
		t.Fatal(n, err, s)
	}
	if n, err := s.Take(3); n != 2 || err != nil || s.Left != 0 {
		t.Fatal(n, err, s)
	}
}

func TestTakeOfNothingFails(t *testing.T) {
	s := Stock{}
	if _, err := s.Take(3); !errors.Is(err, ErrEmpty) {
		t.Fatal(err)
	}
}

func TestWaitEnds(t *testing.T) {
	if os.Getenv("SAMPLE_FAILS") != "" {
		t.Fatal("as asked")
	}
	Wait(3)
}
