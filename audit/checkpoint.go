package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	// signedText begins what a checkpoint signs, so that a signature of it is none of anything else.
	signedText = "sallyport.dev/audit checkpoint v1\n"
	// checkpointSuffix is added to the log's path for the latest checkpoint.
	checkpointSuffix = ".checkpoint"
	// maxCheckpoints bounds how many are read from one file: one a minute of a year.
	maxCheckpoints = 600_000
)

// Checkpoint is a signed line of a log, and vouches for that line and all before it. It stands alone: kept elsewhere,
// it shows what the log was.
type Checkpoint struct {
	// Seq is the number of the checkpoint's line.
	Seq uint64
	// Prev is the head of the chain that was signed: the SHA-256 of the line before, in hexadecimal.
	Prev string
	// Time is when it was signed.
	Time time.Time
	// Log is the id of the log.
	Log string
	// Key is the public key as text. It is what the line says; whoever verifies brings the key that is trusted.
	Key string
	// Signature is in base64url.
	Signature string
}

// String is the line of the checkpoint, as it stands in the log.
func (c Checkpoint) String() string { return string(c.line()) }

func (c Checkpoint) record() Record {
	return Record{Seq: c.Seq, Prev: c.Prev, Type: typeCheckpoint, Time: c.Time, Log: c.Log, Key: c.Key, Signature: c.Signature}
}

func (c Checkpoint) line() []byte {
	r := c.record()
	return appendRecord(nil, &r)
}

// hash is that of the line, which the next line has as prev.
func (c Checkpoint) hash() string {
	sum := sha256.Sum256(c.line())
	return hex.EncodeToString(sum[:])
}

func checkpointOf(r *Record) Checkpoint {
	return Checkpoint{Seq: r.Seq, Prev: r.Prev, Time: r.Time, Log: r.Log, Key: r.Key, Signature: r.Signature}
}

// signed is the text under the signature: the domain, then a line each for log id, number, head and time.
func (c Checkpoint) signed() []byte {
	b := append([]byte(signedText), c.Log...)
	b = append(b, '\n')
	b = strconv.AppendUint(b, c.Seq, 10)
	b = append(b, '\n')
	b = append(b, c.Prev...)
	b = append(b, '\n')
	return append(appendTime(b, c.Time), '\n')
}

// sign completes a checkpoint.
func (c *Checkpoint) sign(key ed25519.PrivateKey) {
	c.Signature = base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, c.signed()))
}

// SignedBy reports whether the key made the signature.
func (c Checkpoint) SignedBy(key PublicKey) bool {
	signature, err := base64.RawURLEncoding.Strict().DecodeString(c.Signature)
	return err == nil && len(key.key) == ed25519.PublicKeySize && c.Log == key.LogID() && ed25519.Verify(key.key, c.signed(), signature)
}

// ParseCheckpoint reads the line of a checkpoint. It does not look at the signature.
func ParseCheckpoint(line []byte) (Checkpoint, error) {
	r, err := ParseRecord(bytes.TrimSpace(line))
	if err != nil || r.Type != typeCheckpoint || r.Signature == "" {
		return Checkpoint{}, errors.New("audit: not a checkpoint")
	}
	return checkpointOf(&r), nil
}

// ReadCheckpoints reads checkpoints that were kept, one a line. Empty lines are passed over.
func ReadCheckpoints(r io.Reader) ([]Checkpoint, error) {
	var found []Checkpoint
	lines := newLineReader(r)
	for number := 1; ; number++ {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("audit: read checkpoints: %w", err)
		}
		if len(bytes.TrimSpace(line.text)) == 0 {
			continue
		}
		c, err := ParseCheckpoint(line.text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if found = append(found, c); len(found) > maxCheckpoints {
			return nil, fmt.Errorf("line %d: audit: more than %d checkpoints; give fewer at once", number, maxCheckpoints)
		}
	}
}

// publish puts the checkpoint beside the log, whole or not at all.
func (c Checkpoint) publish(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("audit: write the checkpoint: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("audit: write the checkpoint: %w", err)
		}
	}()
	_, err = f.Write(append(c.line(), '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// published reads the checkpoint beside the log, if there is one that key has signed.
func published(path string, key PublicKey) (c Checkpoint, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return Checkpoint{}, false
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxLine))
	if err != nil {
		return Checkpoint{}, false
	}
	c, err = ParseCheckpoint(raw)
	return c, err == nil && c.SignedBy(key)
}
