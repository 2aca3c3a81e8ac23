package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds how deep lists and mappings nest.
const maxDepth = 64

const (
	mergeTag = "!!merge"
	nullTag  = "!!null"
)

// checkShape refuses what YAML allows and a configuration does not need, whatever type it is for: aliases and merges
// (a few lines of them can expand without bound), tags, keys that are not plain text, and keys given twice.
func checkShape(node *yaml.Node, depth int, found *problems) {
	if depth > maxDepth {
		found.add(node.Line, fmt.Sprintf("nested deeper than %d levels", maxDepth))
		return
	}
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		found.add(node.Line, "anchors and aliases are not supported; write the value out")
		return
	}
	if node.Style&yaml.TaggedStyle != 0 {
		found.add(node.Line, "tags are not supported; write the value without one")
		return
	}
	if node.Kind == yaml.MappingNode {
		checkKeys(node, found)
		for i := 1; i < len(node.Content); i += 2 {
			checkShape(node.Content[i], depth+1, found)
		}
		return
	}
	for _, child := range node.Content {
		checkShape(child, depth+1, found)
	}
}

func checkKeys(mapping *yaml.Node, found *problems) {
	first := make(map[string]int, len(mapping.Content)/2)
	for i := 0; i < len(mapping.Content); i += 2 {
		key := mapping.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 || isNull(key):
			found.add(key.Line, "a key must be plain text")
		case key.ShortTag() == mergeTag:
			found.add(key.Line, "merging with << is not supported; write the keys out")
		case first[key.Value] > 0:
			found.add(key.Line, fmt.Sprintf("%s is given twice, first on line %d", named("key", key.Value), first[key.Value]))
		default:
			first[key.Value] = key.Line
		}
	}
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == nullTag }

// named quotes a key behind a noun, but only one that is a key beyond doubt: a secret pasted into the wrong place
// can end up as a key too, and is longer or made of other characters.
func named(noun, key string) string {
	const longest = 31 // one less than the shortest token that is accepted anywhere
	if key == "" || len(key) > longest {
		return noun
	}
	for i := range len(key) {
		c := key[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return noun
		}
	}
	return noun + ` "` + key + `"`
}
