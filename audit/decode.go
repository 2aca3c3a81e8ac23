package audit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// UnmarshalYAML reads the word strict or best_effort, or a mapping { mode: strict, file: /var/log/sallyport/audit.jsonl }.
// It is strict by itself, because the decoder's own strictness ends where a type decodes itself: unknown and repeated
// keys are errors, each beginning with "line N: ". No value is quoted.
func (c *Config) UnmarshalYAML(node *yaml.Node) error {
	const how = "is neither the word strict or best_effort nor keys such as { mode: strict, file: /var/log/sallyport/audit.jsonl }"
	var read Config
	if isText(node) {
		read.Mode = Mode(node.Value)
		if read.Mode != Strict && read.Mode != BestEffort {
			return at(node, how)
		}
		*c = read
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return at(node, how)
	}
	var problems []error
	given := make(map[string]bool, 5)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if given[key.Value] {
			problems = append(problems, at(key, "a key is given twice"))
			continue
		}
		given[key.Value] = true
		problems = append(problems, read.decodeKey(key, value))
	}
	if !given["mode"] {
		problems = append(problems, at(node, "there is no mode; write mode: strict or mode: best_effort"))
	}
	err := errors.Join(problems...)
	if err == nil {
		if err = read.Validate(); err != nil {
			err = at(node, err.Error())
		}
	}
	if err == nil {
		*c = read
	}
	return err
}

func (c *Config) decodeKey(key, value *yaml.Node) (err error) {
	switch {
	case !isText(key):
		return at(key, "a key must be plain text")
	case key.Value == "mode":
		var mode string
		mode, err = decodeText(value, "mode is strict or best_effort")
		c.Mode = Mode(mode)
	case key.Value == "file":
		c.File, err = decodeText(value, "file is an absolute path")
	case key.Value == "syslog":
		c.Syslog, err = decodeText(value, "syslog is written as unix:/dev/log, udp://host:514 or tcp://host:601")
	case key.Value == "max_size":
		c.MaxSize, err = decodeNumber(value, "max_size is a number of bytes, "+strconv.Itoa(leastMaxSize)+" or more")
	case key.Value == "keep":
		var keep int64
		keep, err = decodeNumber(value, "keep is a number of files, 1 or more")
		c.Keep = int(min(keep, mostKeep+1))
	default:
		return at(key, "unknown key"+quoted(key.Value)+" (known here: mode, file, syslog, max_size, keep)")
	}
	return err
}

func decodeText(node *yaml.Node, what string) (string, error) {
	if !isText(node) || node.Value == "" {
		return "", at(node, what)
	}
	return node.Value, nil
}

func decodeNumber(node *yaml.Node, what string) (int64, error) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!int" {
		if n, err := strconv.ParseInt(node.Value, 10, 64); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, at(node, what)
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
