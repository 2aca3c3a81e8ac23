package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// maxProblems bounds the problems of a report.
	maxProblems = 100
	// progressEvery is how many lines lie between two calls of Progress.
	progressEvery = 4096
)

// VerifyOptions say what a log is held against.
type VerifyOptions struct {
	// PublicKey is the key that signed the log. Required: without it anybody could have made the log.
	PublicKey PublicKey
	// Checkpoints are those that were kept where whoever can change the log cannot. Only they show that the end of a log
	// was cut off.
	Checkpoints []Checkpoint
	// Progress gets what was found so far, every few thousand lines. Optional.
	Progress func(*Report)
}

// Verify reads a log and reports every sign that it is not what was written. A path is a file of a log, which stands
// for all files of that log if it is the one that is being written, or a folder, which stands for all files of the one
// log in it. It takes bounded memory. The error says that the log could not be read, or that there is no key; what is
// wrong with the log is in the report.
func Verify(ctx context.Context, paths []string, opts VerifyOptions) (Report, error) {
	if len(opts.PublicKey.key) == 0 {
		return Report{}, errors.New("audit: a log is verified with its public key: sallyport audit key prints it")
	}
	files, newest, err := openLog(paths)
	if err != nil {
		return Report{}, err
	}
	defer newest.Close()
	v := newVerifier(opts)
	for i, name := range files {
		f := newest
		if i < len(files)-1 {
			if f, err = os.Open(name); err != nil {
				return v.report, fmt.Errorf("audit: verify: %w", err)
			}
		}
		err := v.readFile(ctx, name, f)
		_ = f.Close() // nothing was written
		if err != nil {
			return v.report, fmt.Errorf("audit: verify: %w", err)
		}
	}
	v.finish()
	return v.report, nil
}

// openLog lists the files, and opens the newest one. What is rotated meanwhile changes nothing: the files before the one that
// is open are listed once it is, when their names do not change any more, and those after it are left out.
func openLog(paths []string) (files []string, newest *os.File, err error) {
	if files, err = collect(paths); err != nil {
		return nil, nil, err
	}
	last := files[len(files)-1]
	if newest, err = os.Open(last); err != nil {
		return nil, nil, fmt.Errorf("audit: verify: %w", err)
	}
	again, err := collect(paths)
	if err == nil && !slices.Equal(files, again) {
		// Its name is by now that of the same file, or of a later one.
		again = slices.DeleteFunc(again, func(path string) bool { return path == last })
		again, err = before(again, newest)
		again = append(again, last)
	}
	if err != nil {
		_ = newest.Close() // nothing was written
		return nil, nil, err
	}
	return again, newest, nil
}

// before returns the files that were written before another one.
func before(files []string, newest *os.File) (earlier []string, err error) {
	own, err := newest.Stat()
	if err != nil {
		return nil, fmt.Errorf("audit: verify: %w", err)
	}
	first := firstSeq(newest) // 0 if it is empty, and then none follows it
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("audit: verify: %w", err)
		}
		info, err := f.Stat()
		number := firstSeq(f)
		_ = f.Close() // nothing was written
		if err != nil {
			return nil, fmt.Errorf("audit: verify: %w", err)
		}
		if !os.SameFile(info, own) && (first == 0 || number < first) {
			earlier = append(earlier, path)
		}
	}
	return earlier, nil
}

// collect lists the files that paths stand for, in the order in which they were written.
func collect(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err == nil && info.IsDir():
			found, err := filesIn(path)
			if err != nil {
				return nil, err
			}
			files = append(files, found...)
		case isRotated(path) && err == nil:
			files = append(files, path)
		default:
			found, err := Files(path)
			if err != nil {
				return nil, err
			}
			files = append(files, found...)
		}
	}
	return inOrder(files)
}

// filesIn lists the files of the log in a folder.
func filesIn(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir), "*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("audit: list %s: %w", dir, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("audit: there is no .jsonl file in %s: %w", dir, os.ErrNotExist)
	}
	return found, nil
}

// isRotated reports whether a path looks like that of a rotated file.
func isRotated(path string) bool {
	stem, _ := splitName(path)
	i := strings.LastIndexByte(stem, '-')
	digits := stem[i+1:]
	return i >= 0 && len(digits) >= rotatedDigits && strings.Trim(digits, "0123456789") == ""
}

// inOrder sorts files by the number of their first line and takes out those that are named twice. Where the first line
// is none, the file keeps its place behind the one before it.
func inOrder(files []string) ([]string, error) {
	type numbered struct {
		path  string
		first uint64
		info  os.FileInfo
	}
	var found []numbered
	var before uint64
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("audit: verify: %w", err)
		}
		info, err := f.Stat()
		first := firstSeq(f)
		_ = f.Close() // nothing was written
		if err != nil {
			return nil, fmt.Errorf("audit: verify: %w", err)
		}
		if slices.ContainsFunc(found, func(n numbered) bool { return os.SameFile(n.info, info) }) {
			continue
		}
		before = cmp.Or(first, before)
		found = append(found, numbered{path, before, info})
	}
	slices.SortStableFunc(found, func(a, b numbered) int { return cmp.Compare(a.first, b.first) })
	ordered := make([]string, len(found))
	for i, n := range found {
		ordered[i] = n.path
	}
	return ordered, nil
}

func (v *verifier) readFile(ctx context.Context, path string, f io.Reader) error {
	v.report.Files++
	v.here = place{file: path}
	v.atStart = true
	return v.read(ctx, f)
}

func (v *verifier) read(ctx context.Context, r io.Reader) error {
	lines := newLineReader(r)
	fresh := true // the next piece begins a line
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if fresh {
			v.here.line++
		}
		fresh = line.ended
		v.line(line)
		if v.here.line%progressEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if v.progress != nil {
				v.progress(&v.report)
			}
		}
	}
}
