package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/fresh"
	"sallyport.dev/secret"
)

// waitDelay is how long a program's output may go on once the program has ended.
const waitDelay = time.Second

var errProgram = errors.New("the program gives no secret")

// execSource is what a program prints.
type execSource struct {
	keeper *Keeper
	ref    secret.Ref
}

// Fetch implements credential.Source.
func (s execSource) Fetch(ctx context.Context, _ credential.Principal) (credential.Fetched, error) {
	got, err := s.keeper.programs.Get(ctx, s.ref)
	if err != nil {
		return credential.Fetched{}, unavailable(fmt.Errorf("%s: %w", s.ref, err))
	}
	return got.Fetched, nil
}

// printed is what a program has printed.
type printed struct {
	credential.Fetched
	stale atomic.Bool // it could not be replaced in time, which has been told
}

// run is a fresh.FetchFunc.
func (k *Keeper) run(ctx context.Context, ref secret.Ref, old *printed) (*printed, fresh.Lifetime, error) {
	argv, _ := ref.Exec()
	value, err := run(ctx, argv, k.cfg.Exec.Timeout)
	if err != nil {
		if old != nil {
			k.tellOnce(&old.stale, ref, err)
		}
		return nil, fresh.Lifetime{}, err
	}
	return &printed{Fetched: one(value)}, fresh.Lifetime{Refresh: k.cfg.Exec.TTL * 4 / 5, Expire: k.cfg.Exec.TTL}, nil
}

// run runs a program without a shell, with an empty environment and in the root directory, and returns what it prints. That
// others may write to it is looked at just before: whoever may replace it in between may write to it.
func run(ctx context.Context, argv []string, timeout time.Duration) (secret.Value, error) {
	if err := CheckTrusted(argv[0]); err != nil {
		return secret.Value{}, fmt.Errorf("%w: %w", errProgram, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	output := &bounded{most: maxValue}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout = []string{}, "/", output // nil would be our whole environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with what it has started
	cmd.WaitDelay = waitDelay
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left behind
	}
	var exited *exec.ExitError
	switch {
	case output.over:
		return secret.Value{}, fmt.Errorf("%w: it prints more than %d KiB", errProgram, maxValue>>10)
	case errors.Is(err, exec.ErrWaitDelay):
		return secret.Value{}, fmt.Errorf("%w: something that it has started holds its output; let it send the output of that elsewhere", errProgram)
	case errors.Is(ctx.Err(), context.Canceled):
		return secret.Value{}, fmt.Errorf("%w: it was ended with the process that runs it", errProgram)
	case ctx.Err() != nil:
		return secret.Value{}, fmt.Errorf("%w: it takes longer than %s; see what it waits for, or raise sources.exec.timeout", errProgram, timeout)
	case errors.As(err, &exited):
		return secret.Value{}, fmt.Errorf("%w: it ends with %s; run it by hand as this user, with env -i", errProgram, exited.ProcessState)
	case err != nil:
		return secret.Value{}, fmt.Errorf("%w: it cannot be run: %w", errProgram, plain(err))
	}
	text := trimNewline(output.text.String())
	if text == "" {
		return secret.Value{}, fmt.Errorf("%w: it prints nothing; run it by hand as this user, with env -i", errProgram)
	}
	return secret.New(text), nil
}

// trimNewline drops one line end, LF or CRLF, as it is dropped from files.
func trimNewline(text string) string {
	trimmed, found := strings.CutSuffix(text, "\n")
	if !found {
		return text
	}
	return strings.TrimSuffix(trimmed, "\r")
}

// plain takes the path out of an error, which the reference has.
func plain(err error) error {
	var wrapped *fs.PathError
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// bounded keeps what is written, up to a bound, and then ends the writer.
type bounded struct {
	text bytes.Buffer
	most int
	over bool
}

var errOver = errors.New("too much")

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > b.most {
		b.over = true
		return 0, errOver
	}
	return b.text.Write(p)
}
