package config_test

import (
	"strings"
	"testing"

	"sallyport.dev/config"
)

const wantReference = `### Config

Config configures a gate and no more.

| Key | Type | Default | Meaning |
|---|---|---|---|
| ^listen^ | text | required | Listen is the address to listen on. |
| ^wait^ | duration | 1.5s | Wait bounds a call \| wait. Longer ones are cut. |
| ^token^ | secret reference | – | Token proves the tunnel. |
| ^tunnels^ | list of keys | – | Tunnels are the tenants. |
| ^tunnels[].name^ | text | – | Name is the tunnel's slug. |
| ^tunnels[].children^ | list of keys | – | Children are tunnels below it. |
| ^servers^ | named keys | – | Servers are what agents reach. |
| ^servers.<name>.open^ | true or false | false | Open admits all. |
| ^servers.<name>.level^ | text | info | Level is how much to log. |
| ^tls^ | keys | – | TLS is the key pair. |
| ^tls.cert_file^ | text | – | Cert is the chain in PEM. |
| ^rules^ | Rules | – | Rules decide. |
| ^limit^ | number | 1024 | Limit bounds streams. |

### Common

Common is in every role.

| Key | Type | Default | Meaning |
|---|---|---|---|
| ^limit^ | number | 1024 | Limit bounds streams. |
`

func TestReference(t *testing.T) {
	got, err := config.Reference("testdata/reference", "Config", "Common")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(wantReference, "^", "`"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReferenceRefuses(t *testing.T) {
	for _, test := range []struct{ dir, name, says string }{
		{"testdata/uncommented", "Config", "Config.Listen (key listen) has no comment"},
		{"testdata/uncommented", "Config", "Config.Inner (key inner) has no comment"},
		{"testdata/uncommented", "Config", "Config.Deep (key inner.deep) has no comment"},
		{"testdata/uncommented", "Word", "is not a struct"},
		{"testdata/uncommented", "Other", "no type Other there"},
		{"testdata/none", "Config", "no such file"},
	} {
		got, err := config.Reference(test.dir, test.name)
		if err == nil || !strings.Contains(err.Error(), test.says) || got != "" {
			t.Errorf("Reference(%s, %s) says %v, want %s", test.dir, test.name, err, test.says)
		}
	}
}
