// Package arch holds the tree to its own rules: who imports whom, what is for Linux alone, how files read.
package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path that all imports of our own begin with.
const module = "github.com/ctexp/go-ctexp"

// file is a file of the tree. What is not Go has no syntax.
type file struct {
	path  string // from the root, with slashes
	src   []byte
	fset  *token.FileSet
	ast   *ast.File
	lines int
}

func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }
func (f *file) dir() string  { return path.Dir(f.path) }

// breach is a place where a rule is broken.
type breach struct {
	path string
	line int
	what string
}

// String says where as compilers do.
func (b breach) String() string { return fmt.Sprintf("%s:%d: %s", b.path, b.line, b.what) }

func (f *file) breach(at token.Pos, format string, args ...any) breach {
	return breach{f.path, f.fset.Position(at).Line, fmt.Sprintf(format, args...)}
}

// imports yields the paths that a Go file imports, and where.
func (f *file) imports(yield func(string, token.Pos) bool) {
	if f.ast == nil {
		return
	}
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // it was parsed
		}
		if !yield(p, spec.Pos()) {
			return
		}
	}
}

// parse makes a file of source text; only Go is parsed.
func parse(name string, src []byte) (*file, error) {
	f := &file{path: name, src: src, fset: token.NewFileSet(), lines: strings.Count(string(src), "\n")}
	if !strings.HasSuffix(name, ".go") {
		return f, nil
	}
	var err error
	f.ast, err = parser.ParseFile(f.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	return f, err
}

// tree reads the whole tree once.
var tree = sync.OnceValues(func() ([]*file, error) {
	root := filepath.Join("..", "..")
	if mod, err := os.ReadFile(filepath.Join(root, "go.mod")); err != nil || !strings.HasPrefix(string(mod), "module "+module+"\n") {
		return nil, fmt.Errorf("the root of the module is not at %s: %v", root, err)
	}
	var files []*file
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "_artifacts"):
			return filepath.SkipDir
		case !d.Type().IsRegular(), d.Name() == ".git": // a file in a second worktree
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		f, err := parse(filepath.ToSlash(name), src)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
})

// hold applies a rule to every file of the tree.
func hold(t *testing.T, rule func(*file) []breach) {
	t.Helper()
	files, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		for _, b := range rule(f) {
			t.Error(b)
		}
	}
}
