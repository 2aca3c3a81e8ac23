package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"sallyport.dev/test/stack"
)

// inspector is the inspector's command line: a process for each call.
type inspector struct {
	t  *testing.T
	to target
}

func dialInspector(_ context.Context, t *testing.T, to target, _ events) (client, error) {
	return inspector{t, to}, nil
}

func (inspector) version() string { return "" }

func (inspector) close() error { return nil }

func (i inspector) tools(ctx context.Context) ([]string, error) {
	var result struct{ Tools []struct{ Name string } }
	err := i.run(ctx, &result, "tools/list")
	var names []string
	for _, tool := range result.Tools {
		names = append(names, tool.Name)
	}
	return names, err
}

func (i inspector) call(ctx context.Context, do request) (string, error) {
	arguments, err := json.Marshal(do.arguments)
	if err != nil {
		return "", err
	}
	var result struct {
		Content []struct{ Text string }
		IsError bool
	}
	if err := i.run(ctx, &result, "tools/call", "--tool-name", do.tool, "--tool-args-json", string(arguments)); err != nil {
		return "", err
	}
	if len(result.Content) == 0 || result.IsError {
		return "", errors.New("the result is an error or has no content")
	}
	return result.Content[0].Text, nil
}

// run makes one call and reads its result.
func (i inspector) run(ctx context.Context, result any, method string, args ...string) error {
	transport, era := "http", "legacy"
	if i.to.over == httpSSE {
		transport = "sse"
	}
	if i.to.revision == stateless {
		era = "modern"
	}
	args = append([]string{"--cli", i.to.url, "--transport", transport, "--protocol-era", era, "--format", "json",
		"--header", "Authorization: Bearer " + stack.AgentToken, "--method", method}, args...)
	cmd := trusting(node(ctx, i.t, "mcp-inspector", args...), i.to.ca)
	said := new(tail)
	cmd.Stderr = said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s%s", method, err, out, said)
	}
	return json.Unmarshal(out, &struct{ Result any }{result})
}
