package guides

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/cases"
)

func TestMain(m *testing.M) { ctexp.Main(m) }

func TestRouter(t *testing.T) {
	t.Parallel()
	cases.Test(t, "router.cases")
}
