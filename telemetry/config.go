package telemetry

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/secret"
)

// Config is the key telemetry of gateway.yaml and connector.yaml. What it leaves out the standard OTEL_ variables may say.
type Config struct {
	// Service is service.name, by which a backend tells the processes apart. Default sallyport-gateway or sallyport-connector.
	Service string `yaml:"service"`
	// Resource are more attributes of the process, such as deployment.environment.name. Optional.
	Resource map[string]string `yaml:"resource"`
	// OTLP is where traces, metrics and logs are sent. Optional.
	OTLP OTLP `yaml:"otlp"`
	// Traces says which calls are traced.
	Traces Traces `yaml:"traces"`
	// Metrics says what metrics are about.
	Metrics Metrics `yaml:"metrics"`
	// Logs is the log on standard error.
	Logs LogConfig `yaml:"logs"`
}

// OTLP is a collector that takes the OpenTelemetry protocol.
type OTLP struct {
	// Endpoint is its base URL, such as https://otel.internal:4318, to which /v1/traces and the like are appended; over gRPC its scheme, host and
	// port. Without one, and without OTEL_EXPORTER_OTLP_ENDPOINT, nothing is sent.
	Endpoint string `yaml:"endpoint"`
	// Protocol is http/protobuf or grpc. Default http/protobuf.
	Protocol string `yaml:"protocol"`
	// Headers are sent with each request, each a text or { secret: REF }. Optional.
	Headers map[string]Header `yaml:"headers"`
	// CAFile is a file with the CA certificates to trust, in PEM, instead of the system's. Optional.
	CAFile string `yaml:"ca_file"`
	// CertFile is a client certificate in PEM to show to the collector. Optional.
	CertFile string `yaml:"cert_file"`
	// KeyFile is its private key in PEM.
	KeyFile string `yaml:"key_file"`
	// Signals are what is sent: traces, metrics, logs, and audit, the events of the audit log. Default [traces, metrics].
	Signals []string `yaml:"signals"`
	// Compression is gzip or none. Default none.
	Compression string `yaml:"compression"`
	// Timeout bounds one request. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Flush is how long a span or a line may wait for others to be sent with. Default 5s.
	Flush time.Duration `yaml:"flush"`
}

// Header is the value of a header: a text, or a secret.
type Header struct {
	// Text is the value, unless Secret is set.
	Text string
	// Secret refers to the value.
	Secret secret.Ref
}

// UnmarshalYAML reads a plain value, or { secret: REF }.
func (h *Header) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		h.Text = node.Value
		return nil
	}
	if node.Kind != yaml.MappingNode || len(node.Content) != 2 || node.Content[0].Value != "secret" || node.Content[1].Kind != yaml.ScalarNode {
		return errors.New("write a text, or { secret: file:/path } for what must not stand here")
	}
	return h.Secret.UnmarshalText([]byte(node.Content[1].Value))
}

// Traces says which calls are traced.
type Traces struct {
	// Sample is which part of the calls is traced, 0 to 1. A call that comes with the trace context of a trusted caller goes by that
	// one's decision. Failed calls are traced in any case by whoever sees them fail. Default 1.
	Sample *float64 `yaml:"sample"`
}

// Metrics says what metrics are about.
type Metrics struct {
	// Names puts the names of tunnels, servers and tools into a gateway's metrics. A connector's have those of servers and tools in any
	// case. Default false.
	Names bool `yaml:"names"`
	// Every is how often metrics are sent by OTLP. Default 60s.
	Every time.Duration `yaml:"every"`
}

// The words of otlp.signals.
const (
	SignalTraces  = "traces"
	SignalMetrics = "metrics"
	SignalLogs    = "logs"
	SignalAudit   = "audit"
)

// The words of otlp.protocol.
const (
	protocolHTTP = "http/protobuf"
	protocolGRPC = "grpc"
)

// The words of otlp.compression.
const (
	compressGzip = "gzip"
	compressNone = "none"
)

const (
	defaultTimeout = 10 * time.Second
	defaultFlush   = 5 * time.Second
	defaultEvery   = time.Minute
	leastFlush     = 100 * time.Millisecond
	leastEvery     = time.Second
)

