package clientcert_test

import (
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/auth/clientcert"
	"sallyport.dev/config"
)

func TestValidate(t *testing.T) {
	good := clientcert.Config{CAFile: "/etc/ca.crt", Principals: principals()}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	one := func(edit func(*clientcert.Principal)) clientcert.Config {
		p := principals()[0]
		edit(&p)
		return clientcert.Config{CAFile: "/etc/ca.crt", Principals: []clientcert.Principal{p}}
	}
	uri := func(s string) clientcert.Config { return one(func(p *clientcert.Principal) { p.URI = s }) }
	dns := func(s string) clientcert.Config { return one(func(p *clientcert.Principal) { p.URI, p.DNS = "", s }) }
	name := func(s string) clientcert.Config { return one(func(p *clientcert.Principal) { p.Name = s }) }
	two := func(edit func(*clientcert.Principal)) clientcert.Config {
		c := good
		c.Principals = principals()
		edit(&c.Principals[1])
		return c
	}
	for what, c := range map[string]struct {
		cfg  clientcert.Config
		want string // empty: it is good
	}{
		"URN":                      {uri("urn:example:ci"), ""},
		"URI with a query":         {uri("https://corp.test/ci?x=1"), ""},
		"DNS name of one label":    {dns("ci"), ""},
		"DNS name in upper case":   {dns("CI.Corp.Test"), ""},
		"DNS label with hyphens":   {dns("a--b.corp.test"), ""},
		"no file":                  {clientcert.Config{Principals: principals()}, "ca_file"},
		"relative file":            {clientcert.Config{CAFile: "ca.crt", Principals: principals()}, "ca_file"},
		"file with dots":           {clientcert.Config{CAFile: "/etc/../ca.crt", Principals: principals()}, "ca_file"},
		"no principals":            {clientcert.Config{CAFile: "/etc/ca.crt"}, "at least one principal"},
		"neither":                  {uri(""), "either uri or dns"},
		"both":                     {one(func(p *clientcert.Principal) { p.DNS = "ci.corp.test" }), "either uri or dns"},
		"no name":                  {name(""), "number 1: name"},
		"name with a space":        {name("c i"), "number 1: name"},
		"name with a bar":          {name("c|i"), "number 1: name"},
		"name with a line end":     {name("ci\n"), "number 1: name"},
		"name beyond ASCII":        {name("cí"), "number 1: name"},
		"long name":                {name(strings.Repeat("n", 65)), "number 1: name"},
		"no tunnels":               {one(func(p *clientcert.Principal) { p.Tunnels = nil }), "tunnels: required"},
		"no servers":               {one(func(p *clientcert.Principal) { p.Servers = nil }), "servers: required"},
		"empty server":             {one(func(p *clientcert.Principal) { p.Servers = []string{"wiki", ""} }), "servers: a name is empty"},
		"relative URI":             {uri("/ci"), "absolute URI"},
		"host alone":               {uri("corp.test"), "absolute URI"},
		"scheme alone":             {uri("spiffe:"), "absolute URI"},
		"scheme and slashes alone": {uri("spiffe://"), "absolute URI"},
		"URI with a wildcard":      {uri("spiffe://corp.test/*"), "no wildcards"},
		"URI with a space":         {uri("spiffe://corp.test/c i"), "visible ASCII"},
		"URI beyond ASCII":         {uri("spiffe://corp.test/cí"), "visible ASCII"},
		"URI with a bad escape":    {uri("spiffe://corp.test/%zz"), "absolute URI"},
		"long URI":                 {uri("spiffe://corp.test/" + strings.Repeat("x", 2048)), "2048"},
		"wildcard":                 {dns("*.corp.test"), "no wildcards"},
		"trailing dot":             {dns("ci.corp.test."), "without a dot"},
		"leading dot":              {dns(".corp.test"), "without a dot"},
		"two dots":                 {dns("ci..test"), "without a dot"},
		"address":                  {dns("192.0.2.1"), "not an address"},
		"IPv6 address":             {dns("2001:db8::1"), "not an address"},
		"underscore":               {dns("c_i.test"), "write a name"},
		"hyphen at the end":        {dns("ci-.test"), "write a name"},
		"hyphen at the start":      {dns("-ci.test"), "write a name"},
		"name beyond ASCII in DNS": {dns("cí.test"), "write a name"},
		"long label":               {dns(strings.Repeat("x", 64) + ".test"), "write a name"},
		"long DNS name":            {dns(strings.Repeat("x.", 127) + "test"), "253"},
		"name twice":               {two(func(p *clientcert.Principal) { p.Name = "ci" }), `"ci": the name is listed twice`},
		"URI twice":                {two(func(p *clientcert.Principal) { p.URI = ciURI }), `"bot": its certificate is that of "ci" too`},
		"DNS name twice": {two(func(p *clientcert.Principal) { p.URI, p.DNS = "", "DEV.corp.test" }),
			`"dev": its certificate is that of "bot" too`},
	} {
		err := c.cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
}

func TestValidateReportsAll(t *testing.T) {
	err := clientcert.Config{Principals: []clientcert.Principal{{Name: "a"}, {Name: "a", DNS: "*"}}}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 8 {
		t.Errorf("got %d problems: %v", len(lines), err)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "certificates.") {
			t.Errorf("%q begins with no key", line)
		}
	}
}

// TestFile reads the configuration as a gateway does.
func TestFile(t *testing.T) {
	const text = `ca_file: /etc/sallyport/agents-ca.crt
principals:
  - { name: ci, uri: "spiffe://corp.example/ci", tunnels: [acme], servers: [wiki] }
  - { name: dev, dns: dev.corp.example, tunnels: ["*"], servers: ["*"] }
`
	path := filepath.Join(t.TempDir(), "certificates.yaml")
	write(t, path, []byte(text))
	var cfg clientcert.Config
	if err := config.Load(path, &cfg); err != nil {
		t.Fatal(err)
	}
	if len(cfg.Principals) != 2 || cfg.Principals[0].URI != "spiffe://corp.example/ci" || cfg.Principals[1].DNS != "dev.corp.example" {
		t.Errorf("got %+v", cfg)
	}
}

func TestNewRefuses(t *testing.T) {
	good := clientcert.Config{CAFile: writeCAs(t, root(t)), Principals: principals()}
	if _, err := clientcert.New("", good); err == nil || !strings.Contains(err.Error(), "public URL") {
		t.Errorf("without an issuer: %v", err)
	}
	if _, err := clientcert.New(issuer, clientcert.Config{CAFile: good.CAFile}); err == nil || !strings.Contains(err.Error(), "principals") {
		t.Errorf("without principals: %v", err)
	}
}
