package telemetry

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// resolved is what one signal's exporter is made from: the configuration, and where that is silent the standard variables
// (OpenTelemetry specification, "OpenTelemetry Protocol Exporter" and "Environment Variable Specification").
type resolved struct {
	on       bool
	url      string // with the signal's path, for HTTP
	protocol string
	headers  map[string]string
	ca       string // files
	cert     string
	key      string
	caKey    string // who has named them
	certKey  string
	timeout  time.Duration

	compression string // gzip or none
	preset      string // by the environment
}

// environment reads the standard variables. An empty one counts as not set.
type environment func(string) string

// signal looks a variable up that each signal may have of its own: OTEL_EXPORTER_OTLP_<SIGNAL>_<name>, or the one without the signal.
func (get environment) signal(signal, name string) string {
	return cmp.Or(get("OTEL_EXPORTER_OTLP_"+strings.ToUpper(signal)+"_"+name), get("OTEL_EXPORTER_OTLP_"+name))
}

// file is the path that the configuration has, or else a variable, and which of them it is from.
func (get environment) file(configured, key, signal, name string) (path, from string) {
	if configured != "" {
		return configured, key
	}
	if path = get.signal(signal, name); path != "" {
		from = "OTEL_EXPORTER_OTLP_" + name
	}
	return path, from
}

// exemplars reports which measurements may be exemplars: those of spans that are sampled, unless OTEL_METRICS_EXEMPLAR_FILTER has all or none.
func (get environment) exemplars() func(trace.SpanContext) bool {
	switch filter := get("OTEL_METRICS_EXEMPLAR_FILTER"); filter {
	case "always_on", "always_off":
		return func(trace.SpanContext) bool { return filter == "always_on" }
	default:
		return trace.SpanContext.IsSampled
	}
}

var errVariable = errors.New("telemetry: an environment variable cannot be used")

// variable is an error about a variable. Its value is not quoted: it may be a secret.
func variable(name, want string) error { return fmt.Errorf("%w: %s: %s", errVariable, name, want) }

// ignored are the variables that are set and do not count.
func (get environment) ignored() (names []string) {
	for _, name := range []string{
		"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_EXPORT_TIMEOUT",
		"OTEL_METRIC_EXPORT_TIMEOUT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
		"OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "OTEL_CONFIG_FILE",
	} {
		if get(name) != "" {
			names = append(names, name)
		}
	}
	for kind := range strings.SplitSeq(get("OTEL_PROPAGATORS"), ",") {
		if kind = strings.TrimSpace(kind); kind != "" && kind != "tracecontext" && kind != "baggage" && kind != "none" {
			return append(names, "OTEL_PROPAGATORS")
		}
	}
	return names
}

// disabled reports OTEL_SDK_DISABLED.
func (get environment) disabled() bool { return strings.EqualFold(get("OTEL_SDK_DISABLED"), "true") }

// exports reports whether the environment wants a signal sent, if there is somewhere to send it to. Logs are sent only when they are
// asked for: they have names of callers, and go to standard error already.
func (get environment) exports(signal string) (bool, error) {
	name := "OTEL_" + strings.ToUpper(signal) + "_EXPORTER"
	switch kinds := strings.Split(strings.ReplaceAll(get(name), " ", ""), ","); {
	case slices.Equal(kinds, []string{""}):
		return signal != SignalLogs || get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT") != "", nil
	case slices.Contains(kinds, "otlp"):
		return true, nil
	case slices.Contains(kinds, "none"), signal == SignalMetrics && slices.Contains(kinds, "prometheus"):
		return false, nil
	}
	return false, variable(name, "otlp or none is supported")
}

// resolve says how a signal is sent. audit goes the way of logs.
func (c *Config) resolve(signal string, get environment) (r resolved, err error) {
	if get.disabled() {
		return r, nil
	}
	o := &c.OTLP
	switch {
	case len(o.Signals) > 0:
		r.on = slices.Contains(o.Signals, signal) || signal == SignalLogs && slices.Contains(o.Signals, SignalAudit)
	default:
		if r.on, err = get.exports(signal); err != nil {
			return r, err
		}
	}
	var protocolErr, timeoutErr, headersErr, endpointErr error
	r.protocol, protocolErr = c.protocol(signal, get)
	r.url, endpointErr = c.endpoint(signal, r.protocol, get)
	r.on = r.on && r.url != ""
	if !r.on {
		return r, nil
	}
	r.timeout, timeoutErr = c.timeout(signal, get)
	r.headers, headersErr = c.headers(signal, get)
	r.ca, r.caKey = get.file(o.CAFile, "telemetry.otlp.ca_file", signal, "CERTIFICATE")
	r.cert, r.certKey = get.file(o.CertFile, "telemetry.otlp.cert_file", signal, "CLIENT_CERTIFICATE")
	if r.key = o.KeyFile; o.CertFile == "" {
		r.key = get.signal(signal, "CLIENT_KEY")
	}
	var compressionErr error
	r.preset = cmp.Or(get.signal(signal, "COMPRESSION"), compressNone)
	switch word := cmp.Or(o.Compression, get.signal(signal, "COMPRESSION"), compressNone); word {
	case compressGzip, compressNone:
		r.compression = word
	default:
		compressionErr = variable("OTEL_EXPORTER_OTLP_COMPRESSION", compressGzip+" or "+compressNone+" is supported")
	}
	return r, errors.Join(protocolErr, endpointErr, timeoutErr, headersErr, compressionErr)
}

