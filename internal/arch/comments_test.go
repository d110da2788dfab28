package arch

import (
	"go/ast"
	"strings"
	"testing"
)

// For constants and variables a comment above the group, or at the end of the line, counts, and so it does for fields.
// Fields of internal packages, embedded ones and the methods of an interface may do with the comment of their type.
func exportsHaveComments(f *file) []breach {
	if f.ast == nil || f.isTest() {
		return nil
	}
	var out []breach
	miss := func(id *ast.Ident, kind string) {
		if id.IsExported() {
			out = append(out, f.breach(id.Pos(), "%s %s has no comment", kind, id.Name))
		}
	}
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && (d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type))) {
				miss(d.Name, "func")
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Doc == nil && s.Comment == nil && (d.Doc == nil || d.Lparen.IsValid()) {
						miss(s.Name, "type")
					}
					fields, ok := s.Type.(*ast.StructType)
					if !ok || !s.Name.IsExported() || !strings.HasPrefix(f.path, "ctexp/") {
						continue
					}
					for _, field := range fields.Fields.List {
						if field.Doc == nil && field.Comment == nil {
							for _, id := range field.Names {
								miss(id, "field")
							}
						}
					}
				case *ast.ValueSpec:
					if s.Doc == nil && s.Comment == nil && d.Doc == nil {
						for _, id := range s.Names {
							miss(id, d.Tok.String())
						}
					}
				}
			}
		}
	}
	return out
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}

func TestExportsHaveComments(t *testing.T) { hold(t, exportsHaveComments) }
