package dpop_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth"
)

// TestTargets is about the spellings of the request's URL that a proof may have.
func TestTargets(t *testing.T) {
	p := newProver(t, "EdDSA")
	for _, c := range []struct {
		htu, url string
		same     bool
	}{
		{"https://gw.test/t/acme/wiki", target, true},
		{"HTTPS://gw.test/t/acme/wiki", target, true},
		{"https://GW.Test/t/acme/wiki", target, true},
		{"https://gw.test:443/t/acme/wiki", target, true},
		{"https://gw.test/t/acme/wiki?x=1", target, true},
		{"https://gw.test/t/acme/wiki?", target, true},
		{"https://gw.test/t/acme/wiki?x=%2F&y=/../..", target, true},
		{"https://gw.test/t/acme/wiki#x", target, true},
		{"https://gw.test/t/acme/wiki?x=1#y?z", target, true},
		{"https://gw.test/t/acme/wiki#x?y", target, true},
		{target, "https://gw.test:443/t/acme/wiki", true},
		{"https://gw.test:8443/a", "https://gw.test:8443/a", true},
		{"http://127.0.0.1/a", "http://127.0.0.1:80/a", true},
		{"http://[::1]:8080/a", "http://[::1]:8080/a", true},
		{"https://[2001:DB8::1]/a", "https://[2001:db8::1]:443/a", true},
		{"https://gw.test", "https://gw.test/", true},
		{"https://gw.test?x", "https://gw.test/", true},
		{"https://gw.test/a%2Fb", "https://gw.test/a%2Fb", true},
		{"https://gw.test/A", "https://gw.test/A", true},

		{"", target, false},
		{"http://gw.test/t/acme/wiki", target, false},
		{"http://gw.test:443/t/acme/wiki", target, false},
		{"https://gw.test:80/t/acme/wiki", target, false},
		{"https://gw.test:8443/t/acme/wiki", target, false},
		{"https://gw.test:0443/t/acme/wiki", target, false},
		{"https://gw.test:/t/acme/wiki", target, false},
		{"https://gw.test:443:443/t/acme/wiki", target, false},
		{"https://other.test/t/acme/wiki", target, false},
		{"https://gw.test./t/acme/wiki", target, false},
		{"https://gw.test.evil.test/t/acme/wiki", target, false},
		{"https://evil.test/gw.test/t/acme/wiki", target, false},
		{"https://evil.test#@gw.test/t/acme/wiki", target, false},
		{"https://evil.test?@gw.test/t/acme/wiki", target, false},
		{"https://user@gw.test/t/acme/wiki", target, false},
		{"https://user:pass@gw.test/t/acme/wiki", target, false},
		{"https://@gw.test/t/acme/wiki", target, false},
		{"https://gw.test:443@evil.test/t/acme/wiki", target, false},
		{"https://gw%2Etest/t/acme/wiki", target, false},
		{`https://gw.test\t/acme/wiki`, target, false},
		{`https://gw.test\@evil.test/t/acme/wiki`, target, false},
		{"https:/gw.test/t/acme/wiki", target, false},
		{"https:gw.test/t/acme/wiki", target, false},
		{"//gw.test/t/acme/wiki", target, false},
		{"/t/acme/wiki", target, false},
		{"gw.test/t/acme/wiki", target, false},
		{"https:///t/acme/wiki", target, false},
		{"https://:443/t/acme/wiki", target, false},
		{"https://gw.test/t/acme/wiki/", target, false},
		{"https://gw.test/t/acme/wik", target, false},
		{"https://gw.test/t/acme/wikis", target, false},
		{"https://gw.test/t/acme/mail", target, false},
		{"https://gw.test/t/other/wiki", target, false},
		{"https://gw.test/T/acme/wiki", target, false},
		{"https://gw.test//t/acme/wiki", target, false},
		{"https://gw.test/t//acme/wiki", target, false},
		{"https://gw.test/./t/acme/wiki", target, false},
		{"https://gw.test/x/../t/acme/wiki", target, false},
		{"https://gw.test/t/acme/mail/../wiki", target, false},
		{"https://gw.test/t/acme/wiki/.", target, false},
		{"https://gw.test/t/acme/%77iki", target, false},
		{"https://gw.test/t/acme%2Fwiki", target, false},
		{"https://gw.test/t/acme/x%2F..%2Fwiki", target, false},
		{"https://gw.test/t/acme/%2e%2e/acme/wiki", target, false},
		{"https://gw.test/t/acme/wiki%3Fx", target, false},
		{"https://gw.test/t/acme/wiki%00", target, false},
		{"https://gw.test/t/acme/wiki;x=y", target, false},
		{"https://gw.test/t/acme/wiki ", target, false},
		{" https://gw.test/t/acme/wiki", target, false},
		{`https://gw.test/t/acme/wiki\u000a`, target, false},
		{`https://gw.test/t/acme/wiki\u0000`, target, false},
		{`https://gw.te\u017ft/t/acme/wiki`, target, false},
		{"https://gw.test/a%2fb", "https://gw.test/a%2Fb", false},
		{"https://gw.test/a", "https://gw.test/A", false},
		{"ftp://gw.test/a", "ftp://gw.test/a", false},
		{"https://u@gw.test/a", "https://u@gw.test/a", false},
		{"http://[::1]:80", "http://[::1", false},
	} {
		t.Run(strings.ReplaceAll(c.htu, "/", "|"), func(t *testing.T) {
			htu := `"` + c.htu + `"`
			if strings.Contains(c.htu, `\`) && !strings.Contains(c.htu, `\u`) {
				htu = fmt.Sprintf("%q", c.htu)
			}
			r := request(p.forge(p.header(), fmt.Sprintf(`{"jti":"j","htm":"POST","htu":%s,"iat":%d,"ath":%q}`, htu, time.Now().Unix(), sum(token))))
			r.URL = c.url
			err := newChecker(t).Check(r, p.thumbprint)
			if (err == nil) != c.same || err != nil && !errors.Is(err, auth.ErrProof) {
				t.Errorf("%q for %q: got %v", c.htu, c.url, err)
			}
		})
	}
}
