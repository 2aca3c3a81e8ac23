package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// rotatedDigits is how many digits the first number has in a rotated file's name, so that names sort as numbers do.
const rotatedDigits = 12

// rotatedFile is a file that was rotated.
type rotatedFile struct {
	name  string
	first uint64
}

// rotatedName is the path to which the log at path is rotated: the number of its first line is put before the
// extension, which for a file without one is .jsonl.
func rotatedName(path string, first uint64) string {
	stem, ext := splitName(path)
	return fmt.Sprintf("%s-%0*d%s", stem, rotatedDigits, first, ext)
}

func splitName(path string) (stem, ext string) {
	ext = filepath.Ext(path)
	return strings.TrimSuffix(path, ext), cmp.Or(ext, ".jsonl")
}

// rotated lists the rotated files of the log at path, oldest first.
func rotated(path string) ([]rotatedFile, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("audit: list the log's files: %w", err)
	}
	stem, ext := splitName(filepath.Base(path))
	var found []rotatedFile
	for _, entry := range entries {
		digits, ok := strings.CutPrefix(entry.Name(), stem+"-")
		digits, ok2 := strings.CutSuffix(digits, ext)
		first, err := strconv.ParseUint(digits, 10, 64)
		if ok && ok2 && err == nil && len(digits) >= rotatedDigits && entry.Type().IsRegular() {
			found = append(found, rotatedFile{entry.Name(), first})
		}
	}
	slices.SortFunc(found, func(a, b rotatedFile) int { return cmp.Compare(a.first, b.first) })
	return found, nil
}

// Files lists the files of the log at path in the order in which they were written: those that were rotated, then the
// one that is being written, if it is there. No file at all is an error that wraps [fs.ErrNotExist].
func Files(path string) ([]string, error) {
	const tries = 5 // a file that is rotated between two looks would be there twice, or not at all
	for try := 1; ; try++ {
		before, err := rotated(path)
		if err != nil {
			return nil, err
		}
		_, statErr := os.Stat(path)
		after, err := rotated(path)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(before, after) && try < tries {
			continue
		}
		var files []string
		for _, f := range after {
			files = append(files, filepath.Join(filepath.Dir(path), f.name))
		}
		switch {
		case statErr == nil:
			files = append(files, path)
		case !errors.Is(statErr, fs.ErrNotExist):
			return nil, fmt.Errorf("audit: read the log: %w", statErr)
		case len(files) == 0:
			return nil, fmt.Errorf("audit: there is no log at %s: %w", path, fs.ErrNotExist)
		}
		return files, nil
	}
}

// prune deletes the oldest rotated files of the log at path but for keep of them.
func prune(path string, keep int) error {
	names, err := rotated(path)
	if err != nil {
		return err
	}
	var problems []error
	for len(names) > keep {
		if err := os.Remove(filepath.Join(filepath.Dir(path), names[0].name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, fmt.Errorf("audit: delete an old file: %w", err))
		}
		names = names[1:]
	}
	return errors.Join(problems...)
}
