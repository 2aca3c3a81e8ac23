package pins

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxCompared = 1 << 20  // pairs of lines that are compared; beyond them a text is shown as replaced
	maxLooked   = 64 << 10 // bytes of texts that are looked at for characters that look alike
	around      = 2        // lines that are shown before and behind a change
)

// Change is a place where two definitions differ.
type Change struct {
	// At is a JSON pointer to show: hidden characters are code points, and what is too long is cut. It is empty if a definition is no strict JSON object.
	At string `json:"at"`
	// Lines begin with "- " if they were, "+ " if they are, and two spaces if they stay. Hidden characters are code points.
	Lines []string `json:"lines"`
}

// Changes compares two definitions member by member. The old one may be nil, for a tool that is new.
func Changes(old, now []byte) []Change {
	b, err := parse(now)
	if old == nil && err == nil {
		return (&differ{}).object(&node{kind: '{'}, b, nil).changes
	}
	a, errOld := parse(old)
	if err != nil || errOld != nil {
		return (&differ{}).lines(nil, strings.Split(string(old), "\n"), strings.Split(string(now), "\n")).changes
	}
	return (&differ{}).object(a, b, nil).changes
}

type differ struct{ changes []Change }

func (d *differ) value(a, b *node, at *place) {
	switch {
	case a.kind == '{' && b.kind == '{':
		d.object(a, b, at)
	case a.kind == '[' && b.kind == '[':
		d.array(a, b, at)
	case a.kind == '"' && b.kind == '"':
		if a.text != b.text {
			d.lines(at, strings.Split(a.text, "\n"), strings.Split(b.text, "\n"))
		}
	case a.kind != b.kind || a.text != b.text:
		d.lines(at, render(a), render(b))
	}
}

// object compares members in the new order, then those that are gone.
func (d *differ) object(a, b *node, at *place) *differ {
	was, is := a.byName(), b.byName()
	for _, m := range b.members {
		here := at.below(m.name)
		if before := was[m.name]; before != nil {
			d.value(before, m.value, here)
		} else {
			d.lines(here, nil, render(m.value))
		}
	}
	for _, m := range a.members {
		if is[m.name] == nil {
			d.lines(at.below(m.name), render(m.value), nil)
		}
	}
	return d
}

// array compares plain lists, such as required, as lines, and others by index.
func (d *differ) array(a, b *node, at *place) {
	var before, behind []string
	plain := true
	for i, n := range []*node{a, b} {
		for _, element := range n.elements {
			plain = plain && element.scalar()
			if i == 0 {
				before = append(before, render(element)...)
			} else {
				behind = append(behind, render(element)...)
			}
		}
	}
	if plain {
		d.lines(at, before, behind)
		return
	}
	for i := range max(len(a.elements), len(b.elements)) {
		here := at.at(i)
		switch {
		case i >= len(a.elements):
			d.lines(here, nil, render(b.elements[i]))
		case i >= len(b.elements):
			d.lines(here, render(a.elements[i]), nil)
		default:
			d.value(a.elements[i], b.elements[i], here)
		}
	}
}

// render writes a value that is there on one side only. A text of several lines is easier to read without JSON's escapes.
func render(n *node) []string {
	if n.kind == '"' && strings.Contains(n.text, "\n") {
		return strings.Split(n.text, "\n")
	}
	value := jsontext.Value(bytes.Clone(n.raw))
	if err := value.Format(jsontext.Multiline(true), jsontext.WithIndent("  ")); err != nil { // it was parsed before
		return []string{string(n.raw)}
	}
	return strings.Split(string(value), "\n")
}

// lines adds a change if two texts differ. Where they look the same, every character beyond ASCII is shown as its code point.
func (d *differ) lines(at *place, old, now []string) *differ {
	marked, differ := compare(old, now)
	if !differ {
		return d
	}
	var was, is []string
	for _, line := range marked {
		switch line[0] {
		case '-':
			was = append(was, line[2:])
		case '+':
			is = append(is, line[2:])
		}
	}
	all := sameLook(strings.Join(was, " "), strings.Join(is, " "))
	for i, line := range marked {
		text := escape(line[2:], all)
		if cut, ok := strings.CutSuffix(text, " "); ok && line[0] != ' ' {
			text = cut + "[U+0020]"
		}
		marked[i] = line[:2] + text
	}
	d.changes = append(d.changes, Change{at.String(), marked})
	return d
}

