package main

import (
	"strings"
	"testing"
)

const passing = `{"Action":"start","Package":"sallyport.dev/auth"}
{"Action":"output","Package":"sallyport.dev/auth","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"sallyport.dev/auth","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"sallyport.dev/auth","Test":"TestA","Elapsed":0.5}
{"Action":"pass","Package":"sallyport.dev/auth","Test":"TestB/sub","Elapsed":9}
{"Action":"pass","Package":"sallyport.dev/auth","Test":"TestB","Elapsed":9.25}
{"Action":"output","Package":"sallyport.dev/auth","Output":"PASS\n"}
{"Action":"output","Package":"sallyport.dev/auth","Output":"ok  \tsallyport.dev/auth\t9.8s\n"}
{"Action":"pass","Package":"sallyport.dev/auth","Elapsed":9.8}
`

const failing = `{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:3: the reason\n"}
{"Action":"fail","Package":"p","Test":"TestC","Elapsed":0.1}
{"Action":"output","Package":"p","Test":"TestD","Output":"panic: cut short\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p","Elapsed":0.1}
`

const unbuilt = `{"ImportPath":"q","Action":"build-output","Output":"q.go:1: undefined: x\n"}
{"ImportPath":"q","Action":"build-fail"}
`

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name, in string
		ok       bool
		wants    []string
	}{
		{name: "pass", in: passing, ok: true,
			wants: []string{"ok  \tsallyport.dev/auth\t9.8s\n", "slowest tests:\n    9.25s  sallyport.dev/auth TestB\n    0.50s", "1 packages in 9.8s of test time: 3 tests passed, 0 failed, 0 skipped"}},
		{name: "fail", in: passing + failing, ok: false,
			wants: []string{"c_test.go:3: the reason\n", "panic: cut short\n", "FAIL\tp\t0.1s\n", "1 failed", "FAIL: 1 packages"}},
		{name: "build", in: unbuilt, ok: false, wants: []string{"q.go:1: undefined: x\n"}},
		{name: "plain lines", in: "go: downloading x\n" + passing, ok: true, wants: []string{"go: downloading x\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			ok, err := report(strings.NewReader(c.in), &out)
			if err != nil || ok != c.ok {
				t.Errorf("ok %v, error %v; want ok %v", ok, err, c.ok)
			}
			for _, want := range c.wants {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the report lacks %q:\n%s", want, out.String())
				}
			}
			for _, noise := range []string{"chatter", "=== RUN", "\nPASS\n"} {
				if strings.Contains(out.String(), noise) {
					t.Errorf("the report holds %q", noise)
				}
			}
		})
	}
	if ok, err := report(strings.NewReader(""), new(strings.Builder)); ok || err == nil {
		t.Error("an empty stream counts as a pass")
	}
}
