package source

import (
	"context"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/watch"
	"sallyport.dev/secret"
)

// settled is how long a file must have been unchanged when it was read before its value is kept. File times are no
// finer than the kernel's clock tick: a second write within the same tick, with the same length, would go unseen.
const settled = time.Second

// lookEvery is how often the file of a value that is kept is looked at: under load, not for each call.
const lookEvery = 50 * time.Millisecond

// fileSource keeps the last value with the identity of the file that it came from.
type fileSource struct {
	ref  secret.Ref
	last atomic.Pointer[lastRead]
}

type lastRead struct {
	info   fs.FileInfo // as it was before the read, so that a change during the read shows next time
	got    credential.Fetched
	looked time.Time // when the file was last seen to be the same
}

// Fetch implements credential.Source. A file that is gone, or that others may write to, is an error within 50 ms.
func (s *fileSource) Fetch(ctx context.Context, _ credential.Principal) (credential.Fetched, error) {
	if err := ctx.Err(); err != nil {
		return credential.Fetched{}, unavailable(err)
	}
	began, last := time.Now(), s.last.Load()
	if last != nil && began.Sub(last.looked) < lookEvery {
		return last.got, nil
	}
	path, _ := s.ref.Path()
	info, missing := os.Stat(path)
	if missing == nil && last != nil && unchanged(last.info, info) {
		s.last.CompareAndSwap(last, &lastRead{info: last.info, got: last.got, looked: began})
		return last.got, nil
	}
	watch.Asking(ctx)
	value, err := s.ref.Resolve()
	if err != nil {
		s.last.Store(nil)
		return credential.Fetched{}, unavailable(err)
	}
	got := one(value)
	if missing == nil && began.Sub(info.ModTime()) > settled && began.Sub(changed(info)) > settled {
		s.last.Store(&lastRead{info: info, got: got, looked: began})
	}
	return got, nil
}

// unchanged compares device and inode, times of change, size and permissions.
func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && changed(a).Equal(changed(b)) && a.Size() == b.Size() && a.Mode() == b.Mode()
}
