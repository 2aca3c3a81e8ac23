package postgres

import (
	"github.com/go-json-experiment/json/jsontext"
	"testing"
)

func TestValues(t *testing.T) {
	b := newBench(t)
	b.sql(t, `CREATE TYPE mood AS ENUM ('sad', 'ok "so"'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN posint AS int CHECK (VALUE > 0);
		CREATE SCHEMA odd; CREATE TYPE odd."My Type" AS ENUM ('x'); GRANT USAGE ON SCHEMA odd TO PUBLIC`)
	for _, test := range []struct{ sql, want, kind string }{
		{"1::int2", "1", "smallint"},
		{"(-2147483648)::int4", "-2147483648", "integer"},
		{"9007199254740991::int8", "9007199254740991", "bigint"},
		{"9007199254740992::int8", `"9007199254740992"`, "bigint"},
		{"-9007199254740992::int8", `"-9007199254740992"`, "bigint"},
		{"4294967295::oid", "4294967295", "oid"},
		{"1.50::numeric(12,2)", `"1.50"`, "numeric(12,2)"},
		{"repeat('9', 100)::numeric", `"` + nines(100) + `"`, "numeric"},
		{"'NaN'::numeric", `"NaN"`, "numeric"},
		{"0.1::float8", "0.1", "double precision"},
		{"0.1::float4", "0.1", "real"},
		{"1e300::float8", "1e+300", "double precision"},
		{"'-0'::float8", "-0", "double precision"},
		{"'NaN'::float8", `"NaN"`, "double precision"},
		{"'-Infinity'::float4", `"-Infinity"`, "real"},
		{"true", "true", "boolean"},
		{"null::bool", "null", "boolean"},
		{"null", "null", "text"},
		{`'{"b": 1.50, "a": [1, null]}'::json`, `{"b":1.50,"a":[1,null]}`, "json"},
		{`'{"a":1,"a":2}'::json`, `"{\"a\":1,\"a\":2}"`, "json"},
		{`'"\ud800"'::json`, `"\"\\ud800\""`, "json"},
		{`(repeat('[', 101) || repeat(']', 101))::json`, `"` + repeat("[", 101) + repeat("]", 101) + `"`, "json"},
		{`'{"n": 123456789012345678901234567890.10}'::jsonb`, `{"n":123456789012345678901234567890.10}`, "jsonb"},
		{`'null'::jsonb`, "null", "jsonb"},
		{"'a\"\\é\n'::text", `"a\"\\é\n"`, "text"},
		{"'x'::char(3)", `"x  "`, "character(3)"},
		{"'x'::varchar(7)", `"x"`, "character varying(7)"},
		{`'\xdeadbeef'::bytea`, `"\\xdeadbeef"`, "bytea"},
		{"'2024-02-29'::date", `"2024-02-29"`, "date"},
		{"'0044-03-15 BC'::date", `"0044-03-15 BC"`, "date"},
		{"'infinity'::timestamptz", `"infinity"`, "timestamp with time zone"},
		{"'2024-02-29 12:00:00.123456+02'::timestamptz", `"2024-02-29 10:00:00.123456+00"`, "timestamp with time zone"},
		{"'2024-02-29 12:00'::timestamp(0)", `"2024-02-29 12:00:00"`, "timestamp(0) without time zone"},
		{"'1 year 2 days 3 hours'::interval", `"P1Y2DT3H"`, "interval"},
		{"'00000000-0000-0000-0000-000000000001'::uuid", `"00000000-0000-0000-0000-000000000001"`, "uuid"},
		{"'[1,5)'::int4range", `"[1,5)"`, "int4range"},
		{"'sad'::mood", `"sad"`, "mood"},
		{`'x'::odd."My Type"`, `"x"`, `odd."My Type"`},
		{"ROW(1, 'a,b')::pair", `"(1,\"a,b\")"`, "pair"},
		{"5::posint", "5", "integer"}, // a column of a domain is described as what is below it
		{"'192.0.2.1'::inet", `"192.0.2.1"`, "inet"},
		{"1234.5::money", `"$1,234.50"`, "money"},
		{"'(1,2)'::point", `"(1,2)"`, "point"},
		{"'a b'::tsvector", `"'a' 'b'"`, "tsvector"},
		{"'<a/>'::xml", `"<a/>"`, "xml"},
		{"'1 2'::int2vector", `"1 2"`, "int2vector"},
		{"'{1,NULL,3}'::int[]", "[1,null,3]", "integer[]"},
		{"'{9007199254740993}'::int8[]", `["9007199254740993"]`, "bigint[]"},
		{"'{{1,2},{3,4}}'::int[]", "[[1,2],[3,4]]", "integer[]"},
		{"'{}'::int[]", "[]", "integer[]"},
		{"'[0:1]={7,8}'::int[]", "[7,8]", "integer[]"},
		{"'[-1:0][2:2]={{7},{8}}'::int[]", "[[7],[8]]", "integer[]"},
		{`ARRAY['a,b', 'c"d', 'e\f', 'NULL', '', NULL, '{}', ' x ']`, `["a,b","c\"d","e\\f","NULL","",null,"{}"," x "]`, "text[]"},
		{"ARRAY[1.50, 2.0]::numeric(9,2)[]", `["1.50","2.00"]`, "numeric(9,2)[]"},
		{"ARRAY[0.5, 'NaN']::float8[]", `[0.5,"NaN"]`, "double precision[]"},
		{"ARRAY[true, false]", "[true,false]", "boolean[]"},
		{`ARRAY['{"a": "x,y"}', '[1]']::jsonb[]`, `[{"a":"x,y"},[1]]`, "jsonb[]"},
		{"ARRAY['sad', 'ok \"so\"']::mood[]", `["sad","ok \"so\""]`, "mood[]"},
		{"ARRAY[box '(1,1),(0,0)', box '(2,2),(1,1)']", `"{(1,1),(0,0);(2,2),(1,1)}"`, "box[]"},
		{"ARRAY[ROW(1, 'a')::pair]", `["(1,a)"]`, "pair[]"},
	} {
		out, err := b.run(t.Context(), statement("SELECT "+test.sql))
		if err != nil {
			t.Errorf("%s: %v", test.sql, err)
			continue
		}
		if got := string(out.All()[0][0]); got != test.want {
			t.Errorf("%s: got %s, want %s", test.sql, got, test.want)
		}
		if got := out.Columns()[0].Type; got != test.kind {
			t.Errorf("%s: type %q, want %q", test.sql, got, test.kind)
		}
	}
}

