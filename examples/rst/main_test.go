package main

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
)

func TestMain(m *testing.M) { ctexp.Main(m) }

func TestItRuns(t *testing.T) {
	t.Parallel()
	ctexp.Require(t, "reset", resetWith(t.Context(), 0))
}