// Validate reports every value that cannot be used, each beginning with its key. No value of a header is quoted.
func (c *Config) Validate() error {
	o := &c.OTLP
	errs := []error{checkEndpoint("telemetry.otlp.endpoint", o.Endpoint)}
	if o.Protocol != "" && o.Protocol != protocolHTTP && o.Protocol != protocolGRPC {
		errs = append(errs, fmt.Errorf("telemetry.otlp.protocol: %s or %s is allowed", protocolHTTP, protocolGRPC))
	}
	for _, signal := range o.Signals {
		if !slices.Contains([]string{SignalTraces, SignalMetrics, SignalLogs, SignalAudit}, signal) {
			errs = append(errs, fmt.Errorf("telemetry.otlp.signals: %s, %s, %s and %s are allowed", SignalTraces, SignalMetrics, SignalLogs, SignalAudit))
			break
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		if !isToken(name) {
			errs = append(errs, errors.New("telemetry.otlp.headers: a name is no header's name"))
		}
		if h := o.Headers[name]; h.Secret.IsZero() && (h.Text == "" || strings.ContainsFunc(h.Text, isControl)) {
			errs = append(errs, fmt.Errorf("telemetry.otlp.headers.%s: its value cannot stand in a header", name))
		}
		if ref, err := secret.ParseRef(o.Headers[name].Text); err == nil && ref.Scheme() != "env" { // as a label may begin
			errs = append(errs, fmt.Errorf("telemetry.otlp.headers.%s: as it stands the reference itself is sent; write { secret: REFERENCE }", name))
		}
		if issuer, subject := o.Headers[name].Secret.NamesPrincipal(); issuer || subject {
			errs = append(errs, fmt.Errorf("telemetry.otlp.headers.%s: there is no principal here whose secret it could be", name))
		}
	}
	for key, path := range map[string]string{"ca_file": o.CAFile, "cert_file": o.CertFile, "key_file": o.KeyFile} {
		if path != "" && !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("telemetry.otlp.%s: write an absolute path", key))
		}
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		errs = append(errs, errors.New("telemetry.otlp: cert_file and key_file belong together"))
	}
	if o.Compression != "" && o.Compression != compressGzip && o.Compression != compressNone {
		errs = append(errs, fmt.Errorf("telemetry.otlp.compression: %s or %s is allowed", compressGzip, compressNone))
	}
	if o.Timeout < 0 || o.Timeout > time.Minute {
		errs = append(errs, errors.New("telemetry.otlp.timeout: up to 1m is allowed"))
	}
	if o.Flush != 0 && (o.Flush < leastFlush || o.Flush > time.Minute) {
		errs = append(errs, fmt.Errorf("telemetry.otlp.flush: %s to 1m are allowed", leastFlush))
	}
	if s := c.Traces.Sample; s != nil && !(*s >= 0 && *s <= 1) { // NaN is neither
		errs = append(errs, errors.New("telemetry.traces.sample: 0 to 1 are allowed"))
	}
	if c.Metrics.Every != 0 && (c.Metrics.Every < leastEvery || c.Metrics.Every > time.Hour) {
		errs = append(errs, fmt.Errorf("telemetry.metrics.every: %s to 1h are allowed", leastEvery))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Resource)) {
		if name == "" || strings.ContainsFunc(name+c.Resource[name], isControl) || len(name)+len(c.Resource[name]) > maxResource {
			errs = append(errs, fmt.Errorf("telemetry.resource: a name and its value are text of at most %d bytes together", maxResource))
			break
		}
	}
	return errors.Join(append(errs, c.Logs.validate())...)
}

// maxResource bounds a resource attribute, in bytes.
const maxResource = 1024

// validate checks the words.
func (c LogConfig) validate() error {
	_, err := ParseLevel(c.Level)
	if err != nil {
		err = errors.New("telemetry.logs.level: debug, info, warn or error is allowed")
	}
	if c.Format != "" && c.Format != "text" && c.Format != "json" {
		return errors.Join(err, errors.New("telemetry.logs.format: text or json is allowed"))
	}
	return err
}

// checkEndpoint checks a URL that may be left out. Its text is not quoted: somebody may have put a password into it.
func checkEndpoint(key, endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%s: write a base URL such as http://127.0.0.1:4318; a password goes into headers", key)
	}
	for _, signal := range []string{SignalTraces, SignalMetrics, SignalLogs} {
		if strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/v1/"+signal) && isBase(key) {
			return fmt.Errorf("%s: write the base URL: /v1/%s is appended to it", key, signal)
		}
	}
	return nil
}

// isBase reports whether paths are appended to the URL that a key or a variable has.
func isBase(key string) bool {
	return key == "telemetry.otlp.endpoint" || key == "OTEL_EXPORTER_OTLP_ENDPOINT"
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// isToken reports whether a text may be a header's name (RFC 9110 §5.6.2).
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= 0x20 || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
