package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"sallyport.dev/gateway"
)

func newRotateKey() *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "rotate-key -c FILE",
		Short: "Replace the key by which the gateway vouches for callers",
		Long: `Makes a new key for the assertions by which a gateway tells connectors who calls. The gateway that runs on
this file signs with it within 2 s, and connectors get it as they meet it: no call is dropped. What the
old key has signed is good for 30 s more.

Run it as root or as the user that the gateway runs as.`,
		Example: "  sallyport gateway rotate-key -c /etc/sallyport/gateway.yaml",
		Args:    exactArgs(0, 0),
	}
	flags.addFile(cmd, "gateway.yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg := gateway.Config{}
		if err := flags.load(cmd, &cfg); err != nil {
			return err
		}
		if err := cfg.Validate(); err != nil {
			return flags.inFile(err)
		}
		id, err := gateway.RotateKey(cfg.StateDir)
		if errors.Is(err, fs.ErrNotExist) {
			return failed(fmt.Errorf("there is no key in %s yet: the gateway makes it when it first starts", cfg.StateDir))
		}
		if err != nil {
			return failed(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "the gateway vouches for callers with key %s now\n", id)
		return nil
	}
	return cmd
}
