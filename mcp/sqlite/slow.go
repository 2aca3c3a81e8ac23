package sqlite

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/ncruces/go-sqlite3"
)

// replaceSlow puts functions of Go in the place of those of SQLite that take the product of the lengths of their arguments: of
// two long ones they would take minutes, without looking at an interrupt. What they return is the same, if all text is UTF-8. The
// price is that no index serves LIKE and GLOB.
func (c *conn) replaceSlow() error {
	const flags = sqlite3.DETERMINISTIC | sqlite3.INNOCUOUS
	return errors.Join(
		c.db.CreateFunction("like", 2, flags, like),
		c.db.CreateFunction("like", 3, flags, like),
		c.db.CreateFunction("glob", 2, flags, glob),
		c.db.CreateFunction("instr", 2, flags, instr),
		c.db.CreateFunction("replace", 3, flags, c.replace),
		c.db.CreateFunction("trim", 2, flags, func(ctx sqlite3.Context, arg ...sqlite3.Value) { trim(ctx, arg, true, true) }),
		c.db.CreateFunction("ltrim", 2, flags, func(ctx sqlite3.Context, arg ...sqlite3.Value) { trim(ctx, arg, true, false) }),
		c.db.CreateFunction("rtrim", 2, flags, func(ctx sqlite3.Context, arg ...sqlite3.Value) { trim(ctx, arg, false, true) }),
	)
}

// anyNull reports whether there is a NULL among the arguments, of which everything here makes NULL.
func anyNull(arg []sqlite3.Value) bool {
	for _, a := range arg {
		if a.Type() == sqlite3.NULL {
			return true
		}
	}
	return false
}

// instr returns where the second argument is in the first, counted from 1: in bytes if both are BLOBs, else in characters.
func instr(ctx sqlite3.Context, arg ...sqlite3.Value) {
	if anyNull(arg) {
		return
	}
	blobs := arg[0].Type() == sqlite3.BLOB && arg[1].Type() == sqlite3.BLOB
	in, what := content(arg[0], blobs), content(arg[1], blobs)
	at := bytes.Index(in, what)
	switch {
	case at < 0:
		ctx.ResultInt(0)
	case blobs:
		ctx.ResultInt(at + 1)
	default:
		ctx.ResultInt(utf8.RuneCount(in[:at]) + 1)
	}
}

// content returns the bytes of an argument, which are SQLite's.
func content(v sqlite3.Value, blob bool) []byte {
	if blob {
		return v.RawBlob()
	}
	return v.RawText()
}

// replace puts the third argument in the place of each second one in the first.
func (c *conn) replace(ctx sqlite3.Context, arg ...sqlite3.Value) {
	if anyNull(arg[:2]) {
		return
	}
	in, old := arg[0].RawText(), arg[1].RawText()
	if len(old) == 0 || old[0] == 0 { // SQLite takes the second for empty as well
		if arg[0].Type() == sqlite3.BLOB {
			ctx.ResultValue(arg[0])
		} else {
			ctx.ResultText(string(in))
		}
		return
	}
	if anyNull(arg[2:]) {
		return
	}
	with := arg[2].RawText()
	n := bytes.Count(in, old)
	if len(in)+n*(len(with)-len(old)) > c.maxLength {
		ctx.ResultError(sqlite3.TOOBIG)
		return
	}
	ctx.ResultText(string(bytes.Replace(in, old, with, n)))
}

// trim takes the characters of the second argument off the ends of the first.
func trim(ctx sqlite3.Context, arg []sqlite3.Value, left, right bool) {
	if anyNull(arg) {
		return
	}
	var set [utf8.MaxRune/64 + 1]uint64
	for _, r := range string(arg[1].RawText()) {
		set[r/64] |= 1 << (r % 64)
	}
	within := func(r rune) bool { return set[r/64]&(1<<(r%64)) != 0 }
	text := arg[0].RawText()
	if left {
		text = bytes.TrimLeftFunc(text, within)
	}
	if right {
		text = bytes.TrimRightFunc(text, within)
	}
	ctx.ResultText(string(text))
}
