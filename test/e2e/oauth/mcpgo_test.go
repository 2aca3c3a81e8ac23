package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	mcpclient "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
)

type mcpGoCaller struct{ *mcpclient.Client }

func (c mcpGoCaller) close() error { return c.Close() }

func (c mcpGoCaller) echo(ctx context.Context, text string) (string, error) {
	var do mcp.CallToolRequest
	do.Params.Name, do.Params.Arguments = "echo", map[string]any{"text": text}
	result, err := c.CallTool(ctx, do)
	if err != nil {
		return "", err
	}
	if len(result.Content) == 1 && !result.IsError {
		if got, ok := result.Content[0].(mcp.TextContent); ok {
			return got.Text, nil
		}
	}
	return "", errors.New("the result is no text")
}

// errNotOffered says that a client has no such way to sign in.
var errNotOffered = errors.New("the client does not offer it")

// dialMCPGo does what mcp-go leaves to the application: it registers, opens
// the browser, and asks for scopes that it knows by itself.
func dialMCPGo(ctx context.Context, t *testing.T, to signIn) (caller, error) {
	config := transport.OAuthConfig{RedirectURI: redirect, Scopes: to.needed(to.server), PKCEEnabled: true, HTTPClient: to.client}
	switch to.by {
	case dynamic:
	case document: // the URL is the client's id like any other
		config.ClientID = to.library.publish(t, to.user, redirect)
	case public:
		config.ClientID = publicClient
	case confidential:
		config.ClientID, config.ClientSecret = secretClient, clientSecret
	default:
		return nil, fmt.Errorf("%s: %w", to.by, errNotOffered)
	}
	c, err := mcpclient.NewOAuthStreamableHttpClient(to.target(), config,
		transport.WithHTTPBasicClient(to.client), transport.WithHTTPLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	var init mcp.InitializeRequest
	init.Params.ProtocolVersion = "2025-11-25"
	init.Params.ClientInfo = mcp.Implementation{Name: "mcp-go client", Version: "1"}
	_, err = c.Initialize(ctx, init)
	if mcpclient.IsOAuthAuthorizationRequiredError(err) {
		if err = authorizeMCPGo(ctx, mcpclient.GetOAuthHandler(err), to, to.browser(t)); err == nil {
			_, err = c.Initialize(ctx, init)
		}
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return mcpGoCaller{c}, nil
}

func authorizeMCPGo(ctx context.Context, h *transport.OAuthHandler, to signIn, user *browser) error {
	if to.by == dynamic {
		if err := h.RegisterClient(ctx, to.user); err != nil {
			return err
		}
	}
	verifier, err := mcpclient.GenerateCodeVerifier()
	if err != nil {
		return err
	}
	state, err := mcpclient.GenerateState()
	if err != nil {
		return err
	}
	at, err := h.GetAuthorizationURL(ctx, state, mcpclient.GenerateCodeChallenge(verifier))
	if err != nil {
		return err
	}
	back, err := user.visit(ctx, at, redirect)
	if err != nil {
		return err
	}
	return h.ProcessAuthorizationResponse(ctx, back.Query().Get("code"), back.Query().Get("state"), verifier)
}
