package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sallyport.dev/cmd/sallyport/heap"
	"sallyport.dev/gateway"
	"sallyport.dev/telemetry"
)

func newGateway() *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "gateway -c FILE",
		Short: "Run the public side: agents call it, connectors dial it",
		Long: `Runs a gateway until SIGTERM, SIGINT or SIGHUP: then new calls are refused, those in flight get 30 s,
and it exits 0. A second signal exits at once. The log goes to standard error.

--check validates the file, reads its secrets and certificates, and says what is open. Run it as
the user that the gateway runs as: it makes the keys that state_dir still lacks.`,
		Example: "  sallyport gateway -c /etc/sallyport/gateway.yaml --check\n  sallyport gateway -c /etc/sallyport/gateway.yaml --log-format json",
		Args:    exactArgs(0, 0),
	}
	flags.addTo(cmd, "gateway.yaml")
	cmd.AddCommand(newRotateKey())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, flush, err := flags.logger(cmd)
		if err != nil {
			return err
		}
		defer flush()
		cfg := gateway.Config{}
		if err := flags.load(cmd, &cfg); err != nil {
			return err
		}
		cfg.Logger, cfg.Version = log.With("role", "gateway"), versionText()
		g, err := gateway.New(cfg)
		if err != nil {
			return flags.inFile(err)
		}
		if flags.check {
			flags.report(cmd, g.Open(), g.Warnings())
			return nil
		}
		if ca := g.CAFile(); ca != "" {
			cfg.Logger.Info("self-signed certificate", "names", fmt.Sprint(g.Names()), telemetry.KeyPath, ca)
		}
		for _, w := range g.Warnings() {
			cfg.Logger.Warn("configuration", "warning", w)
		}
		ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), flush)
		defer stop()
		defer heap.Floor()()
		return failed(g.Run(ctx))
	}
	return cmd
}
