package mysql

import (
	"context"
	"slices"
	"strings"

	"sallyport.dev/mcp/database"
)

// dangers are rights that no login of an agent needs, by the name that SHOW GRANTS has for them, and what they allow.
var dangers = []struct{ right, allows string }{
	{"ALL PRIVILEGES", "everything"},
	{"SUPER", "to change the server's settings and to stop others' statements"},
	{"FILE", "to read and write files of the database server; no statement is run for it"},
	{"PROCESS", "to see the statements of others"},
	{"SHUTDOWN", "to stop the server"},
	{"RELOAD", "to empty caches and to lock all tables"},
	{"CREATE USER", "to make logins, and to change those of others"},
	{"CONNECTION ADMIN", "to stop others' statements"},
	{"CONNECTION_ADMIN", "to stop others' statements"},
	{"SYSTEM_VARIABLES_ADMIN", "to change the server's settings"},
	{"READ_ONLY ADMIN", "to write to a server that is read only"},
	{"EVENT", "to make statements that run later, by themselves"},
	{"TRIGGER", "to make statements that run when others write"},
	{"CREATE ROUTINE", "to make functions, which queries then call"},
}

// Warnings implements database.Driver.
func (d *Driver) Warnings(ctx context.Context, as database.Login) ([]string, error) {
	var warnings []string
	err := d.browse(ctx, as, func(ctx context.Context, s *session) error {
		grants, err := d.ask(ctx, s, "SHOW GRANTS")
		if err != nil {
			return err
		}
		for _, r := range grants {
			for _, text := range r { // the one column has the login in its name
				for _, w := range warningsOf(text) {
					if !slices.Contains(warnings, w) {
						warnings = append(warnings, w)
					}
				}
			}
		}
		may, err := s.mayFile(ctx)
		if may && !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, " FILE ") }) {
			warnings = append(warnings, warn("FILE", "*.*", "to read and write files of the database server; no statement is run for it"))
		}
		return err
	})
	if err == nil && d.at.plain && d.at.network != "unix" {
		warnings = append(warnings, "the connection to the database is not encrypted: let the server speak TLS and take tls=disable away")
	}
	return warnings, err
}

// warningsOf reads a line of SHOW GRANTS: GRANT rights ON what TO login …, or GRANT role TO login …. What follows TO may hold the
// hash of a password, and is not looked at.
func warningsOf(line string) (warnings []string) {
	rest, ok := strings.CutPrefix(line, "GRANT ")
	if !ok {
		return nil
	}
	rights, on, hasObject := strings.Cut(rest, " ON ")
	if to := strings.Index(rest, " TO "); !hasObject || to >= 0 && to < len(rights) {
		return []string{"the login has been granted roles, whose rights a session may have too: grant what it needs to itself"}
	}
	object, after, _ := strings.Cut(on, " TO ")
	if strings.HasPrefix(rights, "PROXY") {
		return []string{"the login may act as another one (PROXY): revoke it"}
	}
	held := strings.Split(rights, ", ")
	for _, danger := range dangers {
		if slices.Contains(held, danger.right) {
			warnings = append(warnings, warn(danger.right, object, danger.allows))
		}
	}
	if strings.Contains(after, "WITH GRANT OPTION") {
		warnings = append(warnings, warn("GRANT OPTION", object, "to give its rights to others"))
	}
	return warnings
}

func warn(right, object, allows string) string {
	return "the login has " + right + " on " + object + ", which allows it " + allows + ": revoke it"
}
