package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/cmd/sallyport/demo"
)

// stayUp runs the demo until it is told to end. For people it prints a line a call, for scripts one line in all.
func stayUp(cmd *cobra.Command, cfg demo.Config, asJSON bool) error {
	out := &lockedWriter{w: cmd.OutOrStdout()}
	if !asJSON {
		cfg.Calls = func(c demo.CallSeen) { demo.PrintCall(out, time.Now(), c) }
	}
	d, err := demo.New(cfg)
	if err != nil {
		return err
	}
	defer d.Close()
	ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), d.Close)
	defer stop()
	return d.Stay(ctx, func() error {
		if asJSON {
			return d.PrintJSON(out)
		}
		return d.PrintCard(out, os.Args[0])
	})
}

// demoError tells wrong usage from a demo that failed.
func demoError(err error) error {
	if errors.Is(err, demo.ErrListen) || errors.Is(err, demo.ErrCollector) {
		return err
	}
	return failed(err)
}

// lockedWriter keeps lines of calls that end together apart.
type lockedWriter struct {
	mu sync.Mutex // held during a write
	w  io.Writer
}

// Write implements io.Writer.
func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
