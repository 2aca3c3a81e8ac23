package connector

import (
	"context"

	"sallyport.dev/connector/pins"
	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
)

// methodListTools is the request whose answers are pinned.
const methodListTools = "tools/list"

// unknownCursor stands for that of a request that is not known. It is one that no list was followed to.
const unknownCursor = "\x00"

// pinsOf is what happens with tools of a server that are not the pinned ones. Without a state_dir there is nowhere to pin.
func (c *Connector) pinsOf(s *Server) pins.Mode {
	switch {
	case c.pins == nil:
		return pins.Off
	case s.Pins == "" && s.isDatabase():
		return pins.Off
	case s.Pins == "":
		return pins.Report
	}
	return s.Pins
}

// listRules say what becomes of an answer, and of the lists in it: a decision service may have the last word on all of it, what the caller may not use is taken out, and what is not as pinned is
// told, and taken out under quarantine.
func (c *Connector) listRules(ctx context.Context, n *note) mcp.ListRules {
	rules := mcp.ListRules{Keep: n.keep, Answer: n.answerCheck(ctx)}
	mode := c.pinsOf(&n.upstream.cfg)
	if mode == pins.Off {
		return rules
	}
	rules.Tolerant = mode == pins.Report && n.keep == nil && rules.Answer == nil
	rules.Page = func(p mcp.ListPage) []bool {
		if p.Method != methodListTools {
			return nil
		}
		page := pins.Page{Cursor: p.Cursor, Next: p.Next}
		if !p.Known {
			page.Cursor = unknownCursor
		}
		for _, e := range p.Elements {
			page.Tools = append(page.Tools, pins.Definition{Name: e.Name, Raw: e.Raw})
		}
		states, findings := c.pins.Observe(n.server, page)
		for _, f := range findings {
			c.log.WarnContext(ctx, "a tool is not as pinned", telemetry.KeyServer, n.server, telemetry.KeyTool, f.Tool, "finding", f.Kind, telemetry.KeyReason, f.Text, "quarantined", mode == pins.Quarantine,
				telemetry.KeyHint, "see sallyport pins diff; sallyport pins accept takes it over")
		}
		if mode != pins.Quarantine {
			return nil
		}
		stay := make([]bool, len(states))
		for i, state := range states {
			stay[i] = state == pins.Pinned
		}
		return stay
	}
	return rules
}

// quarantined refuses a call of a tool that is not the pinned one, if its server's configuration says so.
func (c *Connector) quarantined(n *note, cfg *Server, m mcp.Message) *mcp.Error {
	if m.Method != "tools/call" || c.pinsOf(cfg) != pins.Quarantine {
		return nil
	}
	state := c.pins.Status(n.server, m.Name)
	if state == pins.Pinned {
		return nil
	}
	return mcp.ToolQuarantined(state.Reason())
}
