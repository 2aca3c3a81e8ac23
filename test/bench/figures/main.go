// Command figures measures what a call costs: it runs a canned backend, a one-hop reverse proxy, and gateway and connector
// over each transport, each as a process of its own, loads them in turn, and writes docs/performance.md. It does not know
// what numbers are good enough; a reader compares them with those of the proxy in the same run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sallyport.dev/cell"
)

// roleArgument is the first argument of a child process: this program, in one role.
const roleArgument = "role"

func main() {
	cell.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// command is the program; standard input and output carry orders and answers when it is a child.
func command(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 1 && args[0] == roleArgument {
		return serveRole(ctx, in, out)
	}
	if len(args) == 1 && args[0] == echoArgument {
		return echo(in, out)
	}
	plan := plan{rounds: 24, agents: 64, load: 400 * time.Millisecond, single: 100 * time.Millisecond, streams: 10, idle: 1800}
	var report string
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	flags.IntVar(&plan.rounds, "rounds", plan.rounds, "interleaved rounds; the quieter half counts")
	flags.IntVar(&plan.agents, "agents", plan.agents, "concurrent agents under load")
	flags.DurationVar(&plan.load, "load", plan.load, "how long each path is loaded in a round")
	flags.IntVar(&plan.idle, "idle", plan.idle, "silent event streams to open over each transport; 0 leaves them out")
	flags.StringVar(&plan.profiles, "profiles", "", "folder for pprof profiles of gateways and connectors")
	flags.StringVar(&report, "o", "", "file for the report, such as docs/performance.md")
	if err := flags.Parse(args); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	results, err := plan.run(ctx, self)
	if err != nil {
		return err
	}
	parts, err := plan.measureParts(ctx, self)
	if err != nil {
		return err
	}
	results, strangers := quietest(results)
	if err := writeTables(out, results); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s", idleTable(results))
	fmt.Fprintf(out, "\n%s", parts.local.table(plan.agents))
	fmt.Fprintf(out, "\n%s", parts.credentials.table(plan.agents))
	fmt.Fprintf(out, "\n%s", parts.decisions.table())
	fmt.Fprintf(out, "\n%s", parts.telling.table())
	fmt.Fprintf(out, "\n%d rounds counted; in them other processes took at most %.0f %% of the machine\n", len(results[0].samples), 100*strangers)
	if report == "" {
		return nil
	}
	return writeReport(report, plan, results, parts, strangers)
}