// sameLook reports whether two texts that differ may look the same. What is too long to find out does.
func sameLook(a, b string) bool {
	switch {
	case a == "" || b == "", plain(a) && plain(b):
		return false
	case len(a) > maxLooked || len(b) > maxLooked:
		return true
	}
	return alike(formsOf(a), formsOf(b)) != ""
}

// compare marks the lines of two texts, and leaves out those that stay and are far from a change.
func compare(old, now []string) (marked []string, differ bool) {
	var all []string
	head := 0
	for head < len(old) && head < len(now) && old[head] == now[head] {
		all = append(all, "  "+old[head])
		head++
	}
	tail := 0
	for tail < len(old)-head && tail < len(now)-head && old[len(old)-1-tail] == now[len(now)-1-tail] {
		tail++
	}
	all = append(all, middle(old[head:len(old)-tail], now[head:len(now)-tail])...)
	for _, line := range old[len(old)-tail:] {
		all = append(all, "  "+line)
	}
	near := make([]bool, len(all))
	for i, line := range all {
		if line[0] != ' ' {
			differ = true
			for k := max(0, i-around); k <= min(len(all)-1, i+around); k++ {
				near[k] = true
			}
		}
	}
	for i, line := range all {
		switch {
		case near[i]:
			marked = append(marked, line)
		case i == 0 || near[i-1]:
			marked = append(marked, "  …")
		}
	}
	return marked, differ
}

// middle marks lines by their longest common subsequence.
func middle(old, now []string) []string {
	var marked []string
	if len(old)*len(now) > maxCompared {
		for _, line := range old {
			marked = append(marked, "- "+line)
		}
		for _, line := range now {
			marked = append(marked, "+ "+line)
		}
		return marked
	}
	common := make([][]int, len(old)+1)
	for i := range common {
		common[i] = make([]int, len(now)+1)
	}
	for i := len(old) - 1; i >= 0; i-- {
		for k := len(now) - 1; k >= 0; k-- {
			if old[i] == now[k] {
				common[i][k] = common[i+1][k+1] + 1
			} else {
				common[i][k] = max(common[i+1][k], common[i][k+1])
			}
		}
	}
	i, k := 0, 0
	for i < len(old) || k < len(now) {
		switch {
		case i < len(old) && k < len(now) && old[i] == now[k]:
			marked = append(marked, "  "+old[i])
			i, k = i+1, k+1
		case i < len(old) && (k == len(now) || common[i+1][k] >= common[i][k+1]):
			marked = append(marked, "- "+old[i])
			i++
		default:
			marked = append(marked, "+ "+now[k])
			k++
		}
	}
	return marked
}

// Changes are the differences between what is pinned of a tool and what is pending; none if nothing is pending or it was
// not kept.
func (t Tool) Changes() []Change {
	if t.Pending == nil || t.Pending.Definition == "" {
		return nil
	}
	var old []byte
	if t.Pinned != nil {
		old = []byte(t.Pinned.Definition)
	}
	return Changes(old, []byte(t.Pending.Definition))
}

// WriteDiff writes the differences of a tool that has some, for people to read.
func WriteDiff(w io.Writer, server string, t Tool) error {
	if t.Pending == nil {
		return nil
	}
	var b strings.Builder
	name := escape(t.Name, false)
	if Escape(t.Name) == t.Name && !plain(t.Name) {
		name += " (" + escape(t.Name, true) + ")"
	}
	was := "not pinned"
	if t.Pinned != nil {
		was = "pinned " + t.Pinned.Hash[:shortDigits] + " since " + t.Pinned.Accepted.Format(time.DateOnly)
	}
	fmt.Fprintf(&b, "%s %s: %s\n  %s; pending %s since %s\n", server, name, t.State, was, t.Pending.Hash[:shortDigits], t.Pending.Seen.Format(time.DateOnly))
	for _, f := range t.Pending.Findings {
		fmt.Fprintf(&b, "  ! %s: %s\n", f.Kind, f.Text)
	}
	if t.Pending.Definition == "" {
		b.WriteString("  the definition was too large to be kept, or no UTF-8\n")
	}
	for _, c := range t.Changes() {
		if c.At != "" {
			fmt.Fprintf(&b, "  %s\n", c.At)
		}
		for _, line := range c.Lines {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
