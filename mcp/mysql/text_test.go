package mysql

import (
	"strings"
	"testing"
)

func TestSingle(t *testing.T) {
	for sql, want := range map[string]string{ // what is left; empty if it is several
		"SELECT 1":                     "SELECT 1",
		"SELECT 1;":                    "SELECT 1",
		"SELECT 1 ; -- x\n # y\n/* */": "SELECT 1 ",
		"SELECT 1;--x":                 "",
		"SELECT 1;;":                   "",
		"SELECT 1; /*! x */":           "",
		"SELECT 1; /*M!x*/":            "",
		"SELECT 1; SELECT 2":           "",
		"SELECT ';'":                   "SELECT ';'",
		`SELECT '\';'`:                 `SELECT '\';'`,
		`SELECT ''';'`:                 `SELECT ''';'`,
		`SELECT "a;\"b;"`:              `SELECT "a;\"b;"`,
		"SELECT `a\\`;":                "SELECT `a\\`",
		"SELECT 1 -- ;":                "SELECT 1 -- ;",
		"SELECT 1 --;":                 "SELECT 1 --",
		"SELECT /* ; */ 1":             "SELECT /* ; */ 1",
		"SELECT /* ; ":                 "SELECT /* ; ",
		"SELECT 'open; ":               "SELECT 'open; ",
		"":                             "",
	} {
		got, one := single(sql)
		if one && got != want || one == (want == "" && sql != "") {
			t.Errorf("%q: %q, %v; want %q", sql, got, one, want)
		}
	}
}

func TestFirstWord(t *testing.T) {
	for sql, want := range map[string]string{
		"select 1": "SELECT", " \n\t-- x\n# y\n/* z */ ((Select 1))": "SELECT", "SELECT/**/1": "SELECT", "SELECT*": "SELECT", "SELECT'x'": "SELECT",
		"/*!SELECT*/ 1": "", "/*M!100000 SELECT*/ 1": "", "/*+ x */ SELECT": "", "SELECT1": "", "SELECTé": "", "`SELECT`": "", "'SELECT'": "",
		"": "", "1": "", "@SELECT": "", "[SELECT": "", "--SELECT 1": "", "/* open SELECT": "", ";SELECT": "", "/*/ SELECT */ DELETE": "DELETE",
	} {
		if got := firstWord(sql); got != want {
			t.Errorf("%q begins with %q, want %q", sql, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"SELECT 1; -- x", "/*!50000 DELETE */", `'\'`, "((", "--", "/*", "é;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		cut, _ := single(sql)
		if !strings.HasPrefix(sql, cut) {
			t.Errorf("%q becomes %q", sql, cut)
		}
		if word := firstWord(sql); word != "" && !strings.Contains(strings.ToUpper(sql), word) {
			t.Errorf("%q begins with %q", sql, word)
		}
	})
}

func TestMessage(t *testing.T) {
	for in, want := range map[string]string{
		"Access denied for user 'app'@'10.0.0.1' (using password: YES)": "Access denied for a login (using password: YES)",
		"SELECT command denied to user `a`@`b` for table `x`":           "SELECT command denied to a login for table `x`",
		"near 'hunter22' at line 1":                                     "near '***' at line 1",
		"\xff":                                                          "\uFFFD",
		strings.Repeat("é", 2000):                                       strings.Repeat("é", 1024) + "…",
		"x" + strings.Repeat("é", 2000):                                 "x" + strings.Repeat("é", 1023) + "…",
	} {
		if got := message(in, "hunter22"); got != want {
			t.Errorf("%s becomes %s", in, got)
		}
	}
}
