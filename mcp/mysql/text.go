package mysql

import (
	"slices"
	"strings"
	"unicode/utf8"

	"sallyport.dev/mcp/database"
)

// checkText refuses what the server would read otherwise than whoever wrote it.
func checkText(sql string) error {
	switch {
	case strings.ContainsRune(sql, 0):
		return &database.Error{Text: "the statement has a NUL byte, and was not run: leave it out, or write it as 0x00 or CHAR(0)"}
	case !utf8.ValidString(sql):
		return &database.Error{Text: "the statement is not valid UTF-8, and was not run: write other bytes as 0x…"}
	}
	return nil
}

// single cuts off a semicolon after which come comments and blanks alone, and reports whether that left one statement. It
// decides nothing but which error is shown: the server takes one statement, whatever is said here. It reads as the server does
// in the sql_mode that connections have, with backslashes in strings and no ANSI_QUOTES.
func single(sql string) (string, bool) {
	end := -1
	for i := 0; i < len(sql); {
		kind, n := token(sql[i:])
		switch {
		case kind == blank:
		case end >= 0:
			return sql, false
		case kind == semicolon:
			end = i
		}
		i += n
	}
	if end >= 0 {
		return sql[:end], true
	}
	return sql, true
}

// asks reports whether a statement begins as queries do. It keeps out what returns a result and does something too, and is not
// kept out by the READ ONLY transaction: see the package's comment.
func asks(sql string) bool {
	return slices.Contains([]string{"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN"}, firstWord(sql))
}

// firstWord returns the first word of a statement in upper case, if nothing but blanks, parentheses and comments that the server
// skips stand before it. What begins otherwise has none: with a number, or a comment that may be executed.
func firstWord(sql string) string {
	for i := 0; i < len(sql); {
		kind, n := token(sql[i:])
		if word := sql[i : i+n]; kind != blank && word != "(" {
			for _, c := range []byte(word) {
				if c|0x20 < 'a' || c|0x20 > 'z' {
					return ""
				}
			}
			return strings.ToUpper(word)
		}
		i += n
	}
	return ""
}

// The kinds of tokens that matter here.
const (
	blank = iota // white space, or a comment
	semicolon
	other
)

// token returns the kind and length of the first token of a text that is not empty.
func token(s string) (kind, n int) {
	switch c := s[0]; {
	case c == ';':
		return semicolon, 1
	case c == ' ' || c >= '\t' && c <= '\r':
		return blank, 1
	case c == '#', c == '-' && dashes(s):
		if end := strings.IndexByte(s, '\n'); end >= 0 {
			return blank, end + 1
		}
		return blank, len(s)
	case strings.HasPrefix(s, "/*"):
		if strings.HasPrefix(s, "/*!") || strings.HasPrefix(s, "/*M!") || strings.HasPrefix(s, "/*+") {
			return other, 2 // executed, or a hint: what is in it is looked at as if it stood in the open
		}
		if end := strings.Index(s[2:], "*/"); end >= 0 {
			return blank, 2 + end + 2
		}
		return other, len(s)
	case c == '\'', c == '"', c == '`':
		return other, quoted(s)
	case letter(c):
		for n = 1; n < len(s) && letter(s[n]); n++ {
		}
		return other, n
	}
	return other, 1
}

// dashes reports whether a text begins with a comment of two dashes, which a blank or a control character has to follow.
func dashes(s string) bool {
	return strings.HasPrefix(s, "--") && (len(s) == 2 || s[2] <= ' ' || s[2] == 0x7f)
}

// quoted is the length of a string or quoted name. A doubled quote reads as two of them, which makes no difference here.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case s[0]:
			return i + 1
		case '\\':
			if s[0] != '`' {
				i++
			}
		}
	}
	return len(s)
}

func letter(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= utf8.RuneSelf
}

// quoteName writes a name as an identifier.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
