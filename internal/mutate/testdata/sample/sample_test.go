package sample

import (
	"errors"
	"os"
	"strconv"
	"strings"
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
	switch n := executions(t); {
	case strings.Contains(os.Getenv("SAMPLE_FAILS"), n):
		t.Fatal("as asked")
	case strings.Contains(os.Getenv("SAMPLE_HANGS"), n):
		<-t.Context().Done() // which is after the test
	}
	Wait(3)
}

// executions returns how often the test was executed, now included, as a digit. It counts in the file SAMPLE_EXECUTIONS.
func executions(t *testing.T) string {
	name := os.Getenv("SAMPLE_EXECUTIONS")
	if name == "" {
		return "-"
	}
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(before, '.'), 0o600); err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(len(before) + 1)
}
