package arch

import (
	"go/ast"
	"regexp"
	"strings"
)

// ignorance matches the sentence in which a package says what it does not know.
var ignorance = regexp.MustCompile(`(?i)\b(do(es)? not know|knows? (nothing|neither|no|not)|never (knows|learns|sees)|(is|are) ignorant of|ha(s|ve) no (idea|knowledge|notion))\b`)

var packageDocRule = Rule{
	Name:   "package-doc",
	Reason: "a package's comment states its one job and one thing that it does not know: the second half is the boundary that reviews defend",
	Check: func(t *Tree) []Violation {
		var found []Violation
		for _, p := range t.Packages {
			files := p.Production()
			if len(files) == 0 {
				continue
			}
			var docs []*ast.CommentGroup
			for _, f := range files {
				if f.Syntax.Doc != nil {
					docs = append(docs, f.Syntax.Doc)
				}
			}
			switch len(docs) {
			case 0:
				found = append(found, t.violation(files[0].Syntax.Package, "package %s has no doc comment", p.Dir))
				continue
			case 1:
			default:
				found = append(found, t.violation(docs[1].Pos(), "package %s has %d doc comments; keep one", p.Dir, len(docs)))
				continue
			}
			text := strings.Join(strings.Fields(docs[0].Text()), " ")
			want := "Package " + p.Name + " "
			if p.Name == "main" {
				want = "Command "
			}
			if !strings.HasPrefix(text, want) {
				found = append(found, t.violation(docs[0].Pos(), "the doc comment of %s begins otherwise than %q", p.Dir, want))
			}
			if !ignorance.MatchString(text) {
				found = append(found, t.violation(docs[0].Pos(), "the doc comment of %s does not say what the package does not know (\"It does not know …\")", p.Dir))
			}
		}
		return found
	},
}

// openEnd matches the marks of unfinished work.
var openEnd = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

var openEndsRule = Rule{
	Name:   "open-ends",
	Reason: "unfinished work in a comment is forgotten work: finish it, or write it into docs/rough-edges.md or test/WISHLIST.md",
	Check: func(t *Tree) []Violation {
		var found []Violation
		for _, p := range t.Packages {
			for _, f := range p.Files {
				for _, group := range f.Syntax.Comments {
					for _, c := range group.List {
						if mark := openEnd.FindString(c.Text); mark != "" {
							found = append(found, t.violation(c.Pos(), "comment holds %s", mark))
						}
					}
				}
			}
		}
		return found
	},
}

// lockPurpose matches "guards a and b" and, of a lock that orders an action, "held while …".
var lockPurpose = regexp.MustCompile(`(?i)\b(guards?|held (while|during|for))\b`)

var guardsRule = Rule{
	Name:   "mutex-guards",
	Reason: "a lock without a list of what it guards is a lock that someone forgets",
	Check: func(t *Tree) []Violation {
		return eachField(t, func(ty *typed, f *ast.Field) (string, bool) {
			if !ty.isSelected(f.Type, "sync", "Mutex", "RWMutex") {
				return "", false
			}
			said := f.Doc.Text() + f.Comment.Text()
			return "a mutex field needs a comment that says what it guards, or what it is held for", !lockPurpose.MatchString(said)
		})
	},
}

var storedContextRule = Rule{
	Name:   "stored-context",
	Reason: "a context in a struct outlives the call that it belongs to, so that cancelling reaches the wrong work",
	Check: func(t *Tree) []Violation {
		return eachField(t, func(ty *typed, f *ast.Field) (string, bool) {
			return "struct field of type context.Context; pass ctx as the first argument", ty.isSelected(f.Type, "context", "Context")
		})
	},
}

// eachField asks bad about every field of every struct type outside tests and test helpers.
func eachField(t *Tree, bad func(*typed, *ast.Field) (text string, is bool)) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if p.Helper() {
			continue
		}
		ty := t.resolve(p)
		for _, f := range p.Production() {
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				s, ok := n.(*ast.StructType)
				if !ok {
					return true
				}
				for _, field := range s.Fields.List {
					if text, is := bad(ty, field); is {
						found = append(found, t.violation(field.Pos(), "%s", text))
					}
				}
				return true
			})
		}
	}
	return found
}