func repeat(s string, n int) string {
	b := []byte{}
	for range n {
		b = append(b, s...)
	}
	return string(b)
}

func nines(n int) string { return repeat("9", n) }

func TestParams(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct{ sql, param, want string }{
		{"$1::text", `"a\"b\\c\nd'é"`, `"a\"b\\c\nd'é"`},
		{"$1::text", `12.50`, `"12.50"`},
		{"$1::text", `{"a": [1]}`, `"{\"a\": [1]}"`},
		{"$1::text", `[1, 2]`, `"[1, 2]"`},
		{"$1::text", `null`, `null`},
		{"$1::text", ` true `, `"true"`},
		{"$1::text", `""`, `""`},
		{"$1::int8", `9223372036854775807`, `"9223372036854775807"`},
		{"$1::int8", `"42"`, `42`},
		{"$1::numeric", `0.10000000000000000000000000000000001`, `"0.10000000000000000000000000000000001"`},
		{"$1::numeric", `1e2`, `"100"`},
		{"$1::bool", `true`, `true`},
		{"$1::bool", `false`, `false`},
		{"$1::jsonb", `{"a":[1,"x"]}`, `{"a":[1,"x"]}`},
		{"$1::jsonb", `[1,{"b":null}]`, `[1,{"b":null}]`},
		{"$1::jsonb", `null`, `null`},
		{"$1::int[]", `[1,null,3]`, `[1,null,3]`},
		{"$1::int[]", `[]`, `[]`},
		{"$1::int[]", `[[1,2],[3,4]]`, `[[1,2],[3,4]]`},
		{"$1::int[]", `"{5,6}"`, `[5,6]`},
		{"$1::int8[]", `[9223372036854775807]`, `["9223372036854775807"]`},
		{"$1::text[]", `["a,b","c\"d","e\\f","NULL","",null,"{}"," x "]`, `["a,b","c\"d","e\\f","NULL","",null,"{}"," x "]`},
		{"$1::bool[]", `[true,false]`, `[true,false]`},
		{"$1::jsonb[]", `[{"a":"x,y"},"\"q\"",1]`, `[{"a":"x,y"},"q",1]`},
		{"$1::box[]", `["(1,1),(0,0)","(2,2),(1,1)"]`, `"{(1,1),(0,0);(2,2),(1,1)}"`},
		{"$1::date", `"infinity"`, `"infinity"`},
		{"$1::float8", `"NaN"`, `"NaN"`},
		{"2 = ANY($1)", `[1,2]`, `true`},
	} {
		if got := b.value(t, "SELECT "+test.sql, test.param); got != test.want {
			t.Errorf("%s of %s: got %s, want %s", test.sql, test.param, got, test.want)
		}
	}
	for _, test := range []struct {
		sql    string
		params []string
		want   string
	}{
		{"SELECT $1::int, $2::int", []string{"1"}, "has 2 parameters, and 1 were given"},
		{"SELECT 1", []string{"1"}, "has 0 parameters, and 1 were given"},
		{"SELECT $1::text", []string{`"\u0000"`}, "parameter 1 has a character U+0000"},
		{"SELECT $1::text[]", []string{`["\u0000"]`}, "parameter 1 has a character U+0000"},
		{"SELECT $1::text", []string{`{`}, "parameter 1 is not JSON"},
		{"SELECT $1::text", []string{``}, "parameter 1 is not JSON"},
		{"SELECT $1::int[]", []string{`[[[[[[[1]]]]]]]`}, "more dimensions"},
		{"SELECT $1::int", []string{`1.5`}, "22P02"},
	} {
		_, err := b.run(t.Context(), statement(test.sql, test.params...))
		fails(t, err, test.want)
	}
}

