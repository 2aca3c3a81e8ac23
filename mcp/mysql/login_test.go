package mysql

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/mcp/database"
	"sallyport.dev/secret"
)

// one asks a driver for the number 1.
func one(ctx context.Context, d *Driver, as database.Login) error {
	out := database.NewRows(10, 1<<20)
	err := d.Run(ctx, as, database.Statement{SQL: "SELECT 1", Timeout: 10 * time.Second}, out)
	if err == nil && text(out) != "1" {
		return errors.New("it is not 1: " + text(out))
	}
	return err
}

func testLogin(t *testing.T, b *bench) {
	o := database.Options{MaxConnections: 1, MaxBytes: 1 << 20}
	dsn := b.DSN("reader", "shop")
	reader := func(change func(*database.Login)) database.Login {
		as := b.reader
		change(&as)
		return as
	}
	same := func(*database.Login) {}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, test := range map[string]struct {
		cfg  Config
		o    database.Options
		as   database.Login
		says string // empty if it works
	}{
		"as it is":          {cfg: Config{DSN: dsn}, as: reader(same)},
		"user of the DSN":   {cfg: Config{DSN: dsn}, as: reader(func(as *database.Login) { as.User = "" })},
		"no database":       {cfg: Config{DSN: b.DSN("reader", "")}, as: reader(same)},
		"plain":             {cfg: Config{DSN: dsn + "?tls=disable", AllowPlaintext: true}, as: reader(same)},
		"wrong password":    {cfg: Config{DSN: dsn}, as: reader(func(as *database.Login) { as.Password = secret.New("wrong-password") }), says: "refused the connector's login"},
		"no password":       {cfg: Config{DSN: dsn}, as: reader(func(as *database.Login) { as.Password = secret.Value{} }), says: "refused the connector's login"},
		"nobody":            {cfg: Config{DSN: dsn}, as: reader(func(as *database.Login) { as.User = "nobody" }), says: "refused the connector's login"},
		"denied database":   {cfg: Config{DSN: b.DSN("reader", "hidden")}, as: reader(same), says: "refused the connector's login"},
		"no such database":  {cfg: Config{DSN: b.DSN("root", "nothing")}, as: b.superuser(t), says: "configured database does not exist"},
		"socket":            {cfg: Config{DSN: "mysql://sock@localhost/shop?socket=" + b.Socket}, as: b.local(t)},
		"unreachable":       {cfg: Config{DSN: "mysql://reader@" + closed.Addr().String() + "/shop"}, as: reader(same), says: "cannot be reached"},
		"no socket there":   {cfg: Config{DSN: "mysql://reader@localhost/shop?socket=/nonexistent"}, as: reader(same), says: "cannot be reached"},
		"unknown authority": {cfg: Config{DSN: dsn}, o: database.Options{Roots: x509.NewCertPool()}, as: reader(same), says: "does not prove who it is"},
		"other host":        {cfg: Config{DSN: strings.Replace(dsn, "127.0.0.1", "127.0.0.2", 1)}, o: database.Options{Dial: b.dialAnyway}, as: reader(same), says: "does not prove who it is"},
		"name of the host":  {cfg: Config{DSN: strings.Replace(dsn, "127.0.0.1", "localhost", 1)}, o: database.Options{Dial: b.dialAnyway}, as: reader(same)},
	} {
		test.o.MaxConnections, test.o.MaxBytes = o.MaxConnections, o.MaxBytes
		d := newDriver(t, b.Server, test.cfg, test.o)
		err := one(t.Context(), d, test.as)
		switch {
		case test.says == "" && err != nil:
			t.Errorf("%s: %v (%v)", name, err, errors.Unwrap(err))
		case test.says != "":
			says(t, err, test.says)
			for _, part := range []string{password, "wrong-password", "reader", "127.0.0"} {
				if err != nil && strings.Contains(err.Error(), part) {
					t.Errorf("%s: %v has %s", name, err, part)
				}
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if strings.Contains(fmt.Sprintf("%+v %#v", e, e), password) {
					t.Errorf("%s: %v has the password", name, e)
				}
			}
		}
	}
	t.Run("rotation", func(t *testing.T) { testRotation(t, b) })
}

func (b *bench) superuser(t *testing.T) database.Login {
	b.CreateUser(t, "boss", password, "ALL ON *.*")
	return database.Login{Key: "boss", User: "boss", Password: secret.New(password)}
}

// local is a login that comes through the socket.
func (b *bench) local(t *testing.T) database.Login {
	b.Exec(t, "CREATE USER sock@localhost IDENTIFIED BY 'sock-password'", "GRANT SELECT ON shop.* TO sock@localhost")
	return database.Login{Key: "sock", User: "sock", Password: secret.New("sock-password")}
}

