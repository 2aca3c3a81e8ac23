package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"sallyport.dev/connector"
)

// A call is shown with all that is decided about, and with nothing that steers a terminal.
func TestPrintApproval(t *testing.T) {
	for params, want := range map[string]string{
		"":                             "\n    without params\n",
		`{"name":"drop"}`:              "\n    " + `"{\"name\":\"drop\"}"` + "\n",
		"{\"a\":\"\u202e\u009b2J\"}\n": "\n    " + `"{\"a\":\"\u202e\u009b2J\"}\n"` + "\n",
	} {
		var out strings.Builder
		cmd := new(cobra.Command)
		cmd.SetOut(&out)
		a := connector.Approval{ID: "ABCDEFGHIJ", Subject: "ann\n", Method: "tools/call", Name: "drop\x1b[2J", SHA256: "ab"}
		if params != "" {
			a.Params = []byte(params)
		}
		printApproval(cmd, &a)
		if got := out.String(); !strings.Contains(got, want) || strings.ContainsAny(got, "\x1b\u202e\u009b") || strings.Count(got, "\n") != 3 {
			t.Errorf("%q gives\n%s", params, got)
		}
	}
}
