package backends

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Prometheus is a Prometheus server on loopback that scrapes each second.
type Prometheus struct {
	// URL is the base URL of its API.
	URL string
}

// StartPrometheus returns a server that scrapes /metrics of each target, by the name of its job, and ends with the test.
func StartPrometheus(t testing.TB, targets map[string]string) *Prometheus {
	t.Helper()
	binary := tool(t, "prometheus", "install the Debian package prometheus")
	var conf strings.Builder
	conf.WriteString("global: { scrape_interval: 1s, scrape_timeout: 1s }\nscrape_configs:\n")
	for job, target := range targets {
		fmt.Fprintf(&conf, "  - { job_name: %q, static_configs: [{ targets: [%q] }] }\n", job, target)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ { // the port may be taken between being found and being used
		addr := ports(t, 1)[0]
		p := &Prometheus{URL: "http://" + addr}
		err := run(t, dir, nil, func(ctx context.Context) error { return ask(ctx, p.URL+"/-/ready", nil) }, binary,
			"--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"+strconv.Itoa(try)), "--web.listen-address="+addr, "--enable-feature=exemplar-storage", "--log.level=warn")
		if err == nil {
			return p
		}
		if try == 3 {
			t.Fatal(err)
		}
	}
}

// Sample is one series of a query's answer.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query evaluates an expression, which gives a vector.
func (p *Prometheus) Query(ctx context.Context, expr string) ([]Sample, error) {
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := ask(ctx, p.URL+"/api/v1/query?query="+url.QueryEscape(expr), &answer); err != nil {
		return nil, err
	}
	var samples []Sample
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, errors.New("a value is no number")
		}
		samples = append(samples, Sample{r.Metric, value})
	}
	return samples, nil
}

// Exemplar is one measurement that is shown with what it was part of.
type Exemplar struct {
	Labels map[string]string `json:"labels"`
	Value  string            `json:"value"`
}

// Exemplars returns those of the last hour of what a selector finds.
func (p *Prometheus) Exemplars(ctx context.Context, selector string) ([]Exemplar, error) {
	var answer struct {
		Data []struct {
			Exemplars []Exemplar `json:"exemplars"`
		} `json:"data"`
	}
	now := time.Now()
	query := url.Values{"query": {selector}, "start": {stamp(now.Add(-time.Hour))}, "end": {stamp(now.Add(time.Minute))}}
	if err := ask(ctx, p.URL+"/api/v1/query_exemplars?"+query.Encode(), &answer); err != nil {
		return nil, err
	}
	var all []Exemplar
	for _, series := range answer.Data {
		all = append(all, series.Exemplars...)
	}
	return all, nil
}

func stamp(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// Await polls an expression until its answer is as wanted, and returns that.
func (p *Prometheus) Await(t testing.TB, within time.Duration, expr string, wanted func([]Sample) bool) []Sample {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var last []Sample
	var err error
	for {
		var samples []Sample
		if samples, err = p.Query(ctx, expr); err == nil {
			if last = samples; wanted(samples) {
				return samples
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is not as wanted within %s (%v): %v", expr, within, err, last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
