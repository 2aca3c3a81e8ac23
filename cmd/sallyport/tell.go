package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"golang.org/x/net/http/httpproxy"

	"sallyport.dev/telemetry"
)

// tell sets up what a role tells of itself, by its file and the OTEL_ variables. HTTPS_PROXY and NO_PROXY count for the way to a
// collector. scraped says that
// somebody can ask for its metrics.
func tell(ctx context.Context, cfg telemetry.Config, role string, scraped bool, log *slog.Logger) (*telemetry.Telemetry, error) {
	telemetry.Quiet()
	proxy := httpproxy.FromEnvironment().ProxyFunc()
	return telemetry.Setup(ctx, cfg, telemetry.Options{
		Role: role, Version: versionText(), Instance: rand.Text(), Log: log, Getenv: os.Getenv, Scraped: scraped,
		Proxy: func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
	})
}
