package attack

import (
	"strings"
	"testing"

	"sallyport.dev/test/stack"
)

// tokenAttacks are those of the catalogue's first group that apply to static tokens.
func tokenAttacks() []attack {
	unauthenticated := want{status: 401, code: -32000, reason: "unauthenticated", check: checkChallenge}
	malformed := want{status: 400, code: -32000, reason: "unauthenticated"}
	query := want{status: 400, code: -32600, reason: "invalid_request"}
	auth := func(value string) request { return request{fields: []field{{"Authorization", value}}} }
	return []attack{
		{id: "1", what: "no token", send: request{drop: []string{"Authorization"}}, want: unauthenticated},
		{id: "1", what: "no token, a server that does not exist", send: request{drop: []string{"Authorization"}, target: "/t/acme/nothing/mcp"}, want: unauthenticated},
		{id: "1", what: "a token with its last character changed", send: auth("Bearer " + stack.AgentToken[:len(stack.AgentToken)-1] + "Z"), want: unauthenticated},
		{id: "1", what: "half of a token", send: auth("Bearer " + stack.AgentToken[:24]), want: unauthenticated},
		{id: "1", what: "a connector's token", send: auth("Bearer " + stack.TunnelToken), want: unauthenticated},
		{id: "1", what: "a token as a password of Basic", send: auth("Basic " + stack.AgentToken), want: unauthenticated},
		{id: "1", what: "a scheme without a token", send: auth("Bearer"), want: malformed},
		{id: "1", what: "two tokens in one field", send: auth("Bearer " + stack.AgentToken + ", Bearer " + secondToken), want: malformed},
		{id: "1", what: "the token in a cookie and in X-Api-Key", send: request{drop: []string{"Authorization"},
			fields: []field{{"Cookie", "access_token=" + stack.AgentToken}, {"X-Api-Key", stack.AgentToken}}}, want: unauthenticated},
		{id: "20", what: "a token of 9 KiB", send: auth("Bearer " + strings.Repeat("a", 9<<10)), want: malformed},
		{id: "20", what: "a token of 8 MiB", over: []proto{h1}, send: auth("Bearer " + strings.Repeat("a", 8<<20)), want: want{status: 431}},
		{id: "26", what: "the token in the query alone", send: request{drop: []string{"Authorization"}, target: wikiPath + "?access_token=" + stack.AgentToken}, want: query},
		{id: "26", what: "the token in the query and in the header", send: request{target: wikiPath + "?access_token=" + stack.AgentToken}, want: query},
		{id: "28", what: "two Authorization fields", send: request{fields: []field{
			{"Authorization", "Bearer " + stack.AgentToken}, {"Authorization", "Bearer " + stack.AgentToken}}}, want: malformed},
		{id: "28", what: "a wrong and a right Authorization field", send: request{fields: []field{
			{"Authorization", "Bearer " + strings.Repeat("x", 40)}, {"Authorization", "Bearer " + stack.AgentToken}}}, want: malformed},
	}
}

func checkChallenge(t *testing.T, a answer, _ []received) {
	t.Helper()
	challenge := a.header.Get("WWW-Authenticate")
	if !strings.HasPrefix(challenge, "Bearer ") || !strings.Contains(challenge, `resource_metadata="https://`+publicName+":") {
		t.Errorf("the challenge is %q", challenge)
	}
}
