package postgrestest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// superuser owns the server. Its password is random.
	superuser = "postgres"
	// startTimeout bounds waiting for a server that was started, in seconds of a slow machine.
	startTimeout = 30 * time.Second
)

// keeper makes a server and runs it, and ends it when its descriptor 3 ends: with the test, however that ends. It removes the folder. The
// signal is repeated, because one that comes before the server listens for it is lost.
const keeper = `dir=$1; bin=$2; shift 2
if "$bin/initdb" -D "$dir/data" -U postgres -A scram-sha-256 --pwfile "$dir/password" \
	--no-sync -E UTF8 --locale C --no-instructions 3<&- >"$dir/log" 2>&1
then
	"$bin/postgres" -D "$dir/data" "$@" 3<&- >"$dir/log" 2>&1 & pid=$!
	( cat >/dev/null; while kill -INT $pid; do sleep 0.2; done ) 2>/dev/null <&3 & watcher=$!
	wait $pid || cat "$dir/log" >&2
	kill $watcher 2>/dev/null
else
	cat "$dir/log" >&2
fi
rm -rf "$dir"`

// Server is a PostgreSQL server on 127.0.0.1, with TLS and scram-sha-256 over TCP, for everybody but its superuser over its Unix
// socket too. fsync is off.
type Server struct {
	// Port is on 127.0.0.1, which the certificate names, as localhost.
	Port int
	// CA has signed the certificate, and CAFile holds it in PEM.
	CA     *x509.CertPool
	CAFile string
	// SocketDir is the folder of the Unix socket.
	SocketDir string

	password string
	folder   string
	life     io.Closer     // the server ends with it
	ended    chan struct{} // closed once it has
	said     *bytes.Buffer // what it said then, if it failed
}

// Start returns a server that ends with the test. It takes about a second.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// New returns a server that ends with Close, or with the process: for a TestMain whose tests share it.
func New() (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ { // the port may be taken between being found and being used
		s, err := start(bin, owner)
		if err == nil || try == 3 {
			return s, err
		}
	}
}

func start(bin string, owner *syscall.SysProcAttr) (s *Server, err error) {
	folder, err := os.MkdirTemp("/tmp", "pg") // short: the name of a socket has 107 bytes at most (unix(7))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(folder) // what is left is in /tmp
		}
	}()
	s = &Server{folder: folder, SocketDir: folder, CAFile: filepath.Join(folder, "ca.pem"), password: rand.Text()}
	if err := s.write(owner); err != nil {
		return nil, err
	}
	return s, s.run(bin, owner)
}

// binaries finds where initdb and postgres are.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is right
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	for _, path := range found {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "postgres")); err == nil {
			return filepath.Dir(path), nil
		}
	}
	return "", errors.New("postgrestest: there is no PostgreSQL server on this machine: run make setup, or install the Debian package postgresql")
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 for what is none
	return n
}

// unprivileged returns how to run as somebody else where this is root, whom PostgreSQL does not run for.
func unprivileged() (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
		}
	}
	return nil, errors.New("postgrestest: PostgreSQL does not run as root, and there is no user postgres or nobody: run the tests as another user")
}

// write puts down what the server and the tests read.
func (s *Server) write(owner *syscall.SysProcAttr) error {
	ca, cert, key, err := certificate()
	if err != nil {
		return err
	}
	s.CA = x509.NewCertPool()
	s.CA.AppendCertsFromPEM(ca)
	for name, content := range map[string][]byte{"ca.pem": ca, "server.pem": cert, "server.key": key, "password": []byte(s.password), "hba": []byte(hba)} {
		if err := os.WriteFile(filepath.Join(s.folder, name), content, 0o600); err != nil {
			return err
		}
	}
	if owner == nil {
		return nil
	}
	return filepath.WalkDir(s.folder, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, int(owner.Credential.Uid), int(owner.Credential.Gid))
	})
}

// hba also lets a server be tried without TLS, and so without verification, as sslmode=disable does.
const hba = `local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
`

func (s *Server) run(bin string, owner *syscall.SysProcAttr) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.Port = port
	args := []string{"-c", keeper, "keeper", s.folder, bin}
	for name, value := range map[string]string{
		"listen_addresses": "127.0.0.1", "port": strconv.Itoa(port), "unix_socket_directories": s.folder, "hba_file": filepath.Join(s.folder, "hba"),
		"ssl": "on", "ssl_cert_file": filepath.Join(s.folder, "server.pem"), "ssl_key_file": filepath.Join(s.folder, "server.key"),
		"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200", "max_prepared_transactions": "10",
		"shared_buffers": "32MB", "autovacuum": "off", "lc_messages": "C",
	} {
		args = append(args, "-c", name+"="+value)
	}
	cmd := exec.CommandContext(context.Background(), "/bin/sh", args...)
	cmd.Dir, cmd.SysProcAttr = s.folder, owner
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd.ExtraFiles = []*os.File{read} // 3
	s.said = &bytes.Buffer{}
	cmd.Stderr = s.said
	if err := cmd.Start(); err != nil {
		write.Close()
		return fmt.Errorf("postgrestest: start: %w", err)
	}
	s.life, s.ended = write, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = cmd.Wait() // it is interrupted, or says why not
	}()
	if err := s.ready(); err != nil {
		s.Close()
		return fmt.Errorf("postgrestest: the server does not start: %w: %s", err, s.said)
	}
	return nil
}

func freePort() (int, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// ready waits until the server takes connections.
func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		pg, err := s.connect(ctx, superuser)
		if err == nil {
			return pg.Close(ctx)
		}
		select {
		case <-s.ended:
			return err
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Server) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	c, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=%s password=%s sslmode=disable", s.SocketDir, s.Port, superuser, s.password))
	if err != nil {
		return nil, err
	}
	c.Database = database
	return pgconn.ConnectConfig(ctx, c)
}

// Close stops the server, with all its sessions, and removes its files.
func (s *Server) Close() {
	s.life.Close()
	<-s.ended
}

// certificate returns a CA, and a certificate for 127.0.0.1 and localhost with its key, in PEM.
func certificate() (ca, cert, key []byte, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "postgrestest CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, caKey.Public(), caKey)
	if err != nil {
		return nil, nil, nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "postgrestest"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), caKey)
	if err != nil {
		return nil, nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return nil, nil, nil, err
	}
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return encode("CERTIFICATE", rootDER), encode("CERTIFICATE", leafDER), encode("PRIVATE KEY", keyDER), nil
}
