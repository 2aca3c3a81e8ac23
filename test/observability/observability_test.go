package observability_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/config"
)

// What is tested.
const (
	folder = "../../deploy/observability"
	guide  = "../../docs/guides/telemetry.md"
)

// text reads a file.
func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// promtool runs Prometheus' own checks in a directory.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v (it is in Debian's package prometheus)\n%s", strings.Join(args, " "), err, out)
	}
}

// copyTo writes files into a folder.
func copyTo(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPromtoolTakesIt checks the rules and the example of a configuration, and tries each alert.
func TestPromtoolTakesIt(t *testing.T) {
	promtool(t, folder, "check", "rules", "rules.yaml", "alerts.yaml")
	promtool(t, folder, "check", "config", "prometheus.yaml")
	dir := t.TempDir()
	annotations := regexp.MustCompile(`        annotations:\n(?: {10}.*\n)+`)
	copyTo(t, dir, map[string]string{
		"rules.yaml": text(t, folder+"/rules.yaml"), "alerts.test.yaml": text(t, folder+"/alerts.test.yaml"),
		"alerts.yaml": annotations.ReplaceAllString(text(t, folder+"/alerts.yaml"), ""), // the tests would have to repeat all of them
	})
	promtool(t, dir, "test", "rules", "alerts.test.yaml")
}

var alertName = regexp.MustCompile(`- alert: (\w+)\n`)

// TestEachAlertIsExplained in the guide, where its runbook_url leads, and tried in both directions.
func TestEachAlertIsExplained(t *testing.T) {
	alerts, tests, explained := text(t, folder+"/alerts.yaml"), text(t, folder+"/alerts.test.yaml"), text(t, guide)
	names := alertName.FindAllStringSubmatch(alerts, -1)
	if len(names) < 12 {
		t.Errorf("there are %d alerts", len(names))
	}
	for _, m := range names {
		short := strings.TrimPrefix(m[1], "Sallyport")
		if !strings.Contains(tests, "name: "+short+" fires\n") || !strings.Contains(tests, "name: "+short+" is silent\n") {
			t.Errorf("alerts.test.yaml does not try %s in both directions", m[1])
		}
		if !strings.Contains(explained, "\n#### "+m[1]+"\n") || !strings.Contains(alerts, "telemetry.md#"+strings.ToLower(m[1])+"\n") {
			t.Errorf("%s has no runbook in %s, or does not lead there", m[1], guide)
		}
	}
	for _, key := range []string{"summary: ", "description: ", "runbook_url: ", "severity: "} {
		if n := strings.Count(alerts, key); n != len(names) {
			t.Errorf("%d alerts have %d times %q", len(names), n, key)
		}
	}
}

// TestCollectorExample is YAML whose pipelines name what it defines. The Collector itself is not run here.
func TestCollectorExample(t *testing.T) {
	var c struct {
		Receivers  map[string]any `yaml:"receivers"`
		Processors map[string]any `yaml:"processors"`
		Exporters  map[string]any `yaml:"exporters"`
		Service    struct {
			Pipelines map[string]struct {
				Receivers  []string `yaml:"receivers"`
				Processors []string `yaml:"processors"`
				Exporters  []string `yaml:"exporters"`
			} `yaml:"pipelines"`
		} `yaml:"service"`
	}
	if err := config.Decode("collector.yaml", []byte(text(t, folder+"/collector.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []string{"traces", "metrics", "logs"} {
		p := c.Service.Pipelines[signal]
		for _, part := range []struct {
			used    []string
			defined map[string]any
		}{{p.Receivers, c.Receivers}, {p.Processors, c.Processors}, {p.Exporters, c.Exporters}} {
			if len(part.used) == 0 {
				t.Errorf("%s: a part of the pipeline is missing", signal)
			}
			for _, name := range part.used {
				if _, ok := part.defined[name]; !ok {
					t.Errorf("%s: %s is not defined", signal, name)
				}
			}
		}
	}
}

// dashboard is what is looked at of dashboard.json.
type dashboard struct {
	Panels []struct {
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct {
			Expr     string
			Exemplar bool
		}
	}
	Templating struct {
		List []struct {
			Name  string
			Query any
		}
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(text(t, folder+"/dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// variables puts values in place of Grafana's variables.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$job", ".*", "$instance", ".*")

// expressions are all that the dashboard asks.
func (d *dashboard) expressions() (all []string) {
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, variables.Replace(target.Expr))
		}
	}
	return all
}

// TestDashboard has panels that say what to do, in places of their own, with expressions that Prometheus takes.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	exemplars := 0
	taken := make(map[[2]int]string)
	for _, p := range d.Panels {
		if p.Title == "" || p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %q has no title, no description or no target", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies on %q, or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		for _, target := range p.Targets {
			if target.Exemplar {
				exemplars++
			}
		}
	}
	if exemplars == 0 {
		t.Error("no panel shows exemplars")
	}
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
	}
	if !slices.Equal(names, []string{"datasource", "job", "instance"}) {
		t.Errorf("the variables are %v", names)
	}
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	for i, expr := range d.expressions() {
		quoted, err := json.Marshal(expr)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(expr, "$") {
			t.Errorf("%s has a variable that is not known here", expr)
		}
		fmt.Fprintf(&rules, "      - record: checked:%d\n        expr: %s\n", i, quoted)
	}
	dir := t.TempDir()
	copyTo(t, dir, map[string]string{"dashboard.yaml": rules.String()})
	promtool(t, dir, "check", "rules", "dashboard.yaml")
}

