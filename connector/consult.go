package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/address"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

// maxVerdict bounds the answer of a decision service, in bytes.
const maxVerdict = 64 << 10

// What comes of asking a decision service. Both deny.
var (
	errNotAllowed = errors.New("connector: the decision service does not allow it")
	errElsewhere  = errors.New("connector: answers can be checked over streamable HTTP only, where they come with their call")
	errNoVerdict  = errors.New("connector: the decision service gave no decision")
)

// services are those that a policy has asked, by what it says of them.
type services struct {
	decide   map[policy.Check]*service
	webhooks map[policy.Approve]*http.Transport
}

// service is one decision service. It is asked as the Open Policy Agent is: {"input": …} gets {"result": true}, or
// {"result": {"allow": true}}.
type service struct {
	check policy.Check
	conns *http.Transport
}

// newServices makes those of a policy.
func newServices(p policy.Policy, allowed address.Allowed) (services, error) {
	made := services{make(map[policy.Check]*service), make(map[policy.Approve]*http.Transport)}
	for _, check := range p.Checks() {
		roots, err := loadRoots(check.CAFile)
		if err != nil {
			return made, fmt.Errorf("policy: check: ca_file: %w", err)
		}
		made.decide[*check] = &service{*check, newConns(allowed, roots, nil)}
	}
	for _, approve := range p.Approvals() {
		roots, err := loadRoots(approve.CAFile)
		if err != nil {
			return made, fmt.Errorf("policy: approve: ca_file: %w", err)
		}
		made.webhooks[*approve] = newConns(allowed, roots, nil)
	}
	return made, nil
}

// close closes the connections that are idle. Those in use end by themselves.
func (s services) close() {
	for _, one := range s.decide {
		one.conns.CloseIdleConnections()
	}
	for _, conns := range s.webhooks {
		conns.CloseIdleConnections()
	}
}

// question is what a decision service is asked.
type question struct {
	Input questionInput `json:"input"`
}

type questionInput struct {
	About     string            `json:"about"` // arguments or result
	RequestID string            `json:"request_id"`
	Rule      string            `json:"rule"`
	Principal questionPrincipal `json:"principal"`
	Source    string            `json:"source,omitempty"`
	Server    string            `json:"server"`
	Method    string            `json:"method"`
	Name      string            `json:"name"` // of the tool or the prompt, or the URI of the resource
	Params    jsontext.Value    `json:"params,omitempty"`
	Answer    jsontext.Value    `json:"answer,omitempty"` // the JSON-RPC response
}

type questionPrincipal struct {
	Issuer  string         `json:"issuer"`
	Subject string         `json:"subject"`
	Claims  map[string]any `json:"claims"`
}

// consult asks the service of a decision about a message, or about the answer to one. It returns nil if it is allowed; the
// error otherwise matches errNotAllowed or errNoVerdict, and quotes nothing that was asked or answered.
func (n *note) consult(ctx context.Context, d policy.Decision, m mcp.Message, answer []byte) error {
	s := n.routes.services.decide[*d.Check]
	if s == nil {
		return errNoVerdict // cannot be: services are made of the same policy
	}
	input := questionInput{
		About: "arguments", RequestID: n.requestID, Rule: d.Rule, Server: n.server, Method: m.Method, Name: m.Name, Params: m.Params,
		Principal: questionPrincipal{n.principal.Issuer, n.principal.Subject, n.principal.Claims},
	}
	if n.source.IsValid() {
		input.Source = n.source.String()
	}
	if answer != nil {
		input.About, input.Answer = "result", answer
	}
	body, err := json.Marshal(question{input})
	if err != nil {
		return fmt.Errorf("%w: the question cannot be written", errNoVerdict)
	}
	return s.ask(ctx, body)
}

// ask asks the service.
func (s *service) ask(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.check.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.check.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: its URL cannot be used", errNoVerdict)
	}
	r.Header["Content-Type"] = []string{"application/json"}
	r.Header["User-Agent"] = []string{""}
	resp, err := s.conns.RoundTrip(r) // which follows no redirect
	if err != nil {
		return fmt.Errorf("%w: %w", errNoVerdict, quoteless(err))
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxVerdict+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errNoVerdict, quoteless(err))
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: it answers with the status %d", errNoVerdict, resp.StatusCode)
	case len(text) > maxVerdict:
		return fmt.Errorf("%w: its answer has more than %d bytes", errNoVerdict, maxVerdict)
	}
	return verdictOf(text)
}

// verdictOf reads an answer. Only true allows: a result that is left out, as the Open Policy Agent does where nothing is
// defined, is no decision.
func verdictOf(text []byte) error {
	var answer struct {
		Result jsontext.Value `json:"result"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Result == nil {
		return fmt.Errorf("%w: its answer has no result", errNoVerdict)
	}
	var allowed bool
	switch answer.Result.Kind() {
	case 't', 'f':
		allowed = answer.Result.Kind() == 't'
	case '{':
		var verdict struct {
			Allow *bool `json:"allow"`
		}
		if json.Unmarshal(answer.Result, &verdict) != nil || verdict.Allow == nil {
			return fmt.Errorf("%w: its result has no allow", errNoVerdict)
		}
		allowed = *verdict.Allow
	default:
		return fmt.Errorf("%w: its result is neither true, false nor an object", errNoVerdict)
	}
	if !allowed {
		return errNotAllowed
	}
	return nil
}

// resultCheck is a request whose answer a decision service has the last word on.
type resultCheck struct {
	decision policy.Decision
	message  mcp.Message
}

// answerCheck returns what sees each answer of a call before it passes, or nil if nobody need. On a stream without requests no
// answer may come where one could have to be checked: it would not be known to which request it belongs.
func (n *note) answerCheck(ctx context.Context) func(message []byte) error {
	switch {
	case len(n.call.Messages) == 0 && n.routes.cfg.Policy.ChecksResults(n.server):
		return func([]byte) error { return mcp.ResultDenied("", errElsewhere) }
	case len(n.checks) == 0:
		return nil
	}
	return func(message []byte) error {
		refs, err := mcp.ReadRefs(message)
		if err != nil {
			return mcp.ResultDenied("", errNoVerdict)
		}
		var id []byte // of the one request that is answered; nil if none of the call's is, so that it could be taken for each
		if !refs.ID.IsZero() && slices.ContainsFunc(n.call.IDs(), func(other []byte) bool { return mcp.SameID(refs.ID.Of(message), other) }) {
			id = refs.ID.Of(message)
		}
		for _, check := range n.checks {
			if id != nil && !mcp.SameID(id, check.message.ID) {
				continue
			}
			if err := n.consult(ctx, check.decision, check.message, message); err != nil {
				n.decision.Allow, n.decision.Rule = false, check.decision.Rule
				return mcp.ResultDenied(check.decision.Rule, err)
			}
		}
		return nil
	}
}
