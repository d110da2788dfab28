package mutate

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// Mutants returns all mutants of the package's functions, in no sample yet.
func (p *Package) Mutants() []Mutant {
	var out []Mutant
	for _, f := range p.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				w := &walker{pkg: p, file: f, fn: fn}
				ast.Inspect(fn.Body, w.visit)
				out = append(out, w.found...)
			}
		}
	}
	return out
}

// walker finds the mutants of a function, outer ones first.
type walker struct {
	pkg   *Package
	file  *file
	fn    *ast.FuncDecl
	above []ast.Node // the path from the body to the present node's parent
	found []Mutant
}

func (w *walker) visit(n ast.Node) bool {
	if n == nil {
		w.above = w.above[:len(w.above)-1]
		return true
	}
	switch n := n.(type) {
	case *ast.BlockStmt:
		w.statements(n.List)
	case *ast.CaseClause:
		w.statements(n.Body)
	case *ast.CommClause:
		w.statements(n.Body)
	case *ast.IfStmt:
		if w.isBool(n.Cond) {
			w.wrap(Negated, n.Cond, "Not(@, ", ")", "!("+w.text(n.Cond)+")")
		}
	case *ast.BinaryExpr:
		w.binary(n)
	case *ast.BasicLit:
		w.literal(n)
	case *ast.Ident:
		if w.pkg.info.Uses[n] == types.Universe.Lookup("true") && w.isVariable(n) {
			w.wrap(Negated, n, "Not(@, ", ")", "false")
		}
		if w.pkg.info.Uses[n] == types.Universe.Lookup("false") && w.isVariable(n) {
			w.wrap(Negated, n, "Not(@, ", ")", "true")
		}
	case *ast.ReturnStmt:
		w.returned(n)
	}
	w.above = append(w.above, n)
	return true
}

// statements finds those that can be left out: calls and assignments. A call of panic stays, because a function may have to
// end there.
func (w *walker) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt:
			if call, ok := s.X.(*ast.CallExpr); ok && w.builtin(call) == "panic" {
				continue
			}
		case *ast.IncDecStmt:
		case *ast.AssignStmt:
			blank := func(e ast.Expr) bool { id, ok := e.(*ast.Ident); return !ok || id.Name != "_" }
			if s.Tok == token.DEFINE || !slices.ContainsFunc(s.Lhs, blank) {
				continue
			}
		default:
			continue
		}
		w.add(Removed, s, w.text(s), "nothing", w.open(s, "if !"+alias+"On(@) { "), w.close(s, " }"))
	}
}

// operators are those of binary expressions that have a mutant which takes both operands.
var operators = map[token.Token]struct {
	kind  Kind
	name  string
	other token.Token
}{
	token.LAND: {Joined, "And", token.LOR},
	token.LOR:  {Joined, "Or", token.LAND},
	token.LSS:  {Bound, "Less", token.LEQ},
	token.LEQ:  {Bound, "LessEqual", token.LSS},
	token.GTR:  {Bound, "Greater", token.GEQ},
	token.GEQ:  {Bound, "GreaterEqual", token.GTR},
	token.ADD:  {Swapped, "Add", token.SUB},
	token.SUB:  {Swapped, "Sub", token.ADD},
}

func (w *walker) binary(n *ast.BinaryExpr) {
	if !w.isVariable(n) {
		return
	}
	comma, end := ", ", ")"
	switch n.Op {
	case token.EQL, token.NEQ:
		if parent, ok := w.parent().(*ast.IfStmt); w.isBool(n) && !(ok && parent.Cond == n) {
			w.wrap(Negated, n, "Not(@, ", ")", "!("+w.text(n)+")")
		}
		return
	case token.LAND, token.LOR:
		if !w.isBool(n) || !w.isBool(n.X) || !w.isBool(n.Y) {
			return
		}
		comma, end = ", func() bool { return (", ") })" // the operand may be on the next line
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		if !w.isBool(n) || !w.isBasic(n.X, types.IsOrdered) || !w.isBasic(n.Y, types.IsOrdered) {
			return
		}
	case token.ADD, token.SUB:
		if !w.isBasic(n, types.IsInteger|types.IsFloat) {
			return
		}
	default:
		return
	}
	if w.hasOpenShift(n.X) || w.hasOpenShift(n.Y) {
		return
	}
	op := operators[n.Op]
	infix := edit{at: w.offset(n.OpPos), cut: len(n.Op.String()), text: comma}
	w.add(op.kind, n, around(w.text(n.X), n.Op.String(), w.text(n.Y)), op.other.String(), w.open(n, alias+op.name+"(@, "), infix, w.close(n, end))
}

// literal finds integers that need not be constant for the compiler. Capacities are hints, and a number beside an error means
// nothing.
func (w *walker) literal(n *ast.BasicLit) {
	typ := w.typeName(n)
	if n.Kind != token.INT || typ == "" {
		return
	}
	switch parent := w.parent().(type) {
	case *ast.ArrayType, *ast.ValueSpec:
		return
	case *ast.ReturnStmt:
		if w.returnedError(parent) != nil {
			return
		}
	case *ast.KeyValueExpr:
		if parent.Key == n {
			return
		}
	case *ast.CallExpr:
		if w.builtin(parent) == "make" && (len(parent.Args) == 3 && parent.Args[2] == n || !w.isSlice(parent)) {
			return
		}
	case ast.Expr:
		if !w.isVariable(parent) {
			return
		}
	}
	w.wrap(Constant, n, "Const["+typ+"](@, ", ")", n.Value+"+1")
}