// metricRow is a row of the guide's table of metrics: name, name at a Prometheus, kind, roles, attributes.
var (
	metricRow = regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| `([a-z_]+)` \\|[^|]*\\| (both|gateway|connector)[^|]*\\|([^|]*)\\|")
	cellName  = regexp.MustCompile("`([a-z_.]+)`")
)

// TestNamesAreExported compares the names of metrics and labels that are used here, and those in the guide, with what a gateway and
// a connector export that have done everything.
func TestNamesAreExported(t *testing.T) {
	roles := everything(t)
	known := make(map[string]map[string]bool) // labels by sample
	for _, e := range roles {
		for name, labels := range e.labels {
			if known[name] == nil {
				known[name] = map[string]bool{"job": true, "instance": true}
			}
			maps.Copy(known[name], labels)
		}
	}
	for _, name := range recordName.FindAllStringSubmatch(text(t, folder+"/rules.yaml"), -1) {
		known[name[1]] = map[string]bool{"job": true, "instance": true, "mcp_method_name": true}
	}
	d := readDashboard(t)
	used := d.expressions()
	for _, path := range []string{"rules.yaml", "alerts.yaml"} {
		used = append(used, ruleExpressions(text(t, folder+"/"+path))...)
	}
	used = append(used, alertSeries(text(t, folder+"/alerts.test.yaml"))...)
	for _, v := range d.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			used = append(used, labelValues.ReplaceAllString(variables.Replace(q["query"].(string)), "count by ($2) ($1)"))
		}
	}
	if len(used) < 100 {
		t.Errorf("only %d expressions were found", len(used))
	}
	for _, expr := range used {
		for _, wrong := range check(expr, known) {
			t.Errorf("%s: %s", expr, wrong)
		}
	}
	checkGuide(t, roles)
}

// checkGuide compares the guide's table of metrics with what the roles export.
func checkGuide(t *testing.T, roles map[string]*exported) {
	t.Helper()
	explained := make(map[string]bool) // "role name"
	for _, m := range metricRow.FindAllStringSubmatch(text(t, guide), -1) {
		name := m[2]
		if !strings.HasPrefix(name, strings.ReplaceAll(m[1], ".", "_")) {
			t.Errorf("the guide calls %s %s", m[1], name)
		}
		want, got := make(map[string]bool), make(map[string]bool)
		for _, l := range cellName.FindAllStringSubmatch(m[4], -1) {
			want[strings.ReplaceAll(l[1], ".", "_")] = true
		}
		for role, e := range roles {
			if m[3] != "both" && m[3] != role {
				continue
			}
			explained[role+" "+name] = true
			if e.kinds[name] == "" {
				t.Errorf("the guide has %s of the %s, which does not export it", name, role)
			}
			for _, sample := range []string{name, name + "_count"} {
				maps.Copy(got, e.labels[sample])
			}
		}
		if !maps.Equal(want, got) {
			t.Errorf("the guide has of %s the attributes %v, and exported are %v", name, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
		}
	}
	for role, e := range roles {
		for name := range e.kinds {
			if !explained[role+" "+name] && name != "target_info" {
				t.Errorf("the guide does not have %s of the %s", name, role)
			}
		}
	}
}

// TestCheckFindsWhatIsWrong holds the check itself to some expressions.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	known := map[string]map[string]bool{"a_total": {"x": true, "job": true}, "b": {"x": true}, "s:r": {}}
	for expr, want := range map[string]int{
		`sum by (x) (rate(a_total{x="1",job=~"a"}[5m])) / on (job) b > 0`: 0,
		`sum by (y) (rate(a_total[5m]))`:                                  1,
		`rate(c_total[5m])`:                                               1,
		`b{job="1"}`:                                                      1,
		`histogram_quantile(0.9, sum by (le) (s:r)) or vector(0)`:         1, // le
		`s:x unless b offset 1h`:                                          1,
		`label_x{a="}"} and b`:                                            1,
	} {
		if got := check(expr, known); len(got) != want {
			t.Errorf("%s: %v", expr, got)
		}
	}
}
