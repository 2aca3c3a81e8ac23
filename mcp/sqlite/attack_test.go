package sqlite

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/sqlite/sqlitetest"
)

const (
	attackTime   = time.Second
	attackMemory = 64 << 20
)

// resident is how much memory the process has, in bytes; 0 where that cannot be told.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// peak calls work, and returns by how many bytes the process had grown at most.
func peak(work func()) int64 {
	debug.FreeOSMemory()
	before := resident()
	var most atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				most.Store(max(most.Load(), resident()))
			}
		}
	}()
	work()
	most.Store(max(most.Load(), resident()))
	close(stop)
	<-stopped
	return most.Load() - before
}

func files(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestAttacks(t *testing.T) {
	d, path := sample(t, false)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	beside := files(t, filepath.Dir(path))
	for _, a := range sqlitetest.Attacks() {
		t.Run(a.Name, func(t *testing.T) {
			s := statement(a.SQL, a.Params...)
			s.Timeout = attackTime
			out := database.NewRows(100, options.MaxBytes)
			var err error
			begin := time.Now()
			grown := peak(func() { err = d.Run(t.Context(), database.Login{}, s, out) })
			if took := time.Since(begin); took > attackTime+time.Second {
				t.Errorf("it took %s", took)
			} else {
				t.Logf("%s, %d MiB: %.200v", took.Round(time.Millisecond), grown>>20, err)
			}
			if grown > attackMemory {
				t.Errorf("it took %d MiB", grown>>20)
			}
			if a.Fails && err == nil {
				t.Errorf("it returns %.200s", table(out))
			}
			if known, ok := errors.AsType[*database.Error](err); err != nil && (!ok || strings.Contains(known.Error(), path) || len(known.Error()) > 2<<11) {
				t.Errorf("not an error to tell: %v", err)
			} else if ok && strings.Contains(errors.Join(known.Err, errors.New("")).Error(), "panic") {
				t.Errorf("a panic: %v", known.Err)
			}
			if _, err := d.Explain(t.Context(), database.Login{}, s); err != nil {
				if _, ok := errors.AsType[*database.Error](err); !ok {
					t.Errorf("explain: %v", err)
				}
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Fatal("the file was changed")
			}
			if now := files(t, filepath.Dir(path)); now != beside {
				t.Fatalf("beside the file there is now: %s", now)
			}
			if out, err := run(t, d, statement("SELECT count(*) FROM orders")); err != nil || table(out) != "count(*) INTEGER, [3]" {
				t.Fatalf("afterwards: %s, %v", table(out), err)
			}
		})
	}
}

func FuzzRun(f *testing.F) {
	for _, a := range sqlitetest.Attacks() {
		if len(a.SQL) < 1000 && len(a.Params) == 0 && !strings.HasPrefix(a.Name, "without end") && !strings.HasPrefix(a.Name, "memory") {
			f.Add(a.SQL)
		}
	}
	path := sqlitetest.Sample(f)
	before, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	d, err := New(Config{File: path}, options)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(d.Close)
	f.Fuzz(func(t *testing.T, sql string) {
		const limit = 200 * time.Millisecond
		s := statement(sql)
		s.Timeout = limit
		begin := time.Now()
		err := d.Run(context.WithoutCancel(t.Context()), database.Login{}, s, database.NewRows(10, 1<<16))
		if took := time.Since(begin); took > limit+2*time.Second {
			t.Errorf("it took %s", took)
		}
		if known, ok := errors.AsType[*database.Error](err); err != nil && !ok {
			t.Errorf("not an error to tell: %v", err)
		} else if ok && known.Err != nil && strings.Contains(known.Err.Error(), "panic") {
			t.Errorf("a panic: %v", known.Err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Fatal("the file was changed")
		}
		if now := files(t, filepath.Dir(path)); now != filepath.Base(path) {
			t.Fatalf("beside the file there is now: %s", now)
		}
	})
}
