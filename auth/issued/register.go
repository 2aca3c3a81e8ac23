package issued

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/auth"
)

// maxLine bounds a line of the register.
const maxLine = 64 << 10

// entry is a line of the register: what was issued, and never the token.
type entry struct {
	ID      string         `json:"id"`
	Name    string         `json:"name"`
	Tunnels []string       `json:"tunnels"`
	Servers []string       `json:"servers"`
	Claims  map[string]any `json:"claims,omitempty"`
	Created time.Time      `json:"created"`
	Expires time.Time      `json:"expires"`
	Key     string         `json:"kid"`
}

func newEntry(c *Contents) entry {
	return entry{c.ID, c.Name, c.Grant.Tunnels, c.Grant.Servers, c.Claims, c.Created.UTC(), c.Expires.UTC(), c.Key}
}

func (e *entry) contents(issuer string) Contents {
	return Contents{
		ID: e.ID, Key: e.Key, Issuer: issuer, Name: e.Name, Grant: auth.Grant{Tunnels: e.Tunnels, Servers: e.Servers},
		Claims: e.Claims, Created: e.Created, Expires: e.Expires,
	}
}

// valid refuses what no line of ours says, so that a list of them can be printed.
func (e *entry) valid() bool {
	return validID(e.ID) && validKeyID(e.Key) && checkName(e.Name) == nil && checkNames("", e.Tunnels) == nil && checkNames("", e.Servers) == nil &&
		e.Created.Unix() > 0 && e.Expires.After(e.Created) && e.Expires.Sub(e.Created) <= MaxTTL
}

// readRegister gives the entries of a register, and the numbers of the lines that are none: one that a crash has torn, most
// of all. An id that is there twice counts once.
func readRegister(r io.Reader) (entries []entry, torn []int, err error) {
	lines := bufio.NewReaderSize(r, maxLine)
	seen := make(map[string]bool)
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return nil, nil, err
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		var e entry
		switch {
		case !tooLong && len(line) == 0:
		case tooLong || json.Unmarshal(line, &e) != nil || !e.valid():
			torn = append(torn, number)
		case !seen[e.ID]:
			seen[e.ID] = true
			entries = append(entries, e)
		}
		if last {
			return entries, torn, nil
		}
	}
}

func (d directory) register() (entries []entry, torn []int, err error) {
	file, err := d.open(registerFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err == nil {
		defer file.Close()
		entries, torn, err = readRegister(file)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", d.path(registerFile), pathText(err))
	}
	return entries, torn, nil
}

// append adds a line to the register, on a line of its own whatever the one before is. It needs the lock.
func (d directory) append(e entry, o owner) (err error) {
	path := d.path(registerFile)
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, pathText(err))
		}
	}()
	line, err := json.Marshal(e)
	if err != nil {
		return errors.New("the entry is not JSON")
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&othersWrite != 0 {
		return errors.New("it is not a regular file, or others may write to it: chmod 600 it")
	}
	last := []byte("\n")
	if info.Size() > 0 {
		if _, err := file.ReadAt(last, info.Size()-1); err != nil {
			return err
		}
	}
	line = append(line, '\n')
	if last[0] != '\n' { // a crash has torn it
		line = slices.Concat([]byte("\n"), line)
	}
	_, err = file.Write(line)
	err = errors.Join(err, o.give(file.Chown), file.Sync())
	if err == nil && info.Size() == 0 { // its name is new, too
		err = d.sync()
	}
	return err
}
