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
and it exits 0. A second signal exits at once. The log goes to standard error; SIGUSR1 makes it say a
step more, down to debug, and SIGUSR2 sets it back.

--check validates the file, reads its secrets and certificates, and says what is open. Run it as
the user that the gateway runs as: it makes the keys that state_dir still lacks.`,
		Example: "  sallyport gateway -c /etc/sallyport/gateway.yaml --check\n  sallyport gateway -c /etc/sallyport/gateway.yaml --log-format json",
		Args:    exactArgs(0, 0),
	}
	flags.addTo(cmd, "gateway.yaml")
	cmd.AddCommand(newRotateKey())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg := gateway.Config{}
		if err := flags.load(cmd, &cfg); err != nil {
			return err
		}
		log, err := flags.open(cmd, cfg.Telemetry)
		if err != nil {
			return err
		}
		defer log.flush()
		told, err := log.tell(cmd.Context(), cfg.Telemetry, "gateway", cfg.Health.Listen != "")
		if err != nil {
			return flags.inFile(err)
		}
		defer told.Shutdown()
		cfg.Logger, cfg.Version = log.logger("gateway"), versionText()
		cfg.Tracer, cfg.Meter, cfg.Metrics, cfg.OnAudit = told.Tracer, told.Meter, told.Metrics(), told.Audit
		g, err := gateway.New(cfg)
		if err != nil {
			return flags.inFile(err)
		}
		if flags.check {
			told.Discard()
			flags.report(cmd, append(told.Facts(), g.Open()...), append(told.Warnings(), g.Warnings()...))
			return nil
		}
		if ca := g.CAFile(); ca != "" {
			cfg.Logger.Info("self-signed certificate", "names", fmt.Sprint(g.Names()), telemetry.KeyPath, ca)
		}
		log.begin(cfg.Logger, told)
		for _, w := range g.Warnings() {
			cfg.Logger.Warn("configuration", "warning", w)
		}
		defer log.onSignals()()
		ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), log.flush)
		defer stop()
		defer heap.Floor()()
		return failed(g.Run(ctx))
	}
	return cmd
}
