package arch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every rule finds what breaks it, at its line, and lets pass what does not.
func TestBreachesAreFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule func(*file) []breach
		path string
		src  string
		want string
	}{
		"sibling": {
			importsFitThePicture, "ctexp/inject/x.go", "package inject\nimport _ \"" + module + "/ctexp/observe\"\n",
			"ctexp/inject/x.go:2: inject must not import " + module + "/ctexp/observe",
		},
		"sibling in a test": {
			importsFitThePicture, "ctexp/inject/x_test.go", "package inject_test\nimport _ \"" + module + "/ctexp/observe\"\n", "",
		},
		"noun in a package inside it": {
			importsFitThePicture, "ctexp/inject/x/x.go", "package x\nimport _ \"" + module + "/ctexp/inject\"\n", "",
		},
		"package inside a noun": {
			importsFitThePicture, "ctexp/inject/x.go", "package inject\nimport _ \"" + module + "/ctexp/inject/x\"\n",
			"ctexp/inject/x.go:2: inject must not import " + module + "/ctexp/inject/x",
		},
		"upwards": {
			importsFitThePicture, "internal/x/x.go", "package x\nimport _ \"" + module + "/ctexp\"\n",
			"internal/x/x.go:2: internal must not import " + module + "/ctexp",
		},
		"nouns do without anything": {
			importsFitThePicture, "ctexp/nf/x.go", "package nf\nimport _ \"" + module + "/internal/x\"\n",
			"ctexp/nf/x.go:2: nf must not import " + module + "/internal/x",
		},
		"mutants": {
			importsFitThePicture, "internal/x/x.go", "package x\nimport _ \"" + module + "/internal/mutate/mutant\"\n",
			"internal/x/x.go:2: internal must not import " + module + "/internal/mutate/mutant",
		},
		"example in a test": {
			importsFitThePicture, "ctexp/x_test.go", "package ctexp\nimport _ \"" + module + "/examples/x\"\n",
			"ctexp/x_test.go:2: ctexp must not import " + module + "/examples/x",
		},
		"example in another": {
			importsFitThePicture, "examples/y/x.go", "package main\nimport _ \"" + module + "/examples/x\"\n",
			"examples/y/x.go:2: examples must not import " + module + "/examples/x",
		},
		"example in itself": {
			importsFitThePicture, "examples/x/x.go", "package main\nimport _ \"" + module + "/examples/x/internal/y\"\n", "",
		},
		"folder outside the picture": {
			importsFitThePicture, "util/x.go", "package util\nimport _ \"" + module + "/ctexp/nf\"\n",
			"util/x.go:2: the picture has no place for the import of " + module + "/ctexp/nf by util",
		},
		"testing": {
			onlyTestsImportTesting, "ctexp/x.go", "package ctexp\nimport \"testing\"\n",
			"ctexp/x.go:2: testing is imported outside of a test",
		},
		"Linux library": {
			linuxLibrariesStayInLinuxFiles, "ctexp/x.go", "package ctexp\nimport _ \"github.com/google/nftables/expr\"\n",
			"ctexp/x.go:2: github.com/google/nftables/expr is imported by a file that is not for Linux alone: name it _linux.go",
		},
		"Linux library in a file named so": {
			linuxLibrariesStayInLinuxFiles, "ctexp/x_linux_test.go", "package ctexp\nimport _ \"github.com/google/nftables\"\n", "",
		},
		"Linux library in a file tagged so": {
			linuxLibrariesStayInLinuxFiles, "ctexp/x.go", "//go:build linux\n\npackage ctexp\nimport _ \"golang.org/x/sys/unix\"\n", "",
		},
		"Linux library in a file tagged unix": {
			linuxLibrariesStayInLinuxFiles, "ctexp/x.go", "//go:build unix\n\npackage ctexp\nimport _ \"golang.org/x/sys/unix\"\n",
			"ctexp/x.go:4: golang.org/x/sys/unix is imported by a file that is not for Linux alone: name it _linux.go",
		},
		"long": {
			filesAreShort, "x.go", "package x\n" + strings.Repeat("\n", 700),
			"x.go:701: the file has more than 700 lines: it holds a second idea",
		},
		"sleep by another name": {
			nobodySleeps, "x_test.go", "package x\nimport clock \"time\"\nvar wait = clock.Sleep\n", "x_test.go:3: time.Sleep",
		},
		"sleep of somebody else": {
			nobodySleeps, "x.go", "package x\nimport \"time\"\nvar _ = time.Now\nvar wait = bed.Sleep\n", "",
		},
		"foreign path": {
			nothingPointsOutOfTheTree, "README.md", "see\n" + foreign[0] + "/x\n", "README.md:2: mentions " + foreign[0],
		},
		"no comment": {
			exportsHaveComments, "x.go", "package x\n\nfunc A() {}\n\n// b is our own.\ntype b int\n\nfunc (b) C() {}\n", "x.go:3: func A has no comment",
		},
		"comment of the group": {
			exportsHaveComments, "x.go", "package x\n\n// Letters.\nconst (\n\tA = 1\n\tB = 2\n)\n\nvar C = 3 // third\n", "",
		},
		"method without comment": {
			exportsHaveComments, "x.go", "package x\n\n// T is a type.\ntype T[E any] struct{}\n\nfunc (*T[E]) M() {}\n", "x.go:6: func M has no comment",
		},
		"field without comment": {
			exportsHaveComments, "ctexp/x.go", "package x\n\n// T is a type.\ntype T struct {\n\tA int // first\n\tB int\n\tc int\n}\n", "ctexp/x.go:6: field B has no comment",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := parse(c.path, []byte(c.src))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range c.rule(f) {
				got = append(got, fmt.Sprint(b))
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
