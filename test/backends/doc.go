// Package backends runs what users have telemetry sent to, for tests: Jaeger and Prometheus as processes that others wrote, and a
// receiver that keeps what came over OTLP. It asks them over their own APIs, and shows a trace as text and as a picture. It does
// not know who sends to them, nor what a trace should look like.
package backends
