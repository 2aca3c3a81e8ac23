package connector

import (
	"context"
	"fmt"

	"sallyport.dev/auth"
	"sallyport.dev/tunnel"
)

// Describe asks the gateway for the tunnel's name and the servers' URLs, once,
// on a session of its own that attaches nothing: it neither counts towards the
// tunnel's connectors nor gets a call. It may be called whether or not the
// connector runs. An error says what the operator may do.
func (c *Connector) Describe(ctx context.Context) (auth.AttachAnswer, error) {
	answer, err := c.describe(ctx)
	if err == nil {
		return answer, nil
	}
	if advice := hint(err); advice != seeError {
		err = fmt.Errorf("%w: %s", err, advice)
	}
	return answer, err
}

func (c *Connector) describe(ctx context.Context) (auth.AttachAnswer, error) {
	attempt, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s, err := c.dial(attempt, tunnel.Config{Instance: c.instance})
	if err != nil {
		return auth.AttachAnswer{}, fmt.Errorf("dial %s: %w", c.cfg.Gateway, err)
	}
	defer s.CloseWith(tunnel.Reason{Code: tunnel.CodeOK, Text: "described"})
	answer, err := c.introduce(ctx, s, auth.DescribePath)
	if err != nil {
		return answer, fmt.Errorf("describe: %w", err)
	}
	return answer, nil
}
