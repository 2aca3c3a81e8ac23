package attack

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"sallyport.dev/test/stack"
)

// idAttacks use one id for two calls that are in flight at once. The upstream
// answers neither before it has both.
func idAttacks() []attack {
	return []attack{
		{id: "69", what: "one agent, the id 2⁵³+1 twice in flight", do: twice(stack.AgentToken, stack.AgentToken), want: want{status: 200, hits: 2}},
		{id: "69", what: "two agents, the id 2⁵³+1 in flight for both", do: twice(stack.AgentToken, secondToken), want: want{status: 200, hits: 2}},
	}
}

func twice(tokens ...string) func(*testing.T, *rig, proto) (answer, error) {
	return func(t *testing.T, r *rig, p proto) (answer, error) {
		answers, errs := make([]answer, len(tokens)), make([]error, len(tokens))
		var crew sync.WaitGroup
		for i, token := range tokens {
			crew.Go(func() {
				body := fmt.Sprintf(`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"add","arguments":{"who":%d}}}`, i)
				answers[i], errs[i] = r.perform(t, attack{send: request{target: meetPath, body: body, fields: []field{{"Authorization", "Bearer " + token}}}}, p)
				if string(answers[i].body) != string(stack.Echo([]byte(body))) {
					t.Errorf("agent %d got %q", i, answers[i].body)
				}
			})
		}
		crew.Wait()
		return answers[0], errors.Join(errs...)
	}
}
