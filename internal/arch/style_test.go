package arch

import (
	"go/ast"
	"path"
	"strings"
	"testing"
)

const maxLines = 700

func filesAreShort(f *file) []breach {
	if f.ast == nil || f.lines <= maxLines {
		return nil
	}
	return []breach{{f.path, f.lines, "the file has more than 700 lines"}}
}

// Whoever sleeps waits too long or not long enough: wait for a condition or for the fence.
func nobodySleeps(f *file) []breach {
	names := map[string]bool{} // of package time in this file
	if f.ast == nil {
		return nil
	}
	for _, spec := range f.ast.Imports {
		if spec.Path.Value != `"time"` {
			continue
		}
		names["time"] = spec.Name == nil
		if spec.Name != nil {
			names[spec.Name.Name] = true
		}
	}
	var out []breach
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Sleep" {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] {
			out = append(out, f.breach(sel.Pos(), "time.Sleep"))
		}
		return true
	})
	return out
}

// foreign are paths that mean something on one machine only, taken apart so that this file has none.
var foreign = []string{".." + "/shared", "/work" + "/main", "/work" + "/shared", "/tmp" + "/plan"}

func nothingPointsOutOfTheTree(f *file) []breach {
	if path.Ext(f.path) == ".test" { // what go test -c leaves
		return nil
	}
	var out []breach
	for i, line := range strings.Split(string(f.src), "\n") {
		for _, word := range foreign {
			if strings.Contains(line, word) {
				out = append(out, breach{f.path, i + 1, "mentions " + word})
			}
		}
	}
	return out
}

func TestFilesAreShort(t *testing.T) { hold(t, filesAreShort) }

func TestNobodySleeps(t *testing.T) { hold(t, nobodySleeps) }

func TestNothingPointsOutOfTheTree(t *testing.T) { hold(t, nothingPointsOutOfTheTree) }
