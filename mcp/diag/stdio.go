package diag

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/mark3labs/mcp-go/server"
)

// ServeStdio serves the tools echo, slow and look over in and out, one message a line, until in or ctx ends. A process serves one conversation in this way, not several at once.
func ServeStdio(ctx context.Context, cfg Config, in io.Reader, out io.Writer, look Look) error {
	s := newServer(cfg, "Diagnostic tools of a local command: echo, slow and look. They touch nothing.")
	s.AddTools(echo(), slow(s), look.tool())
	stdio := server.NewStdioServer(s)
	stdio.SetErrorLogger(log.New(io.Discard, "", 0))
	if err := stdio.Listen(ctx, in, out); err != nil && ctx.Err() == nil {
		return fmt.Errorf("diag: serve over standard input and output: %w", err)
	}
	return nil
}
