package sqlite

import (
	"math/rand"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// TestFunctionsAreThoseOfSQLite compares what replaces SQLite's functions with them.
func TestFunctionsAreThoseOfSQLite(t *testing.T) {
	theirs, err := sqlite3.Open(":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = theirs.Close() }()
	ours, err := sqlite3.Open(":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ours.Close() }()
	if err := (&conn{db: ours, maxLength: 1 << 20}).replaceSlow(); err != nil {
		t.Fatal(err)
	}
	answer := func(db *sqlite3.Conn, sql string, args []string) string {
		s, _, err := db.Prepare(sql)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		for i, a := range args {
			switch {
			case a == "NULL":
				err = s.BindNull(i + 1)
			case strings.HasPrefix(a, "blob"):
				err = s.BindBlob(i+1, []byte(a[4:]))
			default:
				err = s.BindText(i+1, a)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		s.Step()
		if err := s.Err(); err != nil {
			return "failed"
		}
		return typeOf(s.ColumnType(0)) + " " + s.ColumnText(0)
	}
	random := rand.New(rand.NewSource(1))
	word := func(alphabet string, most int) string {
		letters := []rune(alphabet)
		var b strings.Builder
		if random.Intn(20) == 0 {
			return "NULL"
		}
		if random.Intn(20) == 0 {
			b.WriteString("blob")
		}
		for range random.Intn(most) {
			b.WriteRune(letters[random.Intn(len(letters))])
		}
		return b.String()
	}
	for range 1_000 {
		const plain = "aAbBéÉ€"
		for sql, args := range map[string][]string{
			"SELECT ?2 LIKE ?1":           {word(plain+"%%__", 7), word(plain, 9)},
			"SELECT like(?1, ?2, ?3)":     {word(plain+"%%__a", 7), word(plain+"%_", 9), word("a%_é", 2)},
			"SELECT ?2 GLOB ?1":           {word(plain+"**??[[]]^-", 9), word(plain+"-]^", 7)},
			"SELECT instr(?1, ?2)":        {word(plain, 9), word(plain, 3)},
			"SELECT replace(?1, ?2, ?3)":  {word("abé", 9), word("abé", 3), word(plain, 3)},
			"SELECT trim(?1, ?2)":         {word(plain, 9), word(plain, 4)},
			"SELECT ltrim(?1, ?2)":        {word(plain, 9), word(plain, 4)},
			"SELECT rtrim(?1, ?2)":        {word(plain, 9), word(plain, 4)},
			"SELECT replace(123, ?1, ?2)": {word("123", 3), word("45", 3)},
		} {
			if a, b := answer(theirs, sql, args), answer(ours, sql, args); a != b {
				t.Fatalf("%s with %q gives %q, and should give %q", sql, args, b, a)
			}
		}
	}
}