// returned finds errors that can be swallowed.
func (w *walker) returned(n *ast.ReturnStmt) {
	if err := w.returnedError(n); err != nil {
		w.add(Swallowed, n, w.text(n), strings.TrimSuffix(w.text(n), w.text(err))+"nil", w.open(err, alias+"Err(@, "), w.close(err, ")"))
	}
}

// returnedError returns the last result, if it is an error by its type and not nil.
func (w *walker) returnedError(n *ast.ReturnStmt) ast.Expr {
	results := w.signature().Results()
	k := len(n.Results)
	if k == 0 || k != results.Len() || !types.Identical(results.At(k-1).Type(), types.Universe.Lookup("error").Type()) {
		return nil
	}
	if last := n.Results[k-1]; !w.pkg.info.Types[last].IsNil() {
		return last
	}
	return nil
}

// signature is that of the innermost function.
func (w *walker) signature() *types.Signature {
	for _, n := range slices.Backward(w.above) {
		if lit, ok := n.(*ast.FuncLit); ok {
			return w.pkg.info.TypeOf(lit).(*types.Signature)
		}
	}
	return w.pkg.info.Defs[w.fn.Name].Type().(*types.Signature)
}

func (w *walker) parent() ast.Node {
	if len(w.above) == 0 {
		return nil
	}
	return w.above[len(w.above)-1]
}

// isVariable reports whether an expression is no constant and no part of one.
func (w *walker) isVariable(e ast.Expr) bool {
	if id, ok := e.(*ast.Ident); ok && w.isBool(id) { // true and false
		_, spec := w.parent().(*ast.ValueSpec)
		parent, ok := w.parent().(ast.Expr)
		return !spec && (!ok || w.pkg.info.Types[parent].Value == nil)
	}
	return w.pkg.info.Types[e].Value == nil
}

// isBool reports whether an expression has the type bool itself.
func (w *walker) isBool(e ast.Expr) bool {
	t := w.pkg.info.TypeOf(e)
	return t == types.Typ[types.Bool] || t == types.Typ[types.UntypedBool]
}

// isBasic reports whether an expression's type, which may have a name, is based on one that has the property.
func (w *walker) isBasic(e ast.Expr, property types.BasicInfo) bool {
	t := w.pkg.info.TypeOf(e)
	if _, ok := t.(*types.TypeParam); ok {
		return false
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&property != 0
}

func (w *walker) isSlice(call *ast.CallExpr) bool {
	_, ok := w.pkg.info.TypeOf(call).Underlying().(*types.Slice)
	return ok
}

// builtin returns the name of the built-in function that is called, "" if it is none.
func (w *walker) builtin(call *ast.CallExpr) string {
	if id, ok := call.Fun.(*ast.Ident); ok {
		if b, ok := w.pkg.info.Uses[id].(*types.Builtin); ok {
			return b.Name()
		}
	}
	return ""
}

// typeName returns by which name this package knows a number's type; "" if by none without an import.
func (w *walker) typeName(e ast.Expr) string {
	switch t := w.pkg.info.TypeOf(e).(type) {
	case *types.Basic:
		if t.Info()&(types.IsInteger|types.IsFloat) != 0 && t.Info()&types.IsUntyped == 0 {
			return t.Name()
		}
	case *types.Named:
		if obj := t.Obj(); w.isBasic(e, types.IsInteger|types.IsFloat) && w.pkg.types.Scope().Lookup(obj.Name()) == obj {
			return obj.Name()
		}
	}
	return ""
}

// hasOpenShift reports whether a shift such as 1<<n is in an expression: its type comes from what is around it.
func (w *walker) hasOpenShift(e ast.Expr) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		if b, ok := n.(*ast.BinaryExpr); ok && (b.Op == token.SHL || b.Op == token.SHR) {
			found = found || w.isVariable(b) && !w.isVariable(b.X)
		}
		return true
	})
	return found
}

func (w *walker) offset(p token.Pos) int { return w.pkg.fset.Position(p).Offset }

// text returns the source of a node in one line.
func (w *walker) text(n ast.Node) string {
	return strings.Join(strings.Fields(string(w.file.src[w.offset(n.Pos()):w.offset(n.End())])), " ")
}

func (w *walker) open(n ast.Node, text string) edit { return edit{at: w.offset(n.Pos()), text: text} }
func (w *walker) close(n ast.Node, text string) edit {
	return edit{at: w.offset(n.End()), text: text, closes: true}
}

// wrap adds a mutant that is a call around an expression.
func (w *walker) wrap(kind Kind, e ast.Expr, before, after, change string) {
	w.add(kind, e, w.text(e), change, w.open(e, alias+before), w.close(e, after))
}

func (w *walker) add(kind Kind, n ast.Node, from, to string, edits ...edit) {
	w.found = append(w.found, Mutant{
		File: w.file.name, Line: w.pkg.fset.Position(n.Pos()).Line, Func: w.fn.Name.Name, Kind: kind,
		Change: short(from) + " → " + short(to), pkg: w.pkg, file: w.file, order: len(w.found), edits: edits,
	})
}

// around returns an operator with as much of its operands as a line has room for.
func around(x, op, y string) string {
	if r := []rune(x); len(r) > 40 {
		x = "…" + string(r[len(r)-39:])
	}
	if r := []rune(y); len(r) > 40 {
		y = string(r[:39]) + "…"
	}
	return x + " " + op + " " + y
}

// short cuts what is too long for a line.
func short(s string) string {
	if r := []rune(s); len(r) > 90 {
		return string(r[:89]) + "…"
	}
	return s
}
