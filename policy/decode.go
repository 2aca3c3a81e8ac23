package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// word is how an open policy is written.
const word = "open"

// example is how a rule is written.
const example = "{ servers: [wiki], allow: true }"

// UnmarshalYAML reads the word open, or a list of rules { servers: [a, b], when: CEL, allow: true }. It is strict by
// itself, because the decoder's own strictness ends where a type decodes itself: unknown, missing and repeated keys are
// errors, each beginning with "line N: " and naming what to write. No value is quoted but what CEL quotes of a condition.
func (p *Policy) UnmarshalYAML(node *yaml.Node) error {
	if isText(node) && node.Value == word {
		*p = Open()
		return nil
	}
	if node.Kind != yaml.SequenceNode {
		return at(node, "is neither the word open nor a list of rules such as "+example)
	}
	rules := make([]Rule, len(node.Content))
	places := make([]map[string]*yaml.Node, len(node.Content))
	problems := make([]error, len(node.Content))
	broken := false
	for i, item := range node.Content {
		rules[i], places[i], problems[i] = decodeRule(item)
		broken = broken || problems[i] != nil
	}
	compiled, errs := compileAll(rules)
	for i, err := range errs {
		if err != nil && problems[i] == nil {
			problems[i], broken = place(err, node.Content[i], places[i]), true
		}
	}
	if broken {
		return errors.Join(problems...)
	}
	*p = ofRules(compiled)
	return nil
}

// place says at which line of the file each error is: at the key that it begins with, or else at the rule.
func place(err error, rule *yaml.Node, keys map[string]*yaml.Node) error {
	var placed []error
	for _, err := range flatten(err) {
		var in *wrong
		node := rule
		for key, value := range keys {
			if strings.HasPrefix(err.Error(), key) {
				node = value
			}
		}
		line := node.Line
		if errors.As(err, &in) && in.line > 0 {
			line += in.line - 1
			if node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
				line++ // the text begins behind the line of its key
			}
		}
		placed = append(placed, fmt.Errorf("line %d: %w", line, err))
	}
	return errors.Join(placed...)
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, err := range joined.Unwrap() {
			all = append(all, flatten(err)...)
		}
		return all
	}
	return []error{err}
}

// ruleKeys read the keys of a rule.
func ruleKeys() map[string]func(*Rule, *yaml.Node) error {
	return map[string]func(*Rule, *yaml.Node) error{
		"name":    func(r *Rule, n *yaml.Node) error { return decodeText(&r.Name, n, "name is a text such as read-only") },
		"servers": func(r *Rule, n *yaml.Node) (err error) { r.Servers, err = decodeServers(n); return err },
		"from":    decodeFrom,
		"when": func(r *Rule, n *yaml.Node) error {
			return decodeText(&r.When, n, "when is a condition in quotes, such as 'mcp.tool == \"search\"'")
		},
		"allow":   func(r *Rule, n *yaml.Node) (err error) { r.Allow, err = decodeAllow(n); return err },
		"mode":    decodeMode,
		"limits":  func(r *Rule, n *yaml.Node) error { return decodeLimits(&r.Limits, n) },
		"check":   func(r *Rule, n *yaml.Node) error { r.Check = new(Check); return decodeCheck(r.Check, n) },
		"approve": func(r *Rule, n *yaml.Node) error { r.Approve = new(Approve); return decodeApprove(r.Approve, n) },
	}
}

func decodeRule(node *yaml.Node) (rule Rule, keys map[string]*yaml.Node, err error) {
	if node.Kind != yaml.MappingNode {
		return rule, nil, at(node, "a rule is written as "+example)
	}
	read, problems := ruleKeys(), []error(nil)
	keys, err = decodeKeys(node, "a rule", "servers, allow, name, from, when, mode, limits, check, approve", func(key string, value *yaml.Node) (bool, error) {
		decode, known := read[key]
		if !known {
			return false, nil
		}
		return true, decode(&rule, value)
	})
	problems = append(problems, err)
	for _, key := range []string{"servers", "allow"} {
		if keys[key] == nil {
			problems = append(problems, at(node, "a rule has no "+key+"; write "+example))
		}
	}
	return rule, keys, errors.Join(problems...)
}

// decodeKeys reads a mapping, key by key, and refuses unknown and repeated keys.
func decodeKeys(node *yaml.Node, of, known string, read func(key string, value *yaml.Node) (bool, error)) (keys map[string]*yaml.Node, err error) {
	var problems []error
	keys = make(map[string]*yaml.Node)
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if keys[key.Value] != nil {
			problems = append(problems, at(key, "a key is given twice in "+of))
			continue
		}
		keys[key.Value] = value
		if !isText(key) {
			problems = append(problems, at(key, "a key of "+of+" must be plain text"))
			continue
		}
		found, err := read(key.Value, value)
		if !found {
			err = at(key, "unknown key"+quoted(key.Value)+" in "+of+" (known here: "+known+")")
		}
		problems = append(problems, err)
	}
	return keys, errors.Join(problems...)
}

