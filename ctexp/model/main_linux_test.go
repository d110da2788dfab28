package model_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

func TestMain(m *testing.M) { ctexp.Main(redtest.Tidy{M: m}) }
