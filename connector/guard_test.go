package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/mcp"
	"sallyport.dev/secret"
)

// guardOf is the guard of a server that is quarantined once it sends the secret back.
func guardOf(text string) *guard {
	g := newGuard("wiki", Server{OnReflection: reflectionQuarantine}, slog.New(slog.DiscardHandler))
	g.use(secret.New(text), time.Time{})
	return g
}

// Whether a call may be repeated does not depend on what is masked.
func TestAMaskedErrorSaysWhetherTheCallWasDelivered(t *testing.T) {
	g := guardOf("wiki")
	broken := mcp.UpstreamBroken(fmt.Errorf("the command /opt/wiki/bin has ended: %w", context.Canceled))
	for name, err := range map[string]error{"itself": broken, "wrapped": fmt.Errorf("wiki: %w", broken)} {
		t.Run(name, func(t *testing.T) {
			got := upstreamError(t.Context(), g.clean(err), false)
			if got.Reason != broken.Reason || got.Delivered != mcp.DeliveredUnknown || got.Status != broken.Status || got.Message != broken.Message {
				t.Errorf("got %+v", got)
			}
			if strings.Contains(got.Error(), "wiki") || !errors.Is(got, context.Canceled) {
				t.Errorf("its cause is %v", got.Err)
			}
		})
	}
	if !strings.Contains(broken.Err.Error(), "wiki") {
		t.Error("the error itself was changed")
	}
}

// Our own words may hold a weak secret.
func TestAnErrorIsNoReflection(t *testing.T) {
	g := guardOf("wiki")
	err := g.clean(fmt.Errorf("%w: vault:kv/wiki#token: no answer: %w", credential.ErrUnavailable, context.DeadlineExceeded))
	if g.closed() || g.hits.Load() != 0 {
		t.Error("the server is quarantined for an error of ours")
	}
	if !errors.Is(err, credential.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || !strings.HasSuffix(err.Error(), "vault:kv/****#token: no answer: context deadline exceeded") {
		t.Errorf("got %v", err)
	}
}

func TestAWeakSecretInAHeaderIsNoReflection(t *testing.T) {
	g := guardOf("2026")
	g.watch(t.Context(), &http.Response{Header: http.Header{"Date": {"Thu, 26 Nov 2026 13:56:14 GMT"}, "X-Since": {"2026"}}, Body: http.NoBody}, func() {})
	if g.closed() {
		t.Error("the server is quarantined for the year")
	}
}
