package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// word is how an open policy is written.
const word = "open"

// UnmarshalYAML reads the word open, or a list of rules { servers: [a, b], allow: true }. It is strict by itself,
// because the decoder's own strictness ends where a type decodes itself: unknown, missing and repeated keys are
// errors, each beginning with "line N: " and naming what to write. No value is quoted.
func (p *Policy) UnmarshalYAML(node *yaml.Node) error {
	if isText(node) && node.Value == word {
		*p = Open()
		return nil
	}
	if node.Kind != yaml.SequenceNode {
		return at(node, "is neither the word open nor a list of rules such as { servers: [wiki], allow: true }")
	}
	rules := make([]Rule, 0, len(node.Content))
	var problems []error
	for _, item := range node.Content {
		rule, err := decodeRule(item)
		problems = append(problems, err)
		rules = append(rules, rule)
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	*p = Policy{set: true, rules: rules}
	return nil
}

func decodeRule(node *yaml.Node) (Rule, error) {
	var rule Rule
	if node.Kind != yaml.MappingNode {
		return rule, at(node, "a rule is written as { servers: [wiki], allow: true }")
	}
	var problems []error
	given := make(map[string]bool, 2)
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if given[key.Value] {
			problems = append(problems, at(key, "a key is given twice in a rule"))
			continue
		}
		given[key.Value] = true
		var err error
		switch {
		case !isText(key):
			err = at(key, "a key of a rule must be plain text")
		case key.Value == "servers":
			rule.Servers, err = decodeServers(value)
		case key.Value == "allow":
			rule.Allow, err = decodeAllow(value)
		case key.Value == "when":
			err = at(key, "when: conditions are not supported by this version; without it the rule would cover more than it says, so remove the whole rule or the condition")
		default:
			err = at(key, "unknown key"+quoted(key.Value)+" in a rule (known here: servers, allow)")
		}
		problems = append(problems, err)
	}
	for _, key := range []string{"servers", "allow"} {
		if !given[key] {
			problems = append(problems, at(node, "a rule has no "+key+"; write { servers: [wiki], allow: true }"))
		}
	}
	return rule, errors.Join(problems...)
}

func decodeServers(node *yaml.Node) ([]string, error) {
	if node.Kind != yaml.SequenceNode {
		return nil, at(node, "servers is a list of names, as in [wiki, github], or [\"*\"] for all")
	}
	names := make([]string, 0, len(node.Content))
	for _, item := range node.Content {
		if item.Kind != yaml.ScalarNode {
			return nil, at(item, "servers holds something that is no name")
		}
		names = append(names, item.Value)
	}
	if err := checkServers(names); err != nil {
		return nil, at(node, err.Error())
	}
	return names, nil
}

func decodeAllow(node *yaml.Node) (bool, error) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!bool" {
		switch strings.ToLower(node.Value) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, at(node, "allow is true or false")
}

// checkServers refuses lists that cover less or more than they seem to.
func checkServers(names []string) error {
	if len(names) == 0 {
		return errors.New(`servers is empty; list names, or ["*"] for all`)
	}
	for i, name := range names {
		switch {
		case name == AllServers && len(names) > 1:
			return errors.New(`servers has "*" beside names; "*" alone stands for all`)
		case name != AllServers && !isServerName(name):
			return errors.New(`servers holds a name that no server can have: a name is 1 to 40 of a-z, 0-9 and -, without --, and patterns other than "*" do not exist`)
		case slices.Contains(names[:i], name):
			return errors.New("servers holds a name twice")
		}
	}
	return nil
}

// isServerName reports whether a server can have that name, which stands in URLs and, beside a tunnel's, in host names.
func isServerName(name string) bool {
	const longest = 40
	if name == "" || len(name) > longest || strings.Contains(name, "--") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func isText(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str"
}

// quoted repeats a key that is short and plain, and nothing else: a value pasted in its place stays unsaid.
func quoted(key string) string {
	if len(key) > 20 || strings.ContainsFunc(key, func(r rune) bool { return (r < 'a' || r > 'z') && r != '_' && r != '-' }) {
		return ""
	}
	return ` "` + key + `"`
}

func at(node *yaml.Node, text string) error {
	return fmt.Errorf("line %d: %s", node.Line, text)
}
