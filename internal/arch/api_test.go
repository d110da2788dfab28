package arch

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The exported interface of each package is a golden file, so that a change of it is seen in review.
func TestExportedInterfaceIsAsRecorded(t *testing.T) {
	t.Parallel()
	files, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, f := range files {
		if d := f.dir(); (d == "ctexp" || strings.HasPrefix(d, "ctexp/")) && path.Ext(f.path) == ".go" && !f.isTest() && !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	for _, dir := range dirs {
		got, err := exported(filepath.Join("..", "..", filepath.FromSlash(dir)), module+"/"+dir)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "api", strings.ReplaceAll(dir, "/", "-")+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("the interface of %s has changed (-recorded +now; go test ./internal/arch -update records it):\n%s", dir, diff)
		}
	}
}

// exported returns the declarations of a package's exported names for Linux, a paragraph each, without comments.
func exported(dir, importPath string) (string, error) {
	linux := build.Default
	linux.GOOS, linux.GOARCH, linux.CgoEnabled = "linux", "amd64", false
	pkg, err := linux.ImportDir(dir, 0)
	if err != nil {
		return "", err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range pkg.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return "", err
		}
		files = append(files, f)
	}
	d, err := doc.NewFromFiles(fset, files, importPath)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "package %s // %s\n", d.Name, importPath)
	values := func(list []*doc.Value) {
		for _, v := range list {
			declaration(&b, fset, v.Decl)
		}
	}
	funcs := func(list []*doc.Func) {
		for _, f := range list {
			declaration(&b, fset, f.Decl)
		}
	}
	values(d.Consts)
	values(d.Vars)
	funcs(d.Funcs)
	for _, t := range d.Types {
		declaration(&b, fset, t.Decl)
		values(t.Consts)
		values(t.Vars)
		funcs(t.Funcs)
		funcs(t.Methods)
	}
	return b.String(), nil
}

// declaration prints a declaration without a function's body and a variable's values, which are no part of the interface.
func declaration(b *strings.Builder, fset *token.FileSet, decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		d.Body = nil
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR && v.Type != nil {
				v.Values = nil
			}
		}
	}
	var text bytes.Buffer
	if err := format.Node(&text, fset, decl); err != nil {
		panic(err) // it was parsed
	}
	// Where comments were there are blank lines, and columns that end at them: neither is part of the interface.
	b.WriteByte('\n')
	for line := range strings.Lines(text.String()) {
		indent := line[:len(line)-len(strings.TrimLeft(line, "\t"))]
		if words := strings.Fields(line); len(words) > 0 {
			fmt.Fprintf(b, "%s%s\n", indent, strings.Join(words, " "))
		}
	}
}
