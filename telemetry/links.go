package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"
)

// Link is what one kind of connection between our own processes has moved so far, summed up, and how it is doing now.
type Link struct {
	Transport string
	// Streams are open now.
	Streams int64
	// BytesIn and BytesOut only grow, and so do packets.
	BytesIn, BytesOut int64
	// HasPackets says that packets are known.
	HasPackets               bool
	PacketsSent, PacketsLost int64
	// RTT is the longest round trip now, in seconds.
	RTT float64
}

// ObserveLinks measures what connections between our own processes move, the same in every role. read is called for each
// measurement, also concurrently.
func ObserveLinks(meter metric.Meter, read func() []Link) error {
	var errs [5]error
	streams, err := meter.Int64ObservableUpDownCounter("sallyport.tunnel.streams", metric.WithUnit("{stream}"), metric.WithDescription("Streams of the tunnel that are open"))
	errs[0] = err
	bytes, err := meter.Int64ObservableCounter("sallyport.tunnel.io", metric.WithUnit("By"), metric.WithDescription("Bytes of calls and answers on the tunnel"))
	errs[1] = err
	rtt, err := meter.Float64ObservableGauge("sallyport.tunnel.rtt", metric.WithUnit("s"), metric.WithDescription("The longest round trip of the sessions now"))
	errs[2] = err
	packets, err := meter.Int64ObservableCounter("sallyport.tunnel.packets", metric.WithUnit("{packet}"), metric.WithDescription("QUIC packets sent"))
	errs[3] = err
	lost, err := meter.Int64ObservableCounter("sallyport.tunnel.packets.lost", metric.WithUnit("{packet}"), metric.WithDescription("QUIC packets sent that were lost on the way"))
	errs[4] = err
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, l := range read() {
			by := AttrTransport.String(l.Transport)
			o.ObserveInt64(streams, l.Streams, metric.WithAttributes(by))
			o.ObserveInt64(bytes, l.BytesIn, metric.WithAttributes(by, AttrIODirection.String("receive")))
			o.ObserveInt64(bytes, l.BytesOut, metric.WithAttributes(by, AttrIODirection.String("transmit")))
			o.ObserveFloat64(rtt, l.RTT, metric.WithAttributes(by))
			if l.HasPackets {
				o.ObserveInt64(packets, l.PacketsSent, metric.WithAttributes(by))
				o.ObserveInt64(lost, l.PacketsLost, metric.WithAttributes(by))
			}
		}
		return nil
	}, streams, bytes, rtt, packets, lost)
	return err
}
