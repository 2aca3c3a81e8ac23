package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"strconv"
	"strings"
)

const (
	// maxFileLines is where a file stops fitting in a reader's head.
	maxFileLines = 500
	// maxExported is where a package stops having one job.
	maxExported = 30
)

var sizesRule = Rule{
	Name:   "sizes",
	Reason: fmt.Sprintf("a file over %d lines or a package with over %d exported names is usually two things; if it is one, say why in %s", maxFileLines, maxExported, exceptionsFile),
	Check: func(t *Tree) []Violation {
		var found []Violation
		for _, p := range t.Packages {
			if n := exported(p); n > maxExported {
				found = append(found, Violation{File: p.Dir, Text: fmt.Sprintf("exports %d names", n)})
			}
			for _, f := range p.Files {
				if f.Lines > maxFileLines {
					found = append(found, Violation{File: f.Path, Text: fmt.Sprintf("has %d lines", f.Lines)})
				}
			}
		}
		return found
	},
}

// exported counts the exported names of the package's scope; methods and fields belong to their types.
func exported(p *Package) int {
	n := 0
	count := func(id *ast.Ident) {
		if id.IsExported() {
			n++
		}
	}
	for _, f := range p.Production() {
		for _, d := range f.Syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					count(d.Name)
				}
			case *ast.GenDecl:
				if d.Tok == token.IMPORT {
					continue
				}
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						count(s.Name)
					case *ast.ValueSpec:
						for _, id := range s.Names {
							count(id)
						}
					}
				}
			}
		}
	}
	return n
}

// minGo is the lowest patch release of Go that the module may accept, for its fixes of crypto/tls and net/http.
const minGo = "1.26.6"

var goModRule = Rule{
	Name:     "go-mod",
	Absolute: true,
	Reason:   "go.mod means the same for everyone who builds it: no replaced module, and no toolchain older than " + minGo,
	Check: func(t *Tree) []Violation {
		const name = "go.mod"
		text, err := fs.ReadFile(t.FS, name)
		if err != nil {
			return []Violation{{File: name, Text: "cannot be read"}}
		}
		var found []Violation
		version := ""
		for i, line := range strings.Split(string(text), "\n") {
			fields := strings.Fields(strings.ReplaceAll(line, "(", " ("))
			if len(fields) == 0 {
				continue
			}
			switch {
			case fields[0] == "module" && (len(fields) < 2 || fields[1] != Module):
				found = append(found, Violation{File: name, Line: i + 1, Text: "the module is not " + Module})
			case fields[0] == "replace", fields[0] == "exclude":
				found = append(found, Violation{File: name, Line: i + 1, Text: fields[0] + " directive"})
			case fields[0] == "go" && len(fields) > 1:
				version = fields[1]
				if older(version, minGo) {
					found = append(found, Violation{File: name, Line: i + 1, Text: "go " + version + " is older than " + minGo})
				}
			}
		}
		if version == "" {
			found = append(found, Violation{File: name, Text: "has no go directive"})
		}
		return found
	},
}

// older compares dotted decimal versions; what is missing or not a number counts as 0.
func older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if x, y := element(as, i), element(bs, i); x != y {
			return x < y
		}
	}
	return false
}

func element(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, err := strconv.Atoi(parts[i])
	if err != nil {
		return 0
	}
	return n
}
