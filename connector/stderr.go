package connector

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
)

const (
	stderrRate  = 10       // lines a second that are logged of what a process of a local server says
	stderrBurst = 50       // lines of it that are logged at once
	stderrLine  = 1024     // bytes that are logged of each line
	stderrRead  = 16 << 10 // bytes of a line that are searched for secrets before; the rest is passed over
	minRedacted = 4        // bytes of the shortest text that is taken for a secret when it is found
)

// throttle logs no more than its rate, and how much it has not logged.
type throttle struct {
	log     *slog.Logger
	limiter *rate.Limiter
	missed  int
}

func newThrottle(log *slog.Logger) *throttle {
	return &throttle{log: log, limiter: rate.NewLimiter(stderrRate, stderrBurst)}
}

// allow reports whether one more line may be logged, and gives the attributes that say how many were not. It is not safe
// for concurrent use.
func (t *throttle) allow() (attrs []any, ok bool) {
	if !t.limiter.Allow() {
		t.missed++
		return nil, false
	}
	if t.missed > 0 {
		attrs = []any{"not_logged", t.missed}
		t.missed = 0
	}
	return attrs, true
}

// dropped logs that something which a command wrote went to nobody.
func (t *throttle) dropped(reason string) {
	if attrs, ok := t.allow(); ok {
		t.log.Warn("a local server's message was dropped", append(attrs, telemetry.KeyReason, reason)...)
	}
}

// says logs a line of a command's standard error.
func (t *throttle) says(text string) {
	if attrs, ok := t.allow(); ok {
		t.log.Info("a local server says", append(attrs, "stderr", text)...)
	}
}

// logStderr logs what a command says on its standard error, line by line and without the secrets that it was given, as they
// are or as mask knows them, until it says no more.
func logStderr(from io.Reader, to *throttle, secrets []string, mask func(string) (string, int)) {
	in := bufio.NewReaderSize(from, stderrRead)
	secrets = slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return len(b) - len(a) }) // one may begin with another
	hide := make([]string, 0, 2*len(secrets))
	for _, s := range secrets {
		hide = append(hide, s, "[redacted]")
	}
	redact := strings.NewReplacer(hide...)
	for {
		line, err := in.ReadSlice('\n')
		text := redact.Replace(string(line))
		if errors.Is(err, bufio.ErrBufferFull) {
			text = withoutHalf(text, secrets)
		}
		text, _ = mask(strings.TrimSpace(text))
		if text != "" {
			to.says(text[:min(len(text), stderrLine)])
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line
			_, err = in.ReadSlice('\n')
		}
		if err != nil {
			break
		}
	}
	if to.missed > 0 {
		to.log.Info("a local server has said more", "not_logged", to.missed)
	}
}

// withoutHalf takes away what a text ends with if a secret begins so.
func withoutHalf(text string, secrets []string) string {
	for _, s := range secrets {
		for n := len(s) - 1; n > 0; n-- {
			if rest, ok := strings.CutSuffix(text, s[:n]); ok {
				return rest
			}
		}
	}
	return text
}

// secretTexts reveals the values that must not be logged.
func secretTexts(secrets []secret.Value) []string {
	var texts []string
	for _, s := range secrets {
		for line := range strings.SplitSeq(s.Reveal(), "\n") { // what is logged is logged by lines
			if line = strings.TrimSpace(line); len(line) >= minRedacted {
				texts = append(texts, line)
			}
		}
	}
	return texts
}
