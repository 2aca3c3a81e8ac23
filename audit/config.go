package audit

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// Mode says what happens to calls when the log cannot be written.
type Mode string

// The modes. The zero Mode writes no log.
const (
	// Strict refuses calls that cannot be recorded.
	Strict Mode = "strict"
	// BestEffort lets calls go on, and counts the events that are lost.
	BestEffort Mode = "best_effort"
)

const (
	// defaultMaxSize is where a file is rotated, in bytes.
	defaultMaxSize = 64 << 20
	// leastMaxSize keeps rotation from being most of the work.
	leastMaxSize = 64 << 10
	// mostMaxSize is a file that can still be looked through.
	mostMaxSize = 1 << 40
	// defaultKeep is how many rotated files stay.
	defaultKeep = 16
	// mostKeep is how many rotated files a directory can still hold well.
	mostKeep = 10_000

	// folder and fileName are the default place, below state_dir.
	folder   = "audit"
	fileName = "audit.jsonl"
)

// Config is the audit key of a role's file: the word strict or best_effort, or the keys below. The zero Config writes
// no log.
type Config struct {
	// Mode is strict (calls that cannot be recorded are refused) or best_effort (they are made, and counted). Required.
	Mode Mode `yaml:"mode"`
	// File is the absolute path of the log. Required under strict if there is a syslog. Default audit/audit.jsonl in state_dir; with syslog none.
	File string `yaml:"file"`
	// Syslog is where each line goes too: unix:/dev/log, udp://host:514 or tcp://host:601. Optional.
	Syslog string `yaml:"syslog"`
	// MaxSize is the size at which a file is rotated, in bytes, 65536 to 1099511627776. Default 67108864 (64 MiB).
	MaxSize int64 `yaml:"max_size"`
	// Keep is how many rotated files stay, 1 to 10000; older ones are deleted. Default 16.
	Keep int `yaml:"keep"`
}

// Enabled reports whether a log is written at all.
func (c Config) Enabled() bool { return c.Mode != "" }

// Validate reports every value that cannot be used, each beginning with its key. No value is quoted.
func (c Config) Validate() error {
	if !c.Enabled() {
		if c != (Config{}) {
			return errors.New("mode: required: strict or best_effort")
		}
		return nil
	}
	var problems []error
	if c.Mode != Strict && c.Mode != BestEffort {
		problems = append(problems, errors.New("mode: strict or best_effort"))
	}
	if c.File != "" && (!filepath.IsAbs(c.File) || filepath.Clean(c.File) != c.File) {
		problems = append(problems, errors.New("file: write an absolute path, without . and .. in it"))
	}
	if c.Mode == Strict && c.File == "" && c.Syslog != "" {
		problems = append(problems, errors.New("file: required under strict: a syslog does not say whether a line has arrived, so it cannot hold calls up"))
	}
	if c.Syslog != "" {
		if _, err := parseSyslog(c.Syslog); err != nil {
			problems = append(problems, fmt.Errorf("syslog: %w", err))
		}
	}
	if c.MaxSize != 0 && (c.MaxSize < leastMaxSize || c.MaxSize > mostMaxSize) {
		problems = append(problems, fmt.Errorf("max_size: %d to %d bytes", leastMaxSize, mostMaxSize))
	}
	if c.Keep < 0 || c.Keep > mostKeep {
		problems = append(problems, fmt.Errorf("keep: 1 to %d", mostKeep))
	}
	return errors.Join(problems...)
}

// Path is the file of the log. Where a syslog alone gets the lines it is the file that would be written: its latest
// checkpoint lies beside it.
func (c Config) Path(stateDir string) string {
	if c.File != "" {
		return c.File
	}
	return filepath.Join(stateDir, folder, fileName)
}

// writesFile reports whether lines go to a file.
func (c Config) writesFile() bool { return c.File != "" || c.Syslog == "" }

// endpoint is where a syslog listens.
type endpoint struct{ network, address string }

// parseSyslog reads unix:/path, udp://host:port or tcp://host:port.
func parseSyslog(text string) (endpoint, error) {
	wrong := errors.New("write unix:/dev/log, udp://host:514 or tcp://host:601")
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path {
			return endpoint{}, wrong
		}
		return endpoint{"unixgram", path}, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "udp" && u.Scheme != "tcp" || u.Hostname() == "" || u.Port() == "" || text != u.Scheme+"://"+u.Host {
		return endpoint{}, wrong
	}
	return endpoint{u.Scheme, u.Host}, nil
}