func decodeText(into *string, node *yaml.Node, usage string) error {
	if !isText(node) || node.Value == "" {
		return at(node, usage)
	}
	*into = node.Value
	return nil
}

func decodeFrom(r *Rule, node *yaml.Node) error {
	if !isText(node) || node.Value != "agent" && node.Value != "server" {
		return at(node, "from is agent (the default) or server")
	}
	r.FromServer = node.Value == "server"
	return nil
}

func decodeMode(r *Rule, node *yaml.Node) error {
	if !isText(node) || node.Value != "enforce" && node.Value != "report" {
		return at(node, "mode is enforce (the default) or report")
	}
	r.Report = node.Value == "report"
	return nil
}

func decodeLimits(l *Limits, node *yaml.Node) error {
	const usage = "limits are written as { rate: 60/1m, concurrent: 4, arguments: 65536, result: 1048576 }, or some of them"
	if node.Kind != yaml.MappingNode || len(node.Content) == 0 {
		return at(node, usage)
	}
	_, err := decodeKeys(node, "limits", "rate, concurrent, arguments, result", func(key string, value *yaml.Node) (bool, error) {
		switch key {
		case "rate":
			return true, decodeRate(l, value)
		case "concurrent":
			n, err := decodeNumber(value, key, "calls")
			l.Concurrent = int(n)
			return true, err
		case "arguments":
			n, err := decodeNumber(value, key, "bytes")
			l.Arguments = n
			return true, err
		case "result":
			n, err := decodeNumber(value, key, "bytes")
			l.Result = n
			return true, err
		}
		return false, nil
	})
	return err
}

func decodeCheck(c *Check, node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return at(node, "check is written as { url: https://opa.internal/v1/data/mcp/allow, of: [arguments] }")
	}
	c.Arguments = true
	_, err := decodeKeys(node, "check", "url, ca_file, timeout, of", func(key string, value *yaml.Node) (bool, error) {
		switch key {
		case "url":
			return true, decodeText(&c.URL, value, "url is a text")
		case "ca_file":
			return true, decodeText(&c.CAFile, value, "ca_file is a path")
		case "timeout":
			return true, decodeSpan(&c.Timeout, value, "timeout is a time such as 2s")
		case "of":
			return true, decodeOf(c, value)
		}
		return false, nil
	})
	return err
}

// byHuman is how an approval is written that needs nothing more.
const byHuman = "human"

func decodeApprove(a *Approve, node *yaml.Node) error {
	if isText(node) && node.Value == byHuman {
		return nil
	}
	if node.Kind != yaml.MappingNode || len(node.Content) == 0 {
		return at(node, "approve is the word human, or { timeout: 10m, webhook: https://chat.internal/approve, key: … }")
	}
	_, err := decodeKeys(node, "approve", "timeout, webhook, ca_file, key", func(key string, value *yaml.Node) (bool, error) {
		switch key {
		case "timeout":
			return true, decodeSpan(&a.Timeout, value, "timeout is a time such as 10m")
		case "webhook":
			return true, decodeText(&a.Webhook, value, "webhook is a URL")
		case "ca_file":
			return true, decodeText(&a.CAFile, value, "ca_file is a path")
		case "key":
			return true, decodeText(&a.Key, value, "key is a public key in base64url")
		}
		return false, nil
	})
	return err
}

func decodeSpan(into *time.Duration, node *yaml.Node, usage string) error {
	span, err := time.ParseDuration(node.Value)
	if !isText(node) || err != nil || span <= 0 {
		return at(node, usage)
	}
	*into = span
	return nil
}

func decodeOf(c *Check, node *yaml.Node) error {
	const usage = "of is a list: [arguments], the default, [result], or [arguments, result]"
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		return at(node, usage)
	}
	c.Arguments = false
	for _, item := range node.Content {
		switch item.Value {
		case "arguments":
			c.Arguments = true
		case "result":
			c.Result = true
		default:
			return at(item, usage)
		}
	}
	return nil
}

func decodeRate(l *Limits, node *yaml.Node) error {
	count, per, found := strings.Cut(node.Value, "/")
	n, countErr := strconv.Atoi(count)
	span, spanErr := time.ParseDuration(per)
	if !isText(node) || !found || countErr != nil || spanErr != nil || n < 1 || span < 1 {
		return at(node, "rate is a number of messages and a time, such as 60/1m")
	}
	l.Rate, l.Per = n, span
	return nil
}

func decodeNumber(node *yaml.Node, key, of string) (int64, error) {
	n, err := strconv.ParseInt(node.Value, 10, 64)
	const most = 1 << 40
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!int" || err != nil || n < 1 || n > most {
		return 0, at(node, key+" is a number of "+of+", at least 1")
	}
	return n, nil
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
