package user

import (
	"errors"
	"testing"

	"github.com/ctexp/go-ctexp/internal/mutate/testdata/sample"
)

func TestNegativeNumbersFail(t *testing.T) {
	if _, err := new(sample.Stock).Take(-1); !errors.Is(err, sample.ErrNegative) {
		t.Fatal(err)
	}
}