// dialAnyway dials the server, whatever the address is.
func (b *bench) dialAnyway(ctx context.Context, _, _ string) (net.Conn, error) {
	return b.Dial(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", b.Port))
}

// testRotation changes a password: the new key works at once, the old one does not.
func testRotation(t *testing.T, b *bench) {
	b.CreateUser(t, "turns", "first password", "SELECT ON shop.*")
	first := database.Login{Key: "turns 1", User: "turns", Password: secret.New("first password")}
	second := database.Login{Key: "turns 2", User: "turns", Password: secret.New("second password")}
	if err := one(t.Context(), b.Driver, first); err != nil {
		t.Error(err)
	}
	b.SetPassword(t, "turns", "second password")
	says(t, one(t.Context(), b.Driver, first), "refused the connector's login")
	if err := one(t.Context(), b.Driver, second); err != nil {
		t.Error(err)
	}
}

func testLimits(t *testing.T, b *bench) {
	var most int64
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			out := database.NewRows(10, 1<<20)
			err := b.Driver.Run(t.Context(), b.reader, database.Statement{SQL: "SELECT SLEEP(0.2), COUNT(*) FROM information_schema.processlist",
				Timeout: 10 * time.Second}, out)
			if err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { wait.Wait(); close(done) }()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		default:
			running := int64(0)
			for _, c := range b.Connections(t, "reader") {
				if c[1] == "Execute" {
					running++
				}
			}
			most = max(most, running)
		}
	}
	if most < 2 || most > 5 { // one that has ended may still be shown
		t.Errorf("there were %d statements at once, want 4", most)
	}
	if n := len(b.slots.byKey); n != 0 {
		t.Errorf("%d keys are not forgotten", n)
	}

	d := newDriver(t, b.Server, Config{DSN: b.DSN("reader", "shop")}, database.Options{MaxConnections: 1, MaxBytes: 1 << 20})
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan error)
	go func() {
		held <- d.Run(ctx, b.reader, database.Statement{SQL: "SELECT SLEEP(30)", Timeout: time.Minute}, database.NewRows(1, 1<<20))
	}()
	b.awaitRunning(t, "reader")
	soon, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	says(t, one(soon, d, b.reader), "all connections to the database are in use")
	if err := one(t.Context(), d, b.writer); err != nil {
		t.Errorf("another key has to wait: %v", err)
	}
	cancel()
	if err := <-held; !errors.Is(err, context.Canceled) {
		t.Errorf("a call that is given up: %v", err)
	}
	b.Exec(t, "ALTER USER reader@'127.0.0.1' WITH MAX_USER_CONNECTIONS 1")
	held = make(chan error)
	go func() {
		held <- d.Run(t.Context(), b.reader, database.Statement{SQL: "SELECT SLEEP(1)", Timeout: time.Minute}, database.NewRows(1, 1<<20))
	}()
	b.awaitRunning(t, "reader")
	says(t, one(t.Context(), b.Driver, b.reader), "all connections to the database are in use")
	if err := <-held; err != nil {
		t.Error(err)
	}
	b.Exec(t, "ALTER USER reader@'127.0.0.1' WITH MAX_USER_CONNECTIONS 0")
}

// awaitRunning waits until a login runs a statement.
func (b *bench) awaitRunning(t *testing.T, user string) {
	t.Helper()
	for range 500 {
		for _, c := range b.Connections(t, user) {
			if c[1] == "Execute" {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nothing runs")
}

func testCancel(t *testing.T, b *bench) {
	for _, sql := range []string{"SELECT SLEEP(60)", "SELECT BENCHMARK(1000000000000, SHA1('x'))", "SELECT COUNT(*) FROM seq_1_to_100000 a, seq_1_to_100000 b WHERE a.seq + b.seq = 1"} {
		for _, closes := range []bool{false, true} {
			d := newDriver(t, b.Server, Config{DSN: b.DSN("reader", "shop")}, database.Options{MaxConnections: 1, MaxBytes: 1 << 20})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() {
				ended <- d.Run(ctx, b.reader, database.Statement{SQL: sql, Timeout: time.Minute}, database.NewRows(1, 1<<20))
			}()
			b.awaitRunning(t, "reader")
			if closes {
				d.Close()
			} else {
				cancel()
			}
			began := time.Now()
			if err := <-ended; err == nil || !closes && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", sql, err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s: it took %s to give up", sql, took)
			}
			b.AwaitNoConnections(t, "reader", 2*time.Second)
			if closes {
				says(t, one(t.Context(), d, b.reader), "cannot be reached")
			}
			cancel()
		}
	}
	ended := make(chan error)
	go func() {
		ended <- b.Driver.Run(t.Context(), b.reader, database.Statement{SQL: "SELECT COUNT(*) FROM seq_1_to_100000 a, seq_1_to_100000 b WHERE a.seq + b.seq = 1",
			Timeout: time.Minute}, database.NewRows(1, 1<<20))
	}()
	b.awaitRunning(t, "reader")
	b.Exec(t, "KILL QUERY "+b.Connections(t, "reader")[0][0])
	says(t, <-ended, "stopped by someone else")
	go func() {
		ended <- b.Driver.Run(t.Context(), b.writer, database.Statement{SQL: "UPDATE items SET price = SLEEP(60)", Timeout: time.Minute, Write: true},
			database.NewRows(1, 1<<20))
	}()
	b.awaitRunning(t, "writer")
	b.Exec(t, "KILL CONNECTION "+b.Connections(t, "writer")[0][0])
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "not known whether") {
		t.Errorf("a write whose connection was killed: %v", err)
	}
	_, err := b.run(t, b.writer, database.Statement{SQL: "UPDATE items SET price = SLEEP(60)", Timeout: time.Second, Write: true})
	if err == nil || !strings.Contains(err.Error(), "longer than 1s") || strings.Contains(err.Error(), "not known") {
		t.Errorf("a write that takes too long: %v", err)
	}
	if got := b.Query(t, "SELECT COUNT(*) FROM shop.items WHERE price = 0"); got[0][0] != "0" {
		t.Errorf("%s rows were changed", got[0][0])
	}
}
