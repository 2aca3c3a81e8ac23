package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

type goCaller struct{ *mcp.ClientSession }

func (c goCaller) close() error { return c.Close() }

func (c goCaller) echo(ctx context.Context, text string) (string, error) {
	result, err := c.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": text}})
	if err != nil {
		return "", err
	}
	if len(result.Content) == 1 && !result.IsError {
		if got, ok := result.Content[0].(*mcp.TextContent); ok {
			return got.Text, nil
		}
	}
	return "", errors.New("the result is no text")
}

// connectGoSDK makes go-sdk the client over a transport.
func connectGoSDK(ctx context.Context, over mcp.Transport) (caller, error) {
	session, err := mcp.NewClient(&mcp.Implementation{Name: "go-sdk client", Version: "1"}, nil).Connect(ctx, over, nil)
	if err != nil {
		return nil, err
	}
	return goCaller{session}, nil
}

func dialGoSDK(ctx context.Context, t *testing.T, to signIn) (caller, error) {
	handler, err := goSDKHandler(t, to)
	if err != nil {
		return nil, err
	}
	return connectGoSDK(ctx, &mcp.StreamableClientTransport{Endpoint: to.target(), HTTPClient: to.client, OAuthHandler: handler, DisableStandaloneSSE: true})
}

// goSDKHandler is what gets go-sdk's client its tokens.
func goSDKHandler(t *testing.T, to signIn) (auth.OAuthHandler, error) {
	user := to.browser(t)
	secret := &oauthex.ClientCredentials{ClientID: secretClient, ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: clientSecret}}
	config := &auth.AuthorizationCodeHandlerConfig{
		RedirectURL: redirect, Client: to.client, RequestRefreshToken: true,
		AuthorizationCodeFetcher: func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			at, err := user.visit(ctx, args.URL, redirect)
			if err != nil {
				return nil, err
			}
			q := at.Query()
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		},
	}
	switch to.by {
	case dynamic:
		config.DynamicClientRegistrationConfig = &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: to.user, RedirectURIs: []string{redirect},
			GrantTypes: []string{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none",
		}}
	case document:
		config.ClientIDMetadataDocumentConfig = &auth.ClientIDMetadataDocumentConfig{URL: to.library.publish(t, to.user, redirect)}
	case public:
		config.PreregisteredClient = &oauthex.ClientCredentials{ClientID: publicClient, Issuer: to.provider.issuer}
	case confidential:
		config.PreregisteredClient = secret
	case unattended:
		return extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{Credentials: secret, HTTPClient: to.client})
	default:
		return nil, fmt.Errorf("there is no %q", to.by)
	}
	return auth.NewAuthorizationCodeHandler(config)
}
