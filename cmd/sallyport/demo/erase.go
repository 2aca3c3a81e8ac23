package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"sallyport.dev/audit"
	"sallyport.dev/cmd/sallyport/agent"
)

// tryErasing makes sure that the tool which policy denies is not in the list, that a call of it comes to nothing, and that the
// audit log says so.
func (r *round) tryErasing(ctx context.Context, a *agent.Agent, tools []mcp.Tool) error {
	if slices.ContainsFunc(tools, func(t mcp.Tool) bool { return t.Name == eraseTool }) {
		return fmt.Errorf("%w: the list shows a tool that policy denies", ErrProof)
	}
	r.timings[len(r.timings)-1].note += "; " + eraseTool + " is not in the list, since policy denies it"
	start := time.Now()
	_, err := a.Call(ctx, agent.Call{Tool: eraseTool})
	var failure *agent.Failure
	if !errors.As(err, &failure) || failure.Reason != "denied" {
		return fmt.Errorf("%w: a tool that policy denies was not refused: %w", ErrProof, err)
	}
	took := time.Since(start)
	seen, err := r.demo.nextCall(ctx)
	if err != nil {
		return err
	}
	r.timings = append(r.timings, timing{server: notesName, call: eraseTool, agent: ms(took), gateway: seen.Gateway, connector: seen.Connector, note: "denied by " + seen.Rule + "; the server got nothing"})
	r.denied, err = r.demo.auditedDenial(ctx)
	return err
}

// auditedDenial waits for the line of the audit log about the denied call, which is written when the call has ended.
func (d *Demo) auditedDenial(ctx context.Context) (line string, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		file, err := os.Open(audit.Config{Mode: audit.BestEffort}.Path(d.connectorState()))
		if err != nil {
			return "", err
		}
		err = audit.Scan(file, func(text []byte) error {
			if r, err := audit.ParseRecord(text); err == nil && r.Event.Tool == eraseTool {
				e := &r.Event
				line = fmt.Sprintf("line %d: %s %s %s at %s by %s, rule %s; chained to the line before (sha256:%s…)", r.Seq, e.Decision, e.Method, e.Tool, e.Server, e.Subject, e.Rule, r.Prev[:8])
			}
			return nil
		})
		_ = file.Close() // it was only read
		if err != nil || line != "" {
			tick.Stop()
			return line, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return "", fmt.Errorf("%w: the audit log has no line about the denied call", ErrProof)
		}
	}
}
