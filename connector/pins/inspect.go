package pins

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The kinds of findings, as they are logged.
const (
	kindChanged   = "changed"   // another definition than the pinned one
	kindNew       = "new"       // a tool that is not pinned
	kindGone      = "gone"      // a pinned tool that the list lacks
	kindCollision = "collision" // a name that is mistaken for another one of the list
	kindName      = "name"      // a name with characters that are not seen, that mean something to a shell, or spaces where none are seen
	kindHidden    = "hidden"    // a text with characters that are not seen
	kindHeader    = "header"    // an x-mcp-header that no schema may have
	kindMalformed = "malformed" // a definition that readers read differently, or not at all
	kindOverflow  = "overflow"  // more than is kept
	kindState     = "state"     // the file of pins cannot be used
)

const (
	maxName      = 128  // bytes of a tool's name (2025-11-25)
	maxShownName = 256  // bytes of a name in a finding, escaped
	maxIndexed   = 1024 // bytes of a name that is compared with others; a longer one has a finding anyway
	maxPlaces    = 5    // places in a definition that one text names
	maxShown     = 8    // characters that are shown of one place
)

// shellChars are those that end a word in a shell, or begin what it replaces: a name is pasted into command lines.
const shellChars = "'\"`$;\\|&<>"

// Finding is something that whoever runs the connector should know.
type Finding struct {
	// Kind is one word: changed, new, gone, collision, name, hidden, header, malformed, overflow or state.
	Kind string `json:"kind"`
	// Tool is the tool's name, with hidden characters as code points; empty if it is about the server.
	Tool string `json:"tool,omitempty"`
	// Text is one line without the tool's name. It quotes the upstream's texts with hidden characters as code points.
	Text string `json:"text"`
}

// Definition is one tool of a list, as the upstream has sent it.
type Definition struct {
	Name string
	Raw  []byte // the JSON object
}

// Inspect judges the definitions of one list by themselves and returns what an honest server does not send. It is pure.
func Inspect(list []Definition) []Finding {
	var findings []Finding
	names := newNameIndex()
	for i := range list {
		names.add(list[i].Name)
	}
	for i := range list {
		findings = append(findings, inspectOne(list[i])...)
		findings = append(findings, names.collisions(list[i].Name)...)
	}
	findings = append(findings, repeated(list)...)
	return findings
}

// repeated finds names that several different definitions have. The same one twice is harmless.
func repeated(list []Definition) []Finding {
	first := make(map[string]int, len(list))
	said := make(map[string]bool)
	var findings []Finding
	for i := range list {
		j, ok := first[list[i].Name]
		if !ok {
			first[list[i].Name] = i
		} else if name := list[i].Name; !said[name] && fingerprint(list[i].Raw) != fingerprint(list[j].Raw) {
			said[name] = true
			findings = append(findings, Finding{kindCollision, shown(name, maxShownName), "the list has this name more than once, with different definitions"})
		}
	}
	return findings
}

// inspectOne judges a definition alone.
func inspectOne(d Definition) []Finding {
	name := shown(d.Name, maxShownName)
	var findings []Finding
	say := func(kind, text string) { findings = append(findings, Finding{kind, name, text}) }
	if text := badName(d.Name); text != "" {
		say(kindName, text)
	}
	root, err := parse(d.Raw)
	if err != nil {
		say(kindMalformed, "the definition cannot be judged: "+err.Error())
		return findings
	}
	if named := root.member("name"); named == nil || named.kind != '"' || named.text != d.Name {
		say(kindMalformed, "the definition has another name than the one it is called by")
	}
	for _, m := range root.members {
		if known, ok := almostKnown(m.name); ok {
			say(kindMalformed, fmt.Sprintf("the member %q is almost %s, which readers take for it or not", shown(m.name, 80), known))
			break
		}
	}
	if text := hiddenPlaces(root); text != "" {
		say(kindHidden, text)
	}
	if text := headers(root); text != "" {
		say(kindHeader, text)
	}
	return findings
}

