package audit

import (
	"strings"
	"testing"

	"sallyport.dev/config"
)

// role is a role's file with the audit key in it.
type role struct {
	Name  string `yaml:"name"`
	Audit Config `yaml:"audit"`
}

func TestGoodConfigs(t *testing.T) {
	for text, want := range map[string]Config{
		"name: x":                 {},
		"audit: strict":           {Mode: Strict},
		"audit: best_effort":      {Mode: BestEffort},
		"audit: { mode: strict }": {Mode: Strict},
		"audit: { mode: strict, file: /var/log/a.jsonl, syslog: \"tcp://log.internal:601\", max_size: 65536, keep: 3 }": {Strict, "/var/log/a.jsonl", "tcp://log.internal:601", 65536, 3},
		"audit: { mode: best_effort, syslog: \"unix:/dev/log\" }":                                                       {Mode: BestEffort, Syslog: "unix:/dev/log"},
		"audit: { mode: best_effort, syslog: \"udp://[::1]:514\" }":                                                     {Mode: BestEffort, Syslog: "udp://[::1]:514"},
	} {
		var r role
		if err := config.Decode("role.yaml", []byte(text), &r); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if r.Audit != want || want.Enabled() != (text != "name: x") {
			t.Errorf("%s is %+v", text, r.Audit)
		}
		if err := r.Audit.Validate(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if got := (Config{Mode: BestEffort, Syslog: "unix:/dev/log"}).Path("/var/lib/x"); got != "/var/lib/x/audit/audit.jsonl" {
		t.Errorf("the default place is %s", got)
	}
}

func TestBadConfigs(t *testing.T) {
	for text, want := range map[string]string{
		"audit: hunter2":  "role.yaml:1: audit: is neither the word strict or best_effort",
		"audit: true":     "role.yaml:1: audit: is neither",
		"audit: [strict]": "role.yaml:1: audit: is neither",
		"audit:\n  mode: strict\n  fille: /hunter2":                           `role.yaml:3: audit: unknown key "fille" (known here: mode, file, syslog, max_size, keep)`,
		"audit:\n  file: /var/log/a":                                          "role.yaml:2: audit: there is no mode",
		"audit:\n  mode: hunter2":                                             "role.yaml:2: audit: mode: strict or best_effort",
		"audit:\n  mode: [strict]":                                            "role.yaml:2: audit: mode is strict or best_effort",
		"audit:\n  mode: strict\n  file: hunter2":                             "role.yaml:2: audit: file: write an absolute path",
		"audit:\n  mode: strict\n  file: /var/../hunter2":                     "file: write an absolute path",
		"audit:\n  mode: strict\n  syslog: \"udp://h:1\"":                     "file: required under strict",
		"audit:\n  mode: strict\n  file: /a\n  syslog: hunter2":               "syslog: write unix:/dev/log",
		"audit:\n  mode: strict\n  file: /a\n  syslog: \"tcp://hunter2\"":     "syslog: write unix:/dev/log",
		"audit:\n  mode: strict\n  file: /a\n  syslog: \"tcp://u@hunter2:1\"": "syslog: write unix:/dev/log",
		"audit:\n  mode: strict\n  file: /a\n  syslog: \"tls://hunter2:1\"":   "syslog: write unix:/dev/log",
		"audit:\n  mode: strict\n  file: /a\n  syslog: \"unix:hunter2\"":      "syslog: write unix:/dev/log",
		"audit:\n  mode: strict\n  max_size: hunter2":                         "role.yaml:3: audit: max_size is a number of bytes",
		"audit:\n  mode: strict\n  max_size: 0":                               "role.yaml:3: audit: max_size is a number of bytes",
		"audit:\n  mode: strict\n  max_size: 1000":                            "max_size: 65536 to",
		"audit:\n  mode: strict\n  keep: 10001":                               "keep: 1 to 10000",
		"audit:\n  mode: strict\n  keep: -1":                                  "role.yaml:3: audit: keep is a number of files",
	} {
		var r role
		err := config.Decode("role.yaml", []byte(text), &r)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := (Config{File: "/a"}).Validate(); err == nil {
		t.Error("a file without a mode is taken")
	}
	if err := (Config{Mode: "loud"}).Validate(); err == nil {
		t.Error("a mode that is none is taken")
	}
}
