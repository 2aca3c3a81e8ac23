package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sallyport.dev/cmd/sallyport/demo"
	"sallyport.dev/config"
)

func newDemo() *cobra.Command {
	var flags logFlags
	var listen, extra, collector string
	var once, asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run everything on loopback: gateway, connector and private MCP servers",
		Long: `Runs a gateway, a connector that dials it, and private MCP servers that only the connector reaches:
two over HTTP, and this program once more as a local command, kept apart from all the rest. It prints
how to call them. Everything is on loopback; keys and certificates are made for this run in a private
directory that goes when it ends. Where Linux does not let it keep a command apart, and on other
systems, the local one is left out, and the demo says why.

--otlp-endpoint sends a trace of every call, metrics and the log to a collector, which need not take
all three. What a caller says of its own trace counts there.`,
		Example: "  sallyport demo\n  sallyport demo --once\n  sallyport demo --connector-config my-servers.yaml\n  sallyport demo --otlp-endpoint http://127.0.0.1:4318",
		Args:    exactArgs(0, 0),
	}
	flags.add(cmd, "error")
	cmd.Flags().BoolVar(&once, "once", false, "call all servers over QUIC and over TCP, show and check what each hop saw, and exit")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON with servers, token and ca_file when ready")
	cmd.Flags().StringVar(&listen, "listen", "", "the gateway's loopback address (default 127.0.0.1:7443, or any free port)")
	cmd.Flags().StringVar(&extra, "connector-config", "", "partial connector.yaml, with servers, upstream and policy only, to serve as well")
	cmd.Flags().StringVar(&collector, "otlp-endpoint", "", "base URL of an OpenTelemetry collector over HTTP, such as http://127.0.0.1:4318: all calls are traced there")
	cmd.MarkFlagsMutuallyExclusive("once", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if asJSON && !cmd.Flags().Changed("log-level") {
			flags.level = "info"
		}
		log, flush, err := flags.logger(cmd)
		if err != nil {
			return err
		}
		defer flush()
		cfg := demo.Config{Listen: listen, Log: log.Handler(), Version: versionText(), Collector: collector}
		if cfg.CollectorLog, err = flags.collectorLog(cmd); err != nil {
			return err
		}
		if extra != "" {
			cfg.Extra = new(demo.Extra)
			if err := config.Load(extra, cfg.Extra); err != nil {
				return fmt.Errorf("the servers of --connector-config cannot be used:\n%w", err)
			}
		}
		if once {
			ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), nil)
			defer stop()
			return demoError(demo.Once(ctx, cfg, cmd.OutOrStdout()))
		}
		return demoError(stayUp(cmd, cfg, asJSON))
	}
	cmd.AddCommand(newServeStdio())
	return cmd
}
