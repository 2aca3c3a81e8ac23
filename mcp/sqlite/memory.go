package sqlite

import (
	"bytes"
	"crypto/rand"
	"fmt"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/serdes"
	"github.com/ncruces/go-sqlite3/util/ioutil"
	"github.com/ncruces/go-sqlite3/vfs/readervfs"

	"sallyport.dev/mcp/database"
)

// memory is a database in memory, by the name under which SQLite finds it. It never changes.
type memory string

// NewMemory returns a database in memory that script has filled, and that is read only from then on. The script is SQL text that
// is trusted: nothing bounds it.
func NewMemory(script string, o database.Options) (*Driver, error) {
	content, err := build(script)
	if err != nil {
		return nil, fmt.Errorf("sqlite: fill the database in memory: %w", err)
	}
	name := rand.Text()
	readervfs.Create(name, ioutil.NewSizeReaderAt(bytes.NewReader(content)))
	return newDriver(memory(name), false, o), nil
}

// build returns the bytes of the database that a script makes.
func build(script string) (content []byte, err error) {
	err = caught(func() error {
		db, err := sqlite3.Open(":memory:")
		if err != nil {
			return err
		}
		defer db.Close() //nolint:errcheck // it ends with its memory
		if err := db.Exec(script); err != nil {
			return err
		}
		content, err = serdes.Serialize(db, "main")
		return err
	})
	return content, err
}

func (m memory) look(bool) (uri string, still func() bool, err error) {
	return "file:" + string(m) + "?vfs=reader&mode=ro", nil, nil
}

func (memory) hide(text string) string { return text }
func (memory) warnings() []string      { return nil }
func (m memory) close()                { readervfs.Delete(string(m)) }
