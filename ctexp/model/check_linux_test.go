package model_test

import (
	"flag"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/model"
)

var conversations = flag.Int("conversations", 400, "how many random conversations TestKernelDoesWhatTheModelSays holds")

func TestKernelDoesWhatTheModelSays(t *testing.T) {
	t.Parallel()
	lab := ctexp.New(t, model.Kernel{}.Router()).Lab
	k, err := model.KernelOf(t.Context(), lab)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	model.ForAll(t, lab, model.Config{Ends: model.RouterEnds(), N: *conversations}, k.Check)
	t.Logf("%d conversations in %v", *conversations, time.Since(began))
}
