package postgres

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"sallyport.dev/mcp/database"
)

func hasNUL(s string) bool { return strings.ContainsRune(s, 0) || !utf8.ValidString(s) }

// attributes are those of a role that lift what holds everybody else, in the order of rolesQuery.
var attributes = []struct{ name, why string }{
	{"SUPERUSER", "nothing that the database checks holds for it, not even that it reads only what it was granted"},
	{"CREATEROLE", "it can make roles, and give itself their rights"},
	{"CREATEDB", "it can make databases"},
	{"BYPASSRLS", "row-level security does not hold for it"},
	{"REPLICATION", "it can copy the whole server, and make replication slots that fill its disk"},
}

const rolesQuery = `SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = session_user`

// predefined says what the roles of the system (PostgreSQL documentation, 22.5) give, of those that are dangerous here.
var predefined = map[string]string{
	"pg_read_server_files":      "it can read files of the server",
	"pg_write_server_files":     "it can write files on the server, which amounts to superuser",
	"pg_execute_server_program": "it can run programs on the server, which amounts to superuser",
	"pg_signal_backend":         "it can end other sessions",
	"pg_read_all_data":          "it can read every table",
	"pg_write_all_data":         "it can write every table",
	"pg_monitor":                "it can read the statements of other sessions",
	"pg_read_all_stats":         "it can read the statements of other sessions",
	"pg_checkpoint":             "it can slow the server down",
	"pg_database_owner":         "it owns the database",
	"pg_create_subscription":    "it can have the server connect elsewhere",
	"pg_maintain":               "it can lock and rewrite every table",
}

const membershipsQuery = `WITH RECURSIVE m(id) AS (
	SELECT a.roleid FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.member WHERE r.rolname = session_user
	UNION SELECT a.roleid FROM pg_auth_members a JOIN m ON m.id = a.member)
SELECT r.rolname FROM m JOIN pg_roles r ON r.oid = m.id ORDER BY r.rolname`

const ownerQuery = `SELECT count(*), min(c.oid::regclass::text) FROM pg_class c
WHERE pg_get_userbyid(c.relowner) = session_user AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
	AND c.relnamespace::regnamespace::text !~ '^pg_'`

const signalsQuery = `SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ('pg_terminate_backend', 'pg_cancel_backend')
	AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')
ORDER BY 1`

const extensionsQuery = `SELECT DISTINCT e.extname FROM pg_extension e
JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
JOIN pg_proc p ON p.oid = d.objid
WHERE e.extname IN ('dblink', 'postgres_fdw', 'file_fdw', 'adminpack', 'plpython3u', 'plperlu', 'pltclu')
	AND has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(p.pronamespace, 'USAGE')
ORDER BY 1`

// Warnings implements [database.Driver].
func (d *Driver) Warnings(ctx context.Context, as database.Login) ([]string, error) {
	var found []string
	warn := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	err := d.look(ctx, as, func(l *link) error {
		for _, part := range []struct {
			sql string
			say func(row []*string)
		}{
			{rolesQuery, func(row []*string) {
				for i, a := range attributes {
					if text(row[i]) == "t" {
						warn("the login has %s: %s", a.name, a.why)
					}
				}
			}},
			{membershipsQuery, func(row []*string) {
				role := text(row[0])
				if why, ok := predefined[role]; ok {
					warn("the login is a member of %s: %s", role, why)
					return
				}
				warn("the login is a member of %s: a query can take that role on by set_config, and do what it may do", role)
			}},
			{ownerQuery, func(row []*string) {
				if n := text(row[0]); n != "0" {
					warn("the login owns %s tables or views (%s): it passes their row-level security, and a named statement can drop them", n, text(row[1]))
				}
			}},
			{signalsQuery, func(row []*string) {
				warn("every role may call pg_catalog.%s, so a query can end others of the same login: "+
					"REVOKE EXECUTE ON FUNCTION pg_catalog.%s FROM PUBLIC", text(row[0]), text(row[0]))
			}},
			{extensionsQuery, func(row []*string) {
				warn("the login may call functions of the extension %s: what they do outside the database is not undone after a query", text(row[0]))
			}},
		} {
			rows, err := l.query("", part.sql)
			if err != nil {
				return err
			}
			for _, row := range rows {
				part.say(row)
			}
		}
		return nil
	})
	return found, err
}
