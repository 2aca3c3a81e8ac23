package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/cmd/sallyport/agent"
	"sallyport.dev/secret"
)

// tokenVariable is the environment variable with the agent's token.
const tokenVariable = "SALLYPORT_TOKEN"

// clientFlags are the flags of the commands that call a server.
type clientFlags struct {
	token, tokenFile, ca string
	json                 bool
	timeout              time.Duration
}

func (f *clientFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.token, "token", "", "the agent's token; other users of the machine can see it: prefer --token-file or "+tokenVariable)
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file with the agent's token")
	cmd.Flags().StringVar(&f.ca, "ca", "", "file with CA certificates in PEM to trust beside the system's")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result as the JSON that the server sent")
	cmd.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "how long one request may take")
	cmd.MarkFlagsMutuallyExclusive("token", "token-file")
}

// dial connects to the server of the URL.
func (f *clientFlags) dial(ctx context.Context, url string) (*agent.Agent, error) {
	if f.timeout <= 0 {
		return nil, errors.New("--timeout: write a duration above zero, such as 30s")
	}
	token, err := f.resolveToken()
	if err != nil {
		return nil, err
	}
	a, err := agent.Dial(ctx, agent.Config{URL: url, Token: token, CAFile: f.ca, Timeout: f.timeout, Version: versionText()})
	if errors.Is(err, agent.ErrURL) || errors.Is(err, agent.ErrPlaintext) || errors.Is(err, agent.ErrCAFile) {
		return nil, err
	}
	return a, failed(err)
}

// resolveToken takes the token from where it is given; none at all is allowed, for servers that ask for none.
func (f *clientFlags) resolveToken() (secret.Value, error) {
	if f.token != "" {
		return secret.New(f.token), nil
	}
	if f.tokenFile == "" {
		return secret.New(os.Getenv(tokenVariable)), nil
	}
	path, err := filepath.Abs(f.tokenFile)
	if err != nil {
		return secret.Value{}, fmt.Errorf("--token-file: %w", err)
	}
	ref, err := secret.ParseRef("file:" + path)
	if err != nil {
		return secret.Value{}, fmt.Errorf("--token-file: %w", err)
	}
	token, err := ref.Resolve()
	if err != nil {
		return token, fmt.Errorf("--token-file: %w", err)
	}
	return token, nil
}