// badName says what is wrong with a name, or returns "".
func badName(name string) string {
	switch {
	case name == "":
		return "the name is empty"
	case len(name) > maxName:
		return fmt.Sprintf("the name has %d bytes; %d are allowed", len(name), maxName)
	}
	for i, r := range name {
		end := i == 0 || i+utf8.RuneLen(r) >= len(name)
		switch {
		case r < ' ', r == 0x7f, r >= utf8.RuneSelf && (r == utf8.RuneError || r == 0x2800 || unicode.In(r, unseen...)):
			return fmt.Sprintf("the name has the hidden character U+%04X", r)
		case r > ' ' && unicode.IsSpace(r):
			return fmt.Sprintf("the name has the space U+%04X, which is mistaken for another", r)
		case r == ' ' && end:
			return "the name begins or ends with a space"
		case strings.ContainsRune(shellChars, r):
			return fmt.Sprintf("the name has the character %c, which a shell does not take as part of a word", r)
		case r == '-' && i == 0:
			return "the name begins with -, and is taken for a flag where it is pasted"
		}
	}
	return ""
}

// almostKnown returns the member of a tool's definition that a name spells in another case.
func almostKnown(name string) (string, bool) {
	for _, known := range []string{"name", "title", "description", "inputSchema", "outputSchema", "annotations", "icons", "execution", "_meta"} {
		if name != known && strings.EqualFold(name, known) {
			return known, true
		}
	}
	return "", false
}

// hiddenPlaces says where a definition has hidden characters, and which; or returns "".
func hiddenPlaces(root *node) string {
	var places []string
	count := 0
	look := func(what string, at *place, text string) {
		found := hidden(text)
		if len(found) == 0 {
			return
		}
		if count++; count > maxPlaces {
			return
		}
		shown := make([]string, 0, maxShown)
		for _, r := range found[:min(len(found), maxShown)] {
			shown = append(shown, fmt.Sprintf("U+%04X", r))
		}
		place := what + at.String() + " has " + strings.Join(shown, " ")
		if len(found) > maxShown {
			place += fmt.Sprintf(" and %d more", len(found)-maxShown)
		}
		places = append(places, place)
	}
	var walk func(n *node, at *place)
	walk = func(n *node, at *place) {
		if n.kind == '"' {
			look("", at, n.text)
		}
		for i, element := range n.elements {
			walk(element, at.at(i))
		}
		for _, m := range n.members {
			here := at.below(m.name)
			look("the name of ", here, m.name)
			walk(m.value, here)
		}
	}
	walk(root, nil)
	if count == 0 {
		return ""
	}
	text := "hidden characters: " + strings.Join(places, "; ")
	if count > maxPlaces {
		text += fmt.Sprintf("; and %d more places", count-maxPlaces)
	}
	return text
}

// nameIndex finds names that are mistaken for each other.
type nameIndex struct {
	forms map[string]keys
	by    map[string][]string // names by each of their forms
}

func newNameIndex() *nameIndex {
	return &nameIndex{forms: make(map[string]keys), by: make(map[string][]string)}
}

func (x *nameIndex) add(name string) {
	if _, ok := x.forms[name]; ok || len(name) > maxIndexed {
		return
	}
	k := formsOf(name)
	x.forms[name] = k
	for _, key := range k.all() {
		x.by[key] = append(x.by[key], name)
	}
}

// all returns the forms that differ, each marked as what it is.
func (k keys) all() []string {
	return []string{"f" + k.folded, "s" + k.skeleton, "t" + k.strokes}
}

// collisions returns a finding if a name that was added is mistaken for another one.
func (x *nameIndex) collisions(name string) []Finding {
	k, ok := x.forms[name]
	if !ok {
		return nil
	}
	var others []string
	how := ""
	for _, key := range k.all() {
		for _, other := range x.by[key] {
			if other == name || len(others) > maxPlaces || slices.Contains(others, other) {
				continue
			}
			others = append(others, other)
			if how == "" {
				how = alike(k, x.forms[other])
			}
		}
	}
	if len(others) == 0 {
		return nil
	}
	slices.Sort(others)
	texts := make([]string, 0, maxPlaces)
	for _, other := range others[:min(len(others), maxPlaces)] {
		texts = append(texts, clip(escape(other, true), maxShownName))
	}
	text := fmt.Sprintf("%s is mistaken for %s: they differ in %s alone", clip(escape(name, true), maxShownName), strings.Join(texts, ", "), how)
	return []Finding{{kindCollision, shown(name, maxShownName), text}}
}
