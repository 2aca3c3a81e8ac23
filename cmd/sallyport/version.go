package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  sallyport version --json",
		Args:    exactArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			if !asJSON {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "sallyport %s (%s, %s)\n", versionText(), runtime.Version(), platform)
				return failed(err)
			}
			return failed(json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{
				"version": versionText(), "go": runtime.Version(), "platform": platform,
			}))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
