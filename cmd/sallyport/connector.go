package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpproxy"

	"sallyport.dev/cmd/sallyport/heap"
	"sallyport.dev/connector"
)

func newConnector() *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "connector -c FILE",
		Short: "Run the private side: it dials the gateway and calls your servers",
		Long: `Runs a connector until SIGTERM, SIGINT or SIGHUP: then calls in flight get 30 s, and it exits 0. A second
signal exits at once. The log, on standard error, says where it is attached and over what; SIGUSR1 makes
it say a step more, down to debug, and SIGUSR2 sets it back.

A change of the file, of a secret or of a certificate counts within seconds, and ends no call; a file
that cannot be used changes nothing, and the log says which line. How the gateway is reached,
whatever starts a command, and telemetry but for the log's level, is read at the start only.

HTTPS_PROXY and NO_PROXY count for the tunnel over TCP, never for your servers. --check validates
the file, fetches every credential, tries how local servers can be kept apart, and says what is
open; it dials neither the gateway nor your servers, and starts none.`,
		Example: "  sallyport connector -c /etc/sallyport/connector.yaml --check\n  sallyport connector -c /etc/sallyport/connector.yaml",
		Args:    exactArgs(0, 0),
	}
	flags.addTo(cmd, "connector.yaml")
	cmd.AddCommand(newConnectorStatus())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg := connector.Config{}
		if err := flags.load(cmd, &cfg); err != nil {
			return err
		}
		log, err := flags.open(cmd, cfg.Telemetry)
		if err != nil {
			return err
		}
		defer log.flush()
		told, err := log.tell(cmd.Context(), cfg.Telemetry, "connector", cfg.ControlSocket() != "")
		if err != nil {
			return flags.inFile(err)
		}
		defer told.Shutdown()
		cfg.Logger, cfg.Version = log.logger("connector"), versionText()
		cfg.Tracer, cfg.Meter, cfg.Metrics, cfg.OnAudit = told.Tracer, told.Meter, told.Metrics(), told.Audit
		if cfg.File, err = filepath.Abs(flags.path); err != nil {
			return err
		}
		cfg.Proxy = httpproxy.FromEnvironment().ProxyFunc()
		c, err := connector.New(cfg)
		if err != nil {
			return flags.inFile(err)
		}
		if flags.check {
			told.Discard()
			defer c.Close()
			facts, errs := c.Check(cmd.Context())
			if err := flags.inFile(errs...); err != nil {
				return err
			}
			flags.report(cmd, slices.Concat(connectorFacts(cfg), told.Facts(), facts), append(told.Warnings(), c.Warnings()...))
			return nil
		}
		log.begin(cfg.Logger, told)
		defer log.onSignals()()
		ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), log.flush)
		defer stop()
		defer heap.Floor()()
		fresh := make(chan struct{})
		ctx, end := context.WithCancel(ctx)
		go func() {
			defer close(fresh)
			keepFresh(ctx, flags.path, cfg, c, log)
		}()
		err = c.Run(ctx)
		end()
		<-fresh
		return failed(err)
	}
	return cmd
}

// connectorFacts says what the connector dials, and what agents can reach through it.
func connectorFacts(cfg connector.Config) []string {
	facts := []string{fmt.Sprintf("dials %s (transport %s, %d sessions); listens on no port", cfg.Gateway, cfg.Transport, cfg.Connections)}
	for _, name := range slices.Sorted(maps.Keys(cfg.Servers)) {
		s := cfg.Servers[name]
		if len(s.Command) > 0 {
			facts = append(facts, fmt.Sprintf("server %s: the local command %q, %d variables, network %s", name, s.Command[0], len(s.Env), cmp.Or(s.Network, "host")))
			continue
		}
		urls := strings.Join(slices.DeleteFunc([]string{s.URL, s.SSEURL}, func(u string) bool { return u == "" }), " and ")
		facts = append(facts, fmt.Sprintf("server %s: %s, %d credentials", name, urls, len(s.Credentials)))
	}
	return facts
}
