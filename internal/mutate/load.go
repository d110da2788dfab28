package mutate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Package is a package with its types.
type Package struct {
	Path  string // that it is imported by
	Dir   string
	Root  string // of its module
	files []*file
	fset  *token.FileSet
	info  *types.Info
	types *types.Package
}

// file is one that is compiled for this system and is no test.
type file struct {
	name string // from the root of the module
	path string
	src  []byte
	ast  *ast.File

	nameEnd int // offset of the end of the package clause
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	DepOnly                 bool
	Module                  *struct{ Dir string }
}

// Load parses packages and checks their types. dir is where patterns such as ./... begin.
func Load(ctx context.Context, dir string, patterns ...string) ([]*Package, error) {
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,DepOnly,Module", "--"}
	out, err := goCommand(ctx, dir, append(args, patterns...)...)
	if err != nil {
		return nil, err
	}
	var roots []listed
	exports := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read what go list says: %w", err)
		}
		exports[l.ImportPath] = l.Export
		if !l.DepOnly {
			roots = append(roots, l)
		}
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var pkgs []*Package
	for _, l := range roots {
		if l.Module == nil {
			return nil, fmt.Errorf("%s is in no module", l.ImportPath)
		}
		p := &Package{Path: l.ImportPath, Dir: l.Dir, Root: l.Module.Dir, fset: fset}
		if err := p.check(l.GoFiles, imports); err != nil {
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
	return pkgs, nil
}

// check parses the files and finds the type of each expression.
func (p *Package) check(names []string, imports types.Importer) error {
	var syntax []*ast.File
	for _, base := range names {
		f := &file{path: filepath.Join(p.Dir, base)}
		var err error
		if f.name, err = filepath.Rel(p.Root, f.path); err != nil {
			return err
		}
		if f.src, err = os.ReadFile(f.path); err != nil {
			return err
		}
		if f.ast, err = parser.ParseFile(p.fset, f.path, f.src, parser.SkipObjectResolution); err != nil {
			return err
		}
		f.nameEnd = p.fset.Position(f.ast.Name.End()).Offset
		p.files = append(p.files, f)
		syntax = append(syntax, f.ast)
	}
	p.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	var err error
	p.types, err = (&types.Config{Importer: imports}).Check(p.Path, p.fset, syntax, p.info)
	return err
}

// goCommand returns what the go command prints.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, bytes.TrimSpace(errs.Bytes()))
	}
	return out, nil
}
