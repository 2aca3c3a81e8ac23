package connector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/watch"
	"sallyport.dev/mcp"
	"sallyport.dev/mcp/database"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
)

const (
	inspectEvery = 10 * time.Minute // a login is looked at
	inspectTime  = 5 * time.Second
	maxInspected = 1024 // logins
)

// databaseOrigin stands for the origin that a database does not have. The name cannot be looked up (RFC 6761 §6.4).
const databaseOrigin = "http://database.invalid"

// databaseUpstream is an upstream that is a database.
type databaseUpstream struct {
	name   string
	cfg    Server
	kind   databaseKind
	server *database.Server
	logins []login
	guard  *guard
	round  inMemory

	mu        sync.Mutex // guards inspected
	inspected map[string]inspection
}

// login is one login with the source of what is secret in it.
type login struct {
	DatabaseLogin
	source credential.Source // of the user, if that is secret, and the password; nil if nothing is
}

// inspection is what was found when a login was looked at.
type inspection struct {
	user     string
	warnings []string
	err      error
	at       time.Time
}

// newDatabase makes the upstream. It dials nobody.
func (c *Connector) newDatabase(name string, cfg Server, r *routes, guard *guard) (*upstream, error) {
	roots, err := loadRoots(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	kind := cfg.database()
	common := kind.common()
	d := &databaseUpstream{name: name, cfg: cfg, kind: kind, guard: guard, inspected: make(map[string]inspection)}
	for i, one := range kind.access().all() {
		l := login{DatabaseLogin: one}
		if refs := one.refs(); len(refs) > 0 {
			if l.source, err = c.keeper.Source(refs...); err != nil {
				return nil, fmt.Errorf("login %d: %w", i+1, err)
			}
		}
		d.logins = append(d.logins, l)
	}
	dialer := &net.Dialer{Timeout: dialUpstream, Control: r.addresses.Control}
	driver, err := kind.open(database.Options{Dial: dialer.DialContext, Roots: roots, MaxConnections: common.MaxConnections, MaxBytes: common.MaxBytes})
	if err != nil {
		return nil, err
	}
	d.server = database.NewServer(*common, driver, database.ServerOptions{Name: name, Version: c.cfg.Version, Failed: func(tool string, err error) {
		c.log.Warn("a database failed", telemetry.KeyServer, name, telemetry.KeyTool, tool, telemetry.KeyError, guard.clean(err))
	}})
	d.round = inMemory{d.server, c.log}
	place, _ := url.Parse(databaseOrigin + "/mcp") // a constant
	return &upstream{name: name, cfg: cfg, url: place, timeout: cfg.CallTimeout, transport: d, guard: guard, database: d, closers: []func(){d.server.Close}}, nil
}

// RoundTrip answers a call: it finds the caller's login and hands the call to the server of the database. The request's
// context has the call's note.
func (d *databaseUpstream) RoundTrip(r *http.Request) (*http.Response, error) {
	n := noteFrom(r.Context())
	as, err := d.login(r.Context(), n.caller())
	if err != nil {
		return nil, mcp.CredentialUnavailable(err)
	}
	d.inspectLater(n, as)
	who := database.Caller{Issuer: n.principal.Issuer, Subject: n.principal.Subject, Claims: n.principal.Claims, Login: as}
	return d.round.RoundTrip(r.WithContext(database.WithCaller(r.Context(), who)))
}

// login finds the login for a principal, and fetches what is secret in it.
func (d *databaseUpstream) login(ctx context.Context, who credential.Principal) (as database.Login, err error) {
	if err := d.cfg.admits(who); err != nil {
		return as, err
	}
	i := slices.IndexFunc(d.logins, func(l login) bool { return l.For.Covers(who) })
	if i < 0 {
		return as, fmt.Errorf("%w: none of the logins is for this principal", credential.ErrUnavailable)
	}
	l := &d.logins[i]
	as.User = l.User.Text
	key := fmt.Sprint(i)
	if l.source != nil {
		got, err := watch.Over(ctx, d.numberOf(i), func() (credential.Fetched, error) { return l.source.Fetch(ctx, who) })
		if err != nil {
			return as, fmt.Errorf("login %d: %w", i+1, err)
		}
		values := got.Values
		if !l.User.Secret.IsZero() {
			as.User, values = values[0].Reveal(), values[1:] // a name, which the database shows to everybody
		}
		if len(values) > 0 {
			as.Password = values[0]
			d.guard.use(as.Password, got.Expires)
		}
		key = fmt.Sprintf("%d\x00%x", i, got.Version)
		if l.isPersonal() {
			key += "\x00" + who.Issuer + "\x00" + who.Subject
		}
	}
	as.Key = key
	return as, nil
}

// numberOf is which of the logins that have secrets one is.
func (d *databaseUpstream) numberOf(login int) (number int) {
	for i := range login {
		if d.logins[i].source != nil {
			number++
		}
	}
	return number
}

// inspectLater looks at a login that was not looked at lately, while nobody waits.
func (d *databaseUpstream) inspectLater(n *note, as database.Login) {
	d.mu.Lock()
	before, known := d.inspected[as.Key]
	due := !known || time.Since(before.at) > inspectEvery
	if due {
		before.at = time.Now() // one at a time
		d.inspected[as.Key] = before
	}
	d.mu.Unlock()
	if !due {
		return
	}
	u := n.upstream
	u.calls.Add(1) // the call is one too, so that there is no Wait that this could overtake
	go func() {
		defer u.calls.Done()
		ctx, cancel := context.WithTimeout(context.Background(), inspectTime)
		defer cancel()
		d.inspect(ctx, as)
	}()
}

// inspect looks at what a login may do that it should not.
func (d *databaseUpstream) inspect(ctx context.Context, as database.Login) inspection {
	warnings, err := d.server.Warnings(ctx, as)
	found := inspection{user: as.User, warnings: warnings, err: err, at: time.Now()}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.inspected) >= maxInspected {
		clear(d.inspected)
	}
	before := d.inspected[as.Key]
	d.inspected[as.Key] = found
	if err == nil && !slices.Equal(before.warnings, warnings) {
		for _, warning := range warnings {
			d.round.log.Warn("a database login may do more than it should", telemetry.KeyServer, d.name, "login", as.User, "reason", warning)
		}
	}
	return found
}

