// Package cases reads made-up calls and judges a policy by them: for tests in CI, and to have one call explained. It does
// not know how a real call comes about, and makes none.
package cases

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

// File is a file of cases.
type File struct {
	// Cases are the calls, with what is wanted of each.
	Cases []Case `yaml:"cases"`
}

// Case is one made-up call.
type Case struct {
	// Name is what the case is called when it fails. Required.
	Name string `yaml:"name"`
	// Principal is who calls. Required.
	Principal Principal `yaml:"principal"`
	// Server is the server that is called, by name. Required.
	Server string `yaml:"server"`
	// From is agent (the default) or server, for what the server asks of the client.
	From string `yaml:"from"`
	// Method is the method, such as resources/list. Default by what is named below: tools/call, prompts/get or
	// resources/read.
	Method string `yaml:"method"`
	// Tool, Prompt and Resource are what is acted on; at most one of them.
	Tool     string `yaml:"tool"`
	Prompt   string `yaml:"prompt"`
	Resource string `yaml:"resource"`
	// Arguments are those of the tool or the prompt.
	Arguments map[string]any `yaml:"arguments"`
	// Params are the whole params of another method.
	Params map[string]any `yaml:"params"`
	// Source is the caller's IP address. Default: not known.
	Source string `yaml:"source"`
	// Time is when, as in 2026-11-26T10:00:00Z. Default: now.
	Time string `yaml:"time"`
	// Want is allow or deny. Required.
	Want string `yaml:"want"`
	// Rule is the rule that is to decide. Optional.
	Rule string `yaml:"rule"`
}

// Principal is who calls.
type Principal struct {
	// Issuer vouches for the subject. For a static token of a gateway it is the gateway's public_url. Required.
	Issuer string `yaml:"issuer"`
	// Subject is the caller's name there. Required.
	Subject string `yaml:"subject"`
	// Claims are the verified claims.
	Claims map[string]any `yaml:"claims"`
}

// Validate checks a file.
func (f *File) Validate() error {
	if len(f.Cases) == 0 {
		return errors.New("cases: there is none")
	}
	var errs []error
	for i := range f.Cases {
		c := &f.Cases[i]
		if _, err := c.Request(time.Now()); err != nil {
			errs = append(errs, fmt.Errorf("cases: number %d: %w", i+1, err))
		} else if c.Name == "" || c.Want != "allow" && c.Want != "deny" {
			errs = append(errs, fmt.Errorf("cases: number %d: name, and want: allow or deny, are required", i+1))
		}
	}
	return errors.Join(errs...)
}

// Request is what policy is asked about the case.
func (c *Case) Request(now time.Time) (policy.Request, error) {
	r := policy.Request{
		Principal: auth.Principal{Issuer: c.Principal.Issuer, Subject: c.Principal.Subject, Claims: c.Principal.Claims},
		Server:    c.Server, FromServer: c.From == "server", Time: now,
	}
	if c.Principal.Issuer == "" || c.Principal.Subject == "" {
		return r, errors.New("principal: issuer and subject are required")
	}
	if c.Server == "" {
		return r, errors.New("server: required")
	}
	if c.From != "" && c.From != "agent" && c.From != "server" {
		return r, errors.New("from: agent (the default) or server")
	}
	var err error
	if c.Source != "" {
		if r.Source, err = netip.ParseAddr(c.Source); err != nil {
			return r, errors.New("source: write an IP address")
		}
	}
	if c.Time != "" {
		if r.Time, err = time.Parse(time.RFC3339, c.Time); err != nil {
			return r, errors.New("time: write it as in 2026-11-26T10:00:00Z")
		}
	}
	r.Message, err = c.message()
	return r, err
}

// message is made by way of JSON, as a real one is read.
func (c *Case) message() (m mcp.Message, err error) {
	params := make(map[string]any)
	for key, value := range c.Params {
		params[key] = value
	}
	method, named := c.Method, 0
	for _, thing := range []struct{ value, key, method string }{
		{c.Tool, "name", "tools/call"}, {c.Prompt, "name", "prompts/get"}, {c.Resource, "uri", "resources/read"},
	} {
		if thing.value == "" {
			continue
		}
		named++
		params[thing.key] = thing.value
		if method == "" {
			method = thing.method
		}
	}
	switch {
	case named > 1:
		return m, errors.New("tool, prompt and resource: write one of them")
	case method == "":
		return m, errors.New("method: write one, or a tool, prompt or resource")
	}
	if c.Arguments != nil {
		params["arguments"] = c.Arguments
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return m, errors.New("arguments or params: they are no JSON")
	}
	messages, _, err := mcp.Parse(body)
	if err != nil {
		return m, err
	}
	return messages[0], nil
}

// Failed says how a policy's decision about a case is not what is wanted; "" if it is.
func (c *Case) Failed(p policy.Policy, now time.Time) string {
	request, err := c.Request(now)
	if err != nil {
		return err.Error()
	}
	d := p.Decide(request)
	var wrong []string
	if d.Allow != (c.Want == "allow") {
		wrong = append(wrong, "wanted "+c.Want+", got "+Word(d))
	}
	if c.Rule != "" && c.Rule != d.Rule {
		wrong = append(wrong, fmt.Sprintf("wanted it of %q, got it of %q", c.Rule, d.Rule))
	}
	if len(wrong) == 0 {
		return ""
	}
	return strings.Join(wrong, "; ") + " (" + d.Rule + ": " + d.Reason + ")"
}

// Word is a decision in one word.
func Word(d policy.Decision) string {
	if d.Allow {
		return "allow"
	}
	return "deny"
}
