package diag

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

const (
	maxSeconds  = 60
	maxSteps    = 1000
	maxMessages = 10_000
	maxInterval = 10_000 // milliseconds

	// blockedRetry is how long to wait when the library's queue of notifications is full: it drops what does not fit.
	blockedRetry = time.Millisecond

	// settle is the pause between the last notification and the result. The library's forwarder drops a notification
	// that it holds when the result overtakes it (mcp-go v1.2.1, streamable_http.go, handlePost).
	settle = 20 * time.Millisecond
)

// echo returns its arguments byte for byte as structured content, and the text alone as text.
func echo() server.ServerTool {
	return server.ServerTool{
		Tool: mcp.NewTool("echo",
			mcp.WithDescription("Returns what it was sent.\nThe argument text comes back as text, all arguments as structured content."),
			mcp.WithString("text", mcp.Description("Any text.")),
			mcp.WithSchemaAdditionalProperties(true),
			mcp.WithReadOnlyHintAnnotation(true),
		),
		Handler: func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			raw, ok := r.GetRawArguments().(json.RawMessage)
			if !ok || len(raw) == 0 {
				raw = json.RawMessage("{}")
			}
			return mcp.NewToolResultStructured(raw, r.GetString("text", string(raw))), nil
		},
	}
}

// slow takes a while and reports progress, unless it is cancelled.
func slow(s *server.MCPServer) server.ServerTool {
	return server.ServerTool{
		Tool: mcp.NewTool("slow",
			mcp.WithDescription("Takes a while, and reports progress if the caller wants it."),
			mcp.WithNumber("seconds", mcp.Required(), mcp.Description("How long in all, 0 to 60; fractions are allowed."), mcp.Min(0), mcp.Max(maxSeconds)),
			mcp.WithInteger("steps", mcp.Description("In how many steps, 1 to 1000. Default 5."), mcp.Min(1), mcp.Max(maxSteps)),
			mcp.WithReadOnlyHintAnnotation(true),
		),
		Handler: func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			seconds, steps := r.GetFloat("seconds", -1), r.GetInt("steps", 5)
			if !(seconds >= 0 && seconds <= maxSeconds) || steps < 1 || steps > maxSteps {
				return mcp.NewToolResultErrorf("seconds must be 0 to %d and steps 1 to %d", maxSeconds, maxSteps), nil
			}
			step := time.Duration(seconds * float64(time.Second) / float64(steps))
			for i := range steps {
				if err := wait(ctx, step); err != nil {
					return nil, fmt.Errorf("cancelled after %d of %d steps: %w", i, steps, err)
				}
				if err := progress(ctx, s, r, i+1, steps); err != nil {
					return nil, err
				}
			}
			if err := wait(ctx, settle); err != nil {
				return nil, err
			}
			return mcp.NewToolResultText(fmt.Sprintf("done: %d steps in %g s", steps, seconds)), nil
		},
	}
}

// stream sends messages one by one and then its result.
func stream(s *server.MCPServer) server.ServerTool {
	return server.ServerTool{
		Tool: mcp.NewTool("stream",
			mcp.WithDescription("Sends messages and progress one by one, then a result.\nLog messages need a log level since MCP 2026-07-28; progress needs a progress token."),
			mcp.WithInteger("count", mcp.Required(), mcp.Description("How many messages, 1 to 10000."), mcp.Min(1), mcp.Max(maxMessages)),
			mcp.WithInteger("interval_ms", mcp.Description("Milliseconds before each, 0 to 10000. Default 100."), mcp.Min(0), mcp.Max(maxInterval)),
			mcp.WithReadOnlyHintAnnotation(true),
		),
		Handler: func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			count, interval := r.GetInt("count", 0), r.GetInt("interval_ms", 100)
			if count < 1 || count > maxMessages || interval < 0 || interval > maxInterval {
				return mcp.NewToolResultErrorf("count must be 1 to %d and interval_ms 0 to %d", maxMessages, maxInterval), nil
			}
			for i := range count {
				if err := wait(ctx, time.Duration(interval)*time.Millisecond); err != nil {
					return nil, fmt.Errorf("cancelled after %d of %d messages: %w", i, count, err)
				}
				if err := message(ctx, s, fmt.Sprintf("message %d of %d", i+1, count)); err != nil {
					return nil, err
				}
				if err := progress(ctx, s, r, i+1, count); err != nil {
					return nil, err
				}
			}
			if err := wait(ctx, settle); err != nil {
				return nil, err
			}
			return mcp.NewToolResultText(fmt.Sprintf("sent %d messages", count)), nil
		},
	}
}

// wait waits d, or until the caller has left or cancelled.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// progress reports a step, if the request carries a progress token (MCP, basic utilities, progress).
func progress(ctx context.Context, s *server.MCPServer, r mcp.CallToolRequest, done, total int) error {
	if r.Params.Meta == nil || r.Params.Meta.ProgressToken == nil {
		return nil
	}
	return insist(ctx, func() error {
		return s.SendNotificationToClient(ctx, string(mcp.MethodNotificationProgress), map[string]any{
			"progressToken": r.Params.Meta.ProgressToken,
			"progress":      done,
			"total":         total,
			"message":       fmt.Sprintf("step %d of %d", done, total),
		})
	})
}

// message sends a log message. Since 2026-07-28 a request has to ask for them; before, a server may choose as long as no
// level was set, and this one sends all.
func message(ctx context.Context, s *server.MCPServer, text string) error {
	if server.IsModernRequest(ctx) {
		return insist(ctx, func() error {
			return s.SendLogMessageToClient(ctx, mcp.NewLoggingMessageNotification(mcp.LoggingLevelInfo, "diag", text))
		})
	}
	return insist(ctx, func() error {
		return s.SendNotificationToClient(ctx, "notifications/message", map[string]any{
			"level": mcp.LoggingLevelInfo, "logger": "diag", "data": text,
		})
	})
}

// insist repeats send while the queue is full.
func insist(ctx context.Context, send func() error) error {
	for {
		err := send()
		if !errors.Is(err, server.ErrNotificationChannelBlocked) {
			return err
		}
		if err := wait(ctx, blockedRetry); err != nil {
			return err
		}
	}
}