func FuzzArray(f *testing.F) {
	for _, s := range []string{"{}", "{1,NULL}", `{"a\"b",{c}}`, "[0:1]={1,2}", "{{1},{2}}", `{"\`, "{,}", "{a", "{{{{{{{1}}}}}}}", "[=", "{(1,1),(0,0);(2,2),(1,1)}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, oid := range []uint32{oidInt8, oidJSON, oidFloat8, oidBool, 25} {
			made := arrayDecoder(scalarDecoder(oid))(b)
			if !valid(made) {
				t.Fatalf("%q as %d gives %q", b, oid, made)
			}
		}
	})
}

// FuzzArrayLiteral writes arrays and reads them again.
func FuzzArrayLiteral(f *testing.F) {
	for _, s := range []string{"[]", `["a\"b","\\",null]`, "[[1],[2]]", `[["x",null],["{}","NULL"]]`, "[[],[]]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !valid(b) || len(b) == 0 || b[0] != '[' {
			return
		}
		literal, err := arrayLiteral(b, true)
		if err != nil {
			return
		}
		again := arrayDecoder(scalarDecoder(25))(literal)
		if len(again) == 0 || again[0] != '[' || !valid(again) {
			t.Fatalf("%q becomes %q, which is read as %q", b, literal, again)
		}
	})
}

func valid(b []byte) bool { return jsontext.Value(b).IsValid() }
