package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	queueSize = 2048 // spans, or lines, that wait to be sent
	batchSize = 512  // of them in one request
)

// queue stands in front of the batches of one signal, and behind them. It admits only so many things as may wait,
// so that what is lost is counted here, and takes what the exporter says, so that a failing collector is heard of once.
type queue struct {
	signal string
	log    *slog.Logger

	bounded bool         // what waits was admitted: metrics are not, there is one of each
	waiting atomic.Int64 // admitted, and neither sent nor given up
	full    atomic.Int64 // not admitted
	failed  atomic.Int64 // given up by the exporter
	failing atomic.Bool

	over   <-chan struct{} // closed when what still waits is to be given up
	onOver func(func()) (stop func() (late bool))
	giveUp func() // closes it
}

func newQueue(signal string, log *slog.Logger) *queue {
	over, giveUp := context.WithCancel(context.Background())
	return &queue{
		signal: signal, log: log, bounded: signal != SignalMetrics, over: over.Done(), giveUp: giveUp,
		onOver: func(f func()) func() bool { return context.AfterFunc(over, f) },
	}
}

func (q *queue) isOver() bool {
	select {
	case <-q.over:
		return true
	default:
		return false
	}
}

// admit reports whether one thing more may wait. It counts one that may not.
func (q *queue) admit() bool {
	if q.waiting.Add(1) > queueSize {
		q.waiting.Add(-1)
		q.full.Add(1)
		return false
	}
	return true
}

// lost counts things that were admitted, and that nobody will send.
func (q *queue) lost(n int64) {
	q.waiting.Add(-n)
	q.failed.Add(n)
}

// send exports n things, and ends early when what waits is given up. It never fails: nobody could do more about that.
func (q *queue) send(ctx context.Context, n int, export func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer q.onOver(cancel)()
	err, began := errGivenUp, time.Now()
	for wait := retryFirst; !q.isOver(); wait = min(2*wait, retryMost) {
		err = guarded(ctx, export)
		if !q.bounded || !unreachable(err) || time.Since(began)+wait > retryInAll {
			break
		}
		q.troubled(trouble(err))
		if !q.pause(ctx, wait) {
			break
		}
	}
	if q.bounded {
		q.waiting.Add(-int64(n))
	}
	q.told(n, err)
}

// pause waits until the next attempt. It reports false if there shall be none.
func (q *queue) pause(ctx context.Context, d time.Duration) bool {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-ctx.Done():
	case <-q.over:
	}
	return false
}

var errGivenUp = errors.New("telemetry: the process ends")

// guarded turns a panic of an exporter over what a collector has answered into an error.
func guarded(ctx context.Context, export func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("telemetry: the exporter panicked: %v", p)
		}
	}()
	return export(ctx)
}

// told says when sending begins to fail, and when it works again.
func (q *queue) told(n int, err error) {
	if err != nil {
		if some, ok := rejected(err); ok { // for good: it would not take them at another time either
			q.failed.Add(int64(min(some, n)))
			err = nil
		}
	}
	if err == nil {
		if q.failing.Swap(false) {
			q.log.Info("the collector takes telemetry again", KeySignal, q.signal)
		}
		return
	}
	q.failed.Add(int64(n))
	if !takesNone(err) {
		q.troubled(trouble(err))
		return
	}
	if q.isOver() || q.failing.Swap(true) {
		return
	}
	level := slog.LevelInfo // a backend for traces alone is no mistake
	if q.signal == SignalTraces {
		level = slog.LevelWarn
	}
	q.log.Log(context.Background(), level, "the collector takes no telemetry of this kind: what there is of it is dropped", KeySignal, q.signal, KeyError, trouble(err),
		KeyHint, "leave the signal out of telemetry.otlp.signals, or see that telemetry.otlp.endpoint is the right one")
}

// troubled says when sending begins to fail, and why.
func (q *queue) troubled(why string) {
	if q.isOver() || q.failing.Swap(true) {
		return
	}
	q.log.Warn("the collector does not take telemetry: calls are not affected, and what cannot wait is dropped", KeySignal, q.signal, KeyError, why,
		KeyHint, "see that telemetry.otlp.endpoint answers, and takes what telemetry.otlp.headers say")
}

// shutdownTime bounds the end of everything here, and sendTime what of it is for sending what still waits.
const (
	shutdownTime = 5 * time.Second
	sendTime     = 4 * time.Second
)
