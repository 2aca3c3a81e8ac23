package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal returns a context that ends with the first SIGINT, SIGTERM or SIGHUP, so that a role drains. The second
// one ends the process at once, after last, if there is any; but not a second SIGHUP, of which a closing terminal may
// send several. Under nohup SIGHUP stays ignored. A reader of our output that leaves does not end the process: writing
// to it fails, and the role goes on or cleans up.
func untilSignal(ctx context.Context, errOut io.Writer, last func()) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel()
		case <-done:
			return
		}
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGHUP {
					continue
				}
				fmt.Fprintf(errOut, "sallyport: second signal (%s): exiting at once, calls in flight are cut\n", s)
				if last != nil {
					last()
				}
				os.Exit(exitFailed)
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
