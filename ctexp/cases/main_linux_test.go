package cases_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
)

func TestMain(m *testing.M) { ctexp.Main(m) }
