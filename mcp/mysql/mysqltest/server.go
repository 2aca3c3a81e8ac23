// Package mysqltest starts a MariaDB server of its own for tests, and holds the attacks that every reader of a database has
// to stand. server.go starts it, sql.go speaks to it as root, attacks.go is the list. It does not know what is tested.
//
// The server listens on a free port of 127.0.0.1, with TLS by a CA of the test, and on a socket in its directory, through which
// root speaks. Nothing of it is left when the test has ended.
package mysqltest

import (
	"bytes"
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// startTime is how long the server may take to answer, on a machine that does much else.
	startTime = 60 * time.Second
	// stopTime is how long it may take to end before it is killed.
	stopTime = 20 * time.Second
	// rootPassword is that of root, who can be reached through the socket alone. It guards a server of a test.
	rootPassword = "root-of-a-test-server"
)

// Server is a running server.
type Server struct {
	// Port is that of 127.0.0.1. It takes connections with and without TLS.
	Port int
	// Socket is the path of the Unix socket.
	Socket string
	// Roots is the CA of the server's certificate, which is for localhost and 127.0.0.1.
	Roots *x509.CertPool
	// CAFile is the same, in PEM.
	CAFile string
	// Dir is the server's directory: all that it may write is below it.
	Dir string

	log  *bytes.Buffer
	root *sql.DB
}

// Start starts a server, which ends with the test. Without the programs the test fails, and says what to install.
// More are further lines for the server's configuration, such as max_connections=5.
func Start(tb testing.TB, more ...string) *Server {
	tb.Helper()
	daemon, install := program("mariadbd"), program("mariadb-install-db")
	if daemon == "" || install == "" {
		tb.Fatal("mariadbd or mariadb-install-db is missing; run: apt-get install mariadb-server")
	}
	// A socket's path has at most 107 bytes (unix(7)), and the server's user has to reach it: both fail below tb.TempDir.
	dir, err := os.MkdirTemp("", "mysqltest") //nolint:usetesting // see above
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) }) // nothing more can be done about it
	s := &Server{Socket: filepath.Join(dir, "s"), Dir: dir, log: &bytes.Buffer{}}
	s.Roots, s.CAFile = writeCertificates(tb, dir)
	s.writeConfiguration(tb, more)
	as := serverUser(tb, dir)

	made := exec.Command(install, "--no-defaults", "--datadir="+filepath.Join(dir, "data"), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=4M")
	made.SysProcAttr, made.Dir = as, dir
	if out, err := made.CombinedOutput(); err != nil {
		tb.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	s.Port = freePort(tb)
	daemonCommand := exec.Command(daemon, "--defaults-file="+filepath.Join(dir, "my.cnf"), "--port="+strconv.Itoa(s.Port))
	daemonCommand.SysProcAttr, daemonCommand.Dir = as, dir
	daemonCommand.Stdout, daemonCommand.Stderr = s.log, s.log
	if err := daemonCommand.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = daemonCommand.Wait() // how it ended says its log
		close(ended)
	}()
	tb.Cleanup(func() {
		_ = daemonCommand.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		select {
		case <-ended:
		case <-time.After(stopTime):
			_ = daemonCommand.Process.Kill() // as above
			<-ended
		}
	})
	if s.root, err = s.open(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.root.Close() }) // the server ends next
	s.await(tb, ended)
	return s
}

// writeConfiguration writes my.cnf, and the SQL that the server runs before it takes connections.
func (s *Server) writeConfiguration(tb testing.TB, more []string) {
	in := func(name string) string { return filepath.Join(s.Dir, name) }
	lines := []string{
		"[mariadbd]", "datadir=" + in("data"), "tmpdir=" + in("tmp"), "socket=" + s.Socket, "pid-file=" + in("pid"),
		"bind-address=127.0.0.1", "init-file=" + in("init.sql"),
		"ssl-ca=" + in("ca.pem"), "ssl-cert=" + in("cert.pem"), "ssl-key=" + in("key.pem"),
		"skip-log-bin", "skip-name-resolve", "local-infile=1", "event-scheduler=OFF", "performance-schema=OFF",
		"innodb-flush-log-at-trx-commit=0", "innodb-flush-method=nosync", "innodb-doublewrite=0", "innodb-buffer-pool-size=16M",
		"innodb-log-file-size=4M", "key-buffer-size=1M", "aria-pagecache-buffer-size=1M", "max-connections=60",
	}
	write(tb, in("my.cnf"), strings.Join(append(lines, more...), "\n")+"\n")
	write(tb, in("init.sql"), "DELETE FROM mysql.global_priv WHERE User = '' OR Host <> 'localhost';\nFLUSH PRIVILEGES;\n"+
		"ALTER USER root@localhost IDENTIFIED BY '"+rootPassword+"';\n")
	for _, name := range []string{"data", "tmp"} {
		if err := os.Mkdir(in(name), 0o700); err != nil {
			tb.Fatal(err)
		}
	}
}

// await waits until the server answers.
func (s *Server) await(tb testing.TB, ended <-chan struct{}) {
	tb.Helper()
	deadline := time.Now().Add(startTime)
	for {
		err := s.ping()
		if err == nil {
			return
		}
		select {
		case <-ended:
			tb.Fatalf("mariadbd ended at once:\n%s", s.log)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			tb.Fatalf("mariadbd does not answer after %s: %v", startTime, err)
		}
	}
}

// DSN is how a login is written for the connector: with TLS, to a database that may be empty.
func (s *Server) DSN(user, database string) string {
	return fmt.Sprintf("mysql://%s@127.0.0.1:%d/%s", user, s.Port, database)
}

// Dial makes connections for database.Options.
func (s *Server) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

// program finds a program where distributions put it; empty if it is not there.
func program(name string) string {
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	for _, dir := range []string{"/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/bin", "/usr/bin"} {
		if path := filepath.Join(dir, name); executable(path) {
			return path
		}
	}
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// freePort is a port that was free a moment ago.
func freePort(tb testing.TB) int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// serverUser gives the directory to the user that the server runs as, because it refuses to run as root. Nil is this user.
func serverUser(tb testing.TB, dir string) *syscall.SysProcAttr {
	if os.Getuid() != 0 {
		return nil
	}
	uid, gid, err := lookUp("mysql", "nobody")
	if err != nil {
		tb.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
	if err != nil {
		tb.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// lookUp returns the first user that there is.
func lookUp(names ...string) (uid, gid int, err error) {
	for _, name := range names {
		found, unknown := user.Lookup(name)
		if unknown != nil {
			err = errors.Join(err, unknown)
			continue
		}
		uid, err = strconv.Atoi(found.Uid)
		if err != nil {
			return 0, 0, err
		}
		gid, err = strconv.Atoi(found.Gid)
		return uid, gid, err
	}
	return 0, 0, err
}

func write(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}
