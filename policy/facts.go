package policy

import (
	"errors"
	"net/netip"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"sallyport.dev/mcp"
)

// Bounds of what a condition reads, in bytes: an expression over all of a body of some MiB would take seconds.
const (
	maxArguments = 256 << 10 // of arguments and params
	maxName      = 4 << 10   // of a tool, a prompt, or a resource's URI
)

// facts are the values of a condition's names for one request. Each is made when the first condition asks for it, and kept.
// One goroutine uses it.
type facts struct {
	request *Request
	values  *mcp.Values
	made    [12]any // by name
}

var _ cel.Activation = (*facts)(nil)

// Parent implements cel.Activation.
func (f *facts) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation. A value that cannot be had is an error of the condition that asks for it.
func (f *facts) ResolveName(name string) (any, bool) {
	var i int
	switch name {
	case varIssuer:
		i = 0
	case varSubject:
		i = 1
	case varClaims:
		i = 2
	case varServer:
		i = 3
	case varMethod:
		i = 4
	case varTool:
		i = 5
	case varPrompt:
		i = 6
	case varResource:
		i = 7
	case varArgs:
		i = 8
	case varParams:
		i = 9
	case varSource:
		i = 10
	case varNow:
		i = 11
	default:
		return nil, false
	}
	if f.made[i] == nil {
		f.made[i] = f.value(name)
	}
	return f.made[i], true
}

// value makes the value of one of the names.
func (f *facts) value(name string) ref.Val {
	r := f.request
	switch name {
	case varIssuer:
		return types.String(r.Principal.Issuer)
	case varSubject:
		return types.String(r.Principal.Subject)
	case varClaims:
		return types.DefaultTypeAdapter.NativeToValue(orEmpty(r.Principal.Claims))
	case varServer:
		return types.String(r.Server)
	case varMethod:
		return types.String(r.Message.Method)
	case varTool:
		return types.String(r.tool())
	case varPrompt:
		return types.String(r.prompt())
	case varResource:
		return types.String(r.resource())
	case varArgs, varParams:
		if r.ParamsUnknown {
			return types.WrapErr(errors.New("policy: the params could not be read"))
		}
		if name == varParams {
			return f.object(r.Message.Params)
		}
		return f.object(r.Message.Arguments)
	case varSource:
		return source(r.Source)
	}
	return now(r.Time)
}

// object reads a JSON object as a condition sees it, or gives an error as a value.
func (f *facts) object(raw []byte) ref.Val {
	if raw == nil {
		return types.DefaultTypeAdapter.NativeToValue(map[string]any{})
	}
	if len(raw) > maxArguments {
		return types.WrapErr(errors.New("policy: the arguments have more than 262144 bytes"))
	}
	value, err := f.values.Value(raw)
	if err != nil {
		return types.WrapErr(err)
	}
	members, ok := value.(map[string]any)
	if !ok {
		return types.WrapErr(errors.New("policy: it is no JSON object"))
	}
	return types.DefaultTypeAdapter.NativeToValue(members)
}

func orEmpty(claims map[string]any) map[string]any {
	if claims == nil {
		return map[string]any{}
	}
	return claims
}

func source(addr netip.Addr) ref.Val {
	if !addr.IsValid() {
		return types.WrapErr(errors.New("policy: the caller's address is not known"))
	}
	return types.String(addr.Unmap().WithZone("").String())
}

func now(t time.Time) ref.Val {
	if t.IsZero() {
		return types.WrapErr(errors.New("policy: the time is not known"))
	}
	return types.Timestamp{Time: t}
}

// tool is the name in a call of a tool.
func (r *Request) tool() string {
	if r.Message.Method == "tools/call" {
		return r.Message.Name
	}
	return ""
}

// prompt is the name of the prompt that is asked for, or completed.
func (r *Request) prompt() string {
	switch {
	case r.Message.Method == "prompts/get", r.Message.Method == "completion/complete" && r.Message.Ref == mcp.RefPrompt:
		return r.Message.Name
	}
	return ""
}

// resource is the URI of the resource that is read, subscribed to or completed.
func (r *Request) resource() string {
	switch r.Message.Method {
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		return r.Message.Name
	case "completion/complete":
		if r.Message.Ref == mcp.RefResource {
			return r.Message.Name
		}
	}
	return ""
}