func (c *Config) protocol(signal string, get environment) (string, error) {
	switch p := cmp.Or(c.OTLP.Protocol, get.signal(signal, "PROTOCOL"), protocolHTTP); p {
	case protocolHTTP, protocolGRPC:
		return p, nil
	default:
		return p, variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocolHTTP+" or "+protocolGRPC+" is supported")
	}
}

// endpoint is the URL that a signal is sent to. A signal's own variable is the whole URL; the common one is a base.
func (c *Config) endpoint(signal, protocol string, get environment) (string, error) {
	base := cmp.Or(c.OTLP.Endpoint, get("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if own := get("OTEL_EXPORTER_OTLP_" + strings.ToUpper(signal) + "_ENDPOINT"); own != "" && c.OTLP.Endpoint == "" {
		return own, checkEndpoint("OTEL_EXPORTER_OTLP_"+strings.ToUpper(signal)+"_ENDPOINT", own)
	}
	if base == "" || protocol == protocolGRPC {
		return base, checkEndpoint("OTEL_EXPORTER_OTLP_ENDPOINT", base)
	}
	return strings.TrimRight(base, "/") + "/v1/" + signal, checkEndpoint("OTEL_EXPORTER_OTLP_ENDPOINT", base)
}

func (c *Config) timeout(signal string, get environment) (time.Duration, error) {
	if c.OTLP.Timeout > 0 {
		return c.OTLP.Timeout, nil
	}
	return get.milliseconds(get.signal(signal, "TIMEOUT"), "OTEL_EXPORTER_OTLP_TIMEOUT", defaultTimeout, time.Minute)
}

// milliseconds reads a number of milliseconds, from 1 to most.
func (get environment) milliseconds(text, name string, without, most time.Duration) (time.Duration, error) {
	if text == "" {
		return without, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > most.Milliseconds() {
		return without, variable(name, fmt.Sprintf("a number of milliseconds up to %d is wanted", most.Milliseconds()))
	}
	return time.Duration(n) * time.Millisecond, nil
}

// headers are those of the configuration, with the values of their secrets, or else those of the environment (key=value, separated by
// commas, in the encoding of URLs).
func (c *Config) headers(signal string, get environment) (map[string]string, error) {
	headers := make(map[string]string)
	var errs []error
	for name, h := range c.OTLP.Headers {
		value := h.Text
		if !h.Secret.IsZero() {
			secret, err := h.Secret.Resolve()
			if err != nil {
				errs = append(errs, fmt.Errorf("telemetry.otlp.headers.%s: %w", name, err))
			}
			if value = secret.Reveal(); err == nil && strings.ContainsFunc(value, isControl) {
				errs = append(errs, fmt.Errorf("telemetry.otlp.headers.%s: the secret's value cannot stand in a header", name))
			}
		}
		headers[name] = value
	}
	if len(headers) > 0 {
		return headers, errors.Join(errs...)
	}
	for pair := range strings.SplitSeq(get.signal(signal, "HEADERS"), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, text, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(text))
		if !found || err != nil || !isToken(name) || strings.ContainsFunc(value, isControl) {
			return nil, variable("OTEL_EXPORTER_OTLP_HEADERS", "key=value pairs separated by commas are wanted")
		}
		headers[name] = value
	}
	return headers, nil
}

// sampling says which part of the calls is sampled, and whether a parent's decision counts.
func (c *Config) sampling(get environment) (part float64, parents bool, err error) {
	if c.Traces.Sample != nil {
		return *c.Traces.Sample, true, nil
	}
	name, based := strings.CutPrefix(get("OTEL_TRACES_SAMPLER"), "parentbased_")
	parents = based || name == ""
	switch name {
	case "", "always_on":
		return 1, parents, nil
	case "always_off":
		return 0, parents, nil
	case "traceidratio":
		text := get("OTEL_TRACES_SAMPLER_ARG")
		if text == "" {
			return 1, parents, nil
		}
		part, err = strconv.ParseFloat(text, 64)
		if err != nil || !(part >= 0 && part <= 1) {
			return 1, parents, variable("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1 is wanted")
		}
		return part, parents, nil
	}
	return 1, parents, variable("OTEL_TRACES_SAMPLER", "always_on, always_off and traceidratio are supported, each also as parentbased_…")
}

// flush is how long spans or lines wait for others.
func (c *Config) flush(get environment, name string) (time.Duration, error) {
	if c.OTLP.Flush > 0 {
		return c.OTLP.Flush, nil
	}
	return get.milliseconds(get(name), name, defaultFlush, time.Minute)
}

// every is how often metrics are sent.
func (c *Config) every(get environment) (time.Duration, error) {
	if c.Metrics.Every > 0 {
		return c.Metrics.Every, nil
	}
	return get.milliseconds(get("OTEL_METRIC_EXPORT_INTERVAL"), "OTEL_METRIC_EXPORT_INTERVAL", defaultEvery, time.Hour)
}
