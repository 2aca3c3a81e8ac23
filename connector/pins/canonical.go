package pins

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxDepth    = 64 // nesting of objects and arrays in a definition, as in package mcp
	shortDigits = 12 // hexadecimal digits of a hash that people see
)

var errNotStrict = errors.New("it is not strict JSON: an object, in UTF-8, no name twice, at most 64 levels deep")

// fingerprint returns the hash of a definition in hexadecimal digits.
func fingerprint(raw []byte) string {
	canonical, ok := canonicalize(raw)
	if !ok { // the prefix keeps it apart from every canonical form
		canonical = append([]byte("not strict\x00"), raw...)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

// canonicalize returns RFC 8785's form of a JSON value, but with each number as it was written: rounding it to a float
// would let 9007199254740993 pass for 9007199254740992.
func canonicalize(raw []byte) ([]byte, bool) {
	value := jsontext.Value(bytes.Clone(raw))
	err := value.Format(jsontext.ReorderRawObjects(true), jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	return value, err == nil
}

// node is a JSON value of a definition.
type node struct {
	kind     jsontext.Kind
	raw      []byte
	text     string   // of a string: decoded; of another scalar: as written
	members  []member // of an object, in the order of the text
	elements []*node  // of an array
}

type member struct {
	name  string
	value *node
}

// member returns the value of an object's member, or nil.
func (n *node) member(name string) *node {
	for i := range n.members {
		if n.members[i].name == name {
			return n.members[i].value
		}
	}
	return nil
}

// byName returns an object's members.
func (n *node) byName() map[string]*node {
	m := make(map[string]*node, len(n.members))
	for i := range n.members {
		m[n.members[i].name] = n.members[i].value
	}
	return m
}

func (n *node) scalar() bool { return n.kind != '{' && n.kind != '[' }

// parse reads a definition strictly.
func parse(raw []byte) (*node, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	n, err := parseValue(dec, raw, 0)
	if err != nil || n.kind != '{' {
		return nil, errNotStrict
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errNotStrict
	}
	return n, nil
}

func parseValue(dec *jsontext.Decoder, raw []byte, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errNotStrict
	}
	before := dec.InputOffset()
	token, err := dec.ReadToken()
	if err != nil {
		return nil, errNotStrict // the decoder's own text quotes the definition
	}
	n := &node{kind: token.Kind(), text: token.String()}
	switch n.kind {
	case '{':
		for dec.PeekKind() != '}' {
			name, err := dec.ReadToken()
			if err != nil {
				return nil, errNotStrict
			}
			text := name.String() // the token is the decoder's until it reads on
			value, err := parseValue(dec, raw, depth+1)
			if err != nil {
				return nil, err
			}
			n.members = append(n.members, member{text, value})
		}
		_, err = dec.ReadToken()
	case '[':
		for dec.PeekKind() != ']' {
			element, err := parseValue(dec, raw, depth+1)
			if err != nil {
				return nil, err
			}
			n.elements = append(n.elements, element)
		}
		_, err = dec.ReadToken()
	}
	if err != nil {
		return nil, errNotStrict
	}
	n.raw = bytes.TrimLeft(raw[before:dec.InputOffset()], " \t\r\n,:")
	return n, nil
}

// place is where in a definition a value stands. Its text is made only when it is needed: it may be long.
type place struct {
	up   *place
	name string
}

const (
	maxSegment = 120 // bytes of a name that are shown of a place
	maxWhere   = 400 // bytes of a place
)

func (p *place) below(name string) *place { return &place{p, name} }

func (p *place) at(index int) *place { return &place{p, strconv.Itoa(index)} }

// String returns a JSON pointer (RFC 6901) to show: hidden characters are code points, and what is too long is cut.
func (p *place) String() string {
	var names []string
	for ; p != nil; p = p.up {
		names = append(names, "/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(shown(p.name, maxSegment)))
	}
	slices.Reverse(names)
	return clip(strings.Join(names, ""), maxWhere)
}
