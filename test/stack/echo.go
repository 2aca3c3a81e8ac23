package stack

import (
	"bytes"

	"sallyport.dev/mcp"
)

// Echo is how an upstream of a test answers with what it got: each request in a body has the whole body in its result,
// beside empty lists for those that ask for one. A body without a request, or that is no JSON-RPC, has no answer.
func Echo(body []byte) []byte {
	messages, batch, err := mcp.Parse(body)
	if err != nil {
		return nil
	}
	var answers [][]byte
	for i := range messages {
		if m := &messages[i]; m.Kind == mcp.Request {
			answers = append(answers, bytes.Join([][]byte{[]byte(`{"jsonrpc":"2.0","id":`), m.ID, []byte(`,"result":{"echo":`), body, []byte(`,"tools":[],"prompts":[],"resources":[],"resourceTemplates":[]}}`)}, nil))
		}
	}
	switch {
	case len(answers) == 0:
		return nil
	case batch:
		return append(append([]byte{'['}, bytes.Join(answers, []byte{','})...), ']')
	}
	return answers[0]
}
