package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"sallyport.dev/cmd/sallyport/agent"
	"sallyport.dev/mcp/diag"
)

// step is one call that the demo makes, and what must come of it.
type step struct {
	call  agent.Call
	check func(r *round, result *mcp.CallToolResult, p *progress, start time.Time) (note string, err error)
}

// stepsOn lists the calls on a server.
func stepsOn(server string) []step {
	echo := step{agent.Call{Tool: "echo", Arguments: agent.RawObject(`{"text":"hello","n":9007199254740993}`)}, checkEcho}
	slow := step{agent.Call{Tool: "slow", Arguments: agent.RawObject(fmt.Sprintf(`{"seconds":0.3,"steps":%d}`, slowSteps)), Progress: true}, checkProgress}
	switch server {
	case ordersName:
		return stepsOnOrders()
	case diagName:
		return []step{
			echo,
			{agent.Call{Tool: "whoami"}, checkNobody},
			slow,
		}
	case localName:
		return []step{echo, {agent.Call{Tool: "look"}, checkView}, slow}
	case ticketsName:
		return []step{
			{agent.Call{Tool: "list", Arguments: agent.RawObject(`{"state":"done"}`)}, checkTickets},
			{agent.Call{Tool: "whoami"}, checkKeyOf(ticketsName)},
		}
	}
	return []step{
		{agent.Call{Tool: "search", Arguments: agent.RawObject(`{"query":"vpn"}`)}, checkSearch},
		{agent.Call{Tool: "whoami"}, checkKeyOf(notesName)},
	}
}

func checkEcho(_ *round, result *mcp.CallToolResult, _ *progress, _ time.Time) (string, error) {
	if textOf(result) != "hello" || !strings.Contains(string(result.RawStructuredContent), "9007199254740993") {
		return "", fmt.Errorf("%w: the echo differs", ErrProof)
	}
	return "came back as sent, the number 2^53+1 too", nil
}

func checkNobody(_ *round, result *mcp.CallToolResult, _ *progress, _ time.Time) (string, error) {
	report, err := reportOf(result)
	if err != nil || len(report.Credentials) > 0 {
		return "", fmt.Errorf("%w: a credential reached the diagnostic server", ErrProof)
	}
	return "no credential reached it", nil
}

func checkKeyOf(server string) func(*round, *mcp.CallToolResult, *progress, time.Time) (string, error) {
	return func(r *round, result *mcp.CallToolResult, _ *progress, _ time.Time) (string, error) {
		report, err := reportOf(result)
		if err != nil {
			return "", err
		}
		if r.keys == nil {
			r.keys = make(map[string]string)
		}
		r.keys[server] = report.Credentials["Authorization"]
		return "Authorization " + r.keys[server], nil
	}
}

func checkTickets(_ *round, result *mcp.CallToolResult, _ *progress, _ time.Time) (string, error) {
	if !strings.Contains(textOf(result), "Staging certificate") {
		return "", fmt.Errorf("%w: the ticket was not found", ErrProof)
	}
	return strings.TrimSpace(textOf(result)), nil
}

func checkView(r *round, result *mcp.CallToolResult, _ *progress, _ time.Time) (string, error) {
	r.view = new(diag.View)
	if err := json.Unmarshal(result.RawStructuredContent, r.view); err != nil {
		return "", fmt.Errorf("read the answer of look: %w", err)
	}
	return fmt.Sprintf("%s; %d processes; %d files of the demo", strings.Join(r.view.Environment, " "), r.view.Processes, len(r.view.Visible)), nil
}

func checkSearch(_ *round, result *mcp.CallToolResult, _ *progress, _ time.Time) (string, error) {
	if !strings.Contains(textOf(result), "vpn") {
		return "", fmt.Errorf("%w: the note was not found", ErrProof)
	}
	return strings.TrimSpace(textOf(result)), nil
}

// checkProgress makes sure that progress came while the call ran, and not at its end.
func checkProgress(_ *round, _ *mcp.CallToolResult, p *progress, start time.Time) (string, error) {
	took := time.Since(start)
	if len(p.arrived) != slowSteps {
		return "", fmt.Errorf("%w: %d of %d progress notifications arrived", ErrProof, len(p.arrived), slowSteps)
	}
	first := (<-p.arrived).Sub(start)
	if first > took*2/3 {
		return "", fmt.Errorf("%w: progress came %s into a call of %s: %w", ErrProof, first, took, errLate)
	}
	return fmt.Sprintf("streamed: %d progress events, the first after %.0f ms", slowSteps, ms(first)), nil
}

// errLate is progress that came at the end of its call.
var errLate = errors.New("something buffers")

func textOf(result *mcp.CallToolResult) string {
	var text strings.Builder
	for _, content := range result.Content {
		if t, ok := content.(mcp.TextContent); ok {
			text.WriteString(t.Text)
		}
	}
	return text.String()
}

func reportOf(result *mcp.CallToolResult) (diag.Report, error) {
	var report diag.Report
	if err := json.Unmarshal(result.RawStructuredContent, &report); err != nil {
		return report, fmt.Errorf("read the answer of whoami: %w", err)
	}
	return report, nil
}

// nextCall waits until gateway and connector have both logged the call that has just ended.
func (d *Demo) nextCall(ctx context.Context) (CallSeen, error) {
	timer := time.NewTimer(joinTimeout)
	defer timer.Stop()
	select {
	case c := <-d.ownCalls:
		return c, nil
	case <-ctx.Done():
		return CallSeen{}, ctx.Err()
	case <-timer.C:
		return CallSeen{}, fmt.Errorf("%w: gateway and connector have not both logged it", ErrProof)
	}
}

// drainCalls forgets calls that nobody waits for any more, such as the goodbye of an agent.
func (d *Demo) drainCalls() {
	for {
		select {
		case <-d.ownCalls:
		default:
			return
		}
	}
}
