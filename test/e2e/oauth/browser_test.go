package oauth_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// browser is what a user signs in with: it keeps cookies and follows where it
// is sent. The provider takes the user's name from it instead of a form.
type browser struct {
	user   string
	client *http.Client
}

// newBrowser returns a browser that trusts the CAs in a file.
func newBrowser(user, ca string) (*browser, error) {
	roots, err := pool(ca)
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &browser{user: user, client: &http.Client{
		Jar:       jar,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		Timeout:   patience,
	}}, nil
}

// visit opens a URL and follows redirects until the browser is sent to
// something below stop, which it returns. Without a stop it goes to the end.
func (b *browser) visit(ctx context.Context, at, stop string) (*url.URL, error) {
	c := *b.client
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if stop != "" && strings.HasPrefix(r.URL.String(), stop) || len(via) > 10 {
			return http.ErrUseLastResponse
		}
		return nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-User", b.user)
	resp, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return nil, err
	}
	if stop == "" && resp.StatusCode == http.StatusOK {
		return resp.Request.URL, nil
	}
	to, err := resp.Location()
	if err != nil || stop == "" || !strings.HasPrefix(to.String(), stop) {
		return nil, fmt.Errorf("the browser ends at %s with %s: %s", resp.Request.URL, resp.Status, page)
	}
	if failed := to.Query().Get("error"); failed != "" {
		return nil, fmt.Errorf("the provider refuses: %s: %s", failed, to.Query().Get("error_description"))
	}
	return to, nil
}

// What makes this binary the browser that a command opens: its user, and the
// file of the CAs that it trusts. The URL is its argument.
const (
	browserUserVar = "OAUTH_BROWSER_USER"
	browserCAVar   = "OAUTH_BROWSER_CA"
)

// playBrowser is the whole process, if the environment makes it a browser.
func playBrowser() {
	user := os.Getenv(browserUserVar)
	if user == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b, err := newBrowser(user, os.Getenv(browserCAVar))
	for at := os.Args[len(os.Args)-1]; err == nil; {
		_, err = b.visit(ctx, at, "")
		refused, ok := errors.AsType[*url.Error](err)
		if !ok || !errors.Is(err, syscall.ECONNREFUSED) || ctx.Err() != nil {
			break
		}
		// Some commands listen only when the browser is open, for which no user is too quick.
		at, err = refused.URL, nil
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