// warnings says what the logins that are known may do that they should not.
func (d *databaseUpstream) warnings() (list []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, found := range d.inspected {
		for _, warning := range found.warnings {
			list = append(list, fmt.Sprintf("servers.%s: login %q: %s", d.name, found.user, warning))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// check logs in with every login that is not a principal's.
func (d *databaseUpstream) check(ctx context.Context) (facts []string, errs []error) {
	for i, l := range d.logins {
		if l.isPersonal() {
			continue // there is none to ask for
		}
		who := credential.Principal{Issuer: d.cfg.Issuer}
		if len(l.For.Issuers) > 0 {
			who.Issuer = l.For.Issuers[0]
		}
		if len(l.For.Subjects) > 0 {
			who.Subject = l.For.Subjects[0]
		}
		as, err := d.login(ctx, who)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, inspectTime)
		found := d.inspect(ctx, as)
		cancel()
		if found.err != nil {
			errs = append(errs, fmt.Errorf("login %d: %w", i+1, d.explained(found.err)))
			continue
		}
		facts = append(facts, fmt.Sprintf("login %d: %s answers", i+1, d.kind.place()))
		for _, warning := range found.warnings {
			facts = append(facts, fmt.Sprintf("login %d: WARNING: %s", i+1, warning))
		}
	}
	return facts, errs
}

// lookAtDatabases tells whether the databases answer their logins, and what those may do that they should not. The returned
// function waits until that is done, or ctx has ended.
func (c *Connector) lookAtDatabases(ctx context.Context) (wait func()) {
	var crew sync.WaitGroup
	now := c.current()
	for _, name := range now.names {
		if d := now.servers[name].database; d != nil {
			crew.Go(func() {
				_, errs := d.check(ctx)
				for _, err := range errs {
					if ctx.Err() == nil {
						c.log.Warn("a database cannot be asked now", telemetry.KeyServer, d.name, telemetry.KeyError, err)
					}
				}
			})
		}
	}
	return crew.Wait
}

// explained is an error of a database with what it does not tell agents.
func (d *databaseUpstream) explained(err error) error {
	if e, ok := errors.AsType[*database.Error](err); ok && e.Err != nil {
		return fmt.Errorf("%s (%w)", strings.TrimSuffix(e.Text, ": try again later"), d.guard.clean(e.Err))
	}
	return err
}

// credentials shows the logins.
func (d *databaseUpstream) credentials(ctx context.Context) (shown []ShownCredential) {
	for i, l := range d.logins {
		if l.source == nil {
			continue
		}
		s := ShownCredential{
			Name: fmt.Sprintf("servers.%s, login %d", d.name, i+1), For: forWhom(l.For, d.cfg.Issuer),
			To: d.kind.place(), As: l.as(), From: l.from(), State: "resolved",
		}
		if l.isPersonal() {
			s.State = "not fetched: it depends on who calls"
		} else {
			s.look(ctx, l.source)
		}
		shown = append(shown, s)
	}
	return shown
}

func (l *DatabaseLogin) as() string {
	if l.User.Text != "" {
		return "password of " + l.User.Text
	}
	return "user and password"
}

func (l *DatabaseLogin) from() string {
	var names []string
	for _, ref := range l.refs() {
		names = append(names, ref.String())
	}
	return strings.Join(names, ", ")
}

// isPersonal reports whether its values depend on who calls.
func (l *DatabaseLogin) isPersonal() bool { return namesPrincipal(l.refs()) }

// refs are the references that it stands on: the user's, if that is secret, and the password's.
func (l *DatabaseLogin) refs() []secret.Ref {
	return slices.DeleteFunc([]secret.Ref{l.User.Secret, l.Password.Secret}, secret.Ref.IsZero)
}
