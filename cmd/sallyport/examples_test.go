package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/mcp/diag"
)

const deploy = "../../deploy"

// site is a machine on which the examples find what they refer to: its paths and ports stand in for the real ones.
type site struct {
	dir, gateway, health, plain, upstream string
	tokens                                map[string]string
	private                               map[string]string // names of the private network, and where they are here
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), gateway: freePort(t), health: freePort(t), plain: freePort(t), tokens: make(map[string]string)}
	for _, dir := range []string{"etc", "state"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"acme.token", "labs.token", "agent.token", "ci.token", "support-bot.token", "wiki.key", "tickets.key", "tickets.client"} {
		s.tokens[name] = name + "-" + rand.Text() + rand.Text()
		write(t, s.etc(name), s.tokens[name]+"\n")
	}
	s.makeCertificate(t)
	handler := diag.New(diag.Config{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != "" && a != "Bearer "+s.tokens["wiki.key"] {
			t.Errorf("a foreign credential reached the upstream")
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.upstream = server.URL
	return s
}

func (s *site) etc(name string) string { return filepath.Join(s.dir, "etc", name) }

// install writes an example with the site's paths and ports in place.
func (s *site) install(t *testing.T, example string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, "examples", example))
	if err != nil {
		t.Fatal(err)
	}
	return s.place(t, strings.ReplaceAll(example, "/", "-"), string(text))
}

// place writes a file with the site's paths and ports in place.
func (s *site) place(t *testing.T, name, text string) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.gateway)
	replaced := strings.NewReplacer(
		"/var/lib/sallyport-connector", filepath.Join(s.dir, "state"),
		"/var/lib/sallyport", filepath.Join(s.dir, "state"),
		"/etc/sallyport", filepath.Join(s.dir, "etc"),
		`listen: ":7443"`, `listen: "`+s.gateway+`"`,
		`listen: ":443"`, `listen: "`+s.gateway+`"`,
		"localhost:7443", "localhost:"+port,
		"gateway: tunnel.example.com:443", "gateway: "+s.gateway+"\ngateway_ca: "+s.etc("ca.crt"),
		"127.0.0.1:7081", s.health,
		"127.0.0.1:8080", s.plain,
		"http://127.0.0.1:3001", s.upstream,
	).Replace(text)
	for there, here := range s.private {
		replaced = strings.ReplaceAll(replaced, there, here)
	}
	path := filepath.Join(s.dir, name)
	write(t, path, replaced)
	return path
}

// makeCertificate stands in for the certificate of tunnel.example.com, and for the CA of the private network.
func (s *site) makeCertificate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"tunnel.example.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for _, name := range []string{"tls.crt", "ca.crt", "internal-ca.crt"} {
		write(t, s.etc(name), cert)
	}
	write(t, s.etc("tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

// freePort finds a port number that is free on TCP and UDP; nobody holds it until the program takes it.
func freePort(t *testing.T) string {
	t.Helper()
	for range 50 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		_ = tcp.Close()
		if err == nil {
			_ = udp.Close()
			return tcp.Addr().String()
		}
	}
	t.Fatal("no port is free on both TCP and UDP")
	return ""
}

// startPair checks and starts a gateway and a connector, and waits until the one is attached to the other.
func startPair(t *testing.T, gateway, connector string) (g, c *process) {
	t.Helper()
	check(t, "gateway", gateway)
	g = start(t, "gateway", "-c", gateway)
	g.until(t, &g.errOut, "gateway is up")
	check(t, "connector", connector)
	c = start(t, "connector", "-c", connector, "--log-format", "json")
	c.until(t, &c.errOut, `"msg":"attached"`)
	return g, c
}

func check(t *testing.T, role, path string) string {
	t.Helper()
	r := execute(t, "", role, "-c", path, "--check")
	if r.code != 0 || r.errOut != "" || !strings.HasPrefix(r.out, path+" is valid\n") {
		t.Fatalf("%s --check: exit code %d\n%s%s", role, r.code, r.out, r.errOut)
	}
	return r.out
}

func TestQuickstartExample(t *testing.T) {
	s := newSite(t)
	g, c := startPair(t, s.install(t, "quickstart/gateway.yaml"), s.install(t, "quickstart/connector.yaml"))
	_, port, _ := net.SplitHostPort(s.gateway)
	r := execute(t, "", "call", "--token", s.tokens["agent.token"], "--ca", filepath.Join(s.dir, "state", "self-signed-ca.crt"),
		"https://localhost:"+port+"/t/acme/everything/mcp", "echo", `{"text":"through the tunnel"}`)
	if r.code != 0 || !strings.HasPrefix(r.out, "through the tunnel\n") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	g.until(t, &g.errOut, "self-signed-ca.crt")
	c.stop(t, syscall.SIGTERM)
	g.stop(t, syscall.SIGTERM)
}

func TestProductionExample(t *testing.T) {
	s := newSite(t)
	g, c := startPair(t, s.install(t, "production/gateway.yaml"), s.install(t, "production/connector.yaml"))
	for _, path := range []string{"/healthz", "/readyz"} {
		resp, err := testClient(t).Get("http://" + s.health + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %d", path, resp.StatusCode)
		}
	}
	c.stop(t, os.Interrupt)
	g.stop(t, os.Interrupt)
}

// TestBehindBalancerAndWikiTokenExamples calls over the plaintext listener, as a balancer would, an upstream that gets its
// token from the connector.
func TestBehindBalancerAndWikiTokenExamples(t *testing.T) {
	s := newSite(t)
	g, c := startPair(t, s.install(t, "production/gateway-behind-balancer.yaml"), s.install(t, "wiki-token/connector.yaml"))
	status, body := s.whoami(t, "wiki")
	if want := "present (sha256:" + diag.Fingerprint(s.tokens["wiki.key"]); status != http.StatusOK || !strings.Contains(body, want) {
		t.Errorf("status %d: %s", status, body)
	}
	c.stop(t, syscall.SIGTERM)
	g.stop(t, syscall.SIGTERM)
	for name, token := range s.tokens {
		if strings.Contains(g.errOut.String()+c.errOut.String(), token) {
			t.Errorf("%s is in a log", name)
		}
	}
}

// whoami asks a server for what reached it.
func (s *site) whoami(t *testing.T, server string) (status int, answer string) {
	t.Helper()
	return s.call(t, server, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}`)
}

func testClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// TestDropIn holds the drop-in for local servers to what the guide shows and says of it.
func TestDropIn(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deploy, "systemd", "sallyport-connector.service.d", "local-servers.conf"))
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile(filepath.Join(deploy, "..", "docs", "guides", "stdio.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, settings, ok := strings.Cut(string(text), "[Service]\n")
	if !ok || !strings.Contains(string(guide), "```text\n[Service]\n"+settings+"```") {
		t.Error("docs/guides/stdio.md shows another drop-in than deploy has")
	}
	unit, err := os.ReadFile(filepath.Join(deploy, "systemd", "sallyport-connector.service"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(settings) {
		key, _, ok := strings.Cut(line, "=")
		if ok && !strings.HasPrefix(key, "#") && !strings.Contains(string(unit), "\n"+key+"=") {
			t.Errorf("%s= is loosened, and the unit does not have it", key)
		}
	}
}

// TestUnits makes sure that the systemd units start this program with flags that it has.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob(filepath.Join(deploy, "systemd", "*.service"))
	if err != nil || len(units) != 2 {
		t.Fatalf("units are %v, %v", units, err)
	}
	for _, path := range units {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		settings := make(map[string][]string)
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
				settings[key] = append(settings[key], value)
			}
		}
		starts := append(settings["ExecStart"], settings["ExecStartPre"]...)
		if len(starts) != 2 {
			t.Errorf("%s starts %q", path, starts)
		}
		for _, line := range starts {
			words := strings.Fields(line)
			cmd, rest, err := newRoot().Find(words[1:])
			if err != nil || words[0] != "/usr/local/bin/sallyport" || !strings.Contains(path, "sallyport-"+cmd.Name()+".service") {
				t.Errorf("%s: %q: %v", path, line, err)
				continue
			}
			if err := cmd.ParseFlags(rest); err != nil || len(cmd.Flags().Args()) > 0 {
				t.Errorf("%s: %q: %v", path, line, err)
			}
		}
		for key, want := range map[string]string{
			"NoNewPrivileges": "yes", "ProtectSystem": "strict", "DynamicUser": "yes", "KillSignal": "SIGTERM", "RestartPreventExitStatus": "2",
		} {
			if got := strings.Join(settings[key], ","); got != want {
				t.Errorf("%s: %s is %q, want %q", path, key, got, want)
			}
		}
		if len(settings["LoadCredential"]) == 0 {
			t.Errorf("%s hands over no secret", path)
		}
	}
}

// TestDeployReadmeListsEveryFile and nothing that is not there.
func TestDeployReadmeListsEveryFile(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(deploy, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Count(string(readme), "\n| `")
	err = filepath.WalkDir(deploy, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(deploy, path)
		if err != nil || entry.IsDir() || name == "README.md" {
			return err
		}
		listed--
		if !strings.Contains(string(readme), "| `"+filepath.ToSlash(name)+"` |") {
			t.Errorf("README.md does not list %s", name)
		}
		return nil
	})
	if err != nil || listed != 0 {
		t.Errorf("README.md lists %d files more than there are (%v)", listed, err)
	}
}

// call posts a message to a server of the tunnel, as the token ci, over the plaintext listener, as a balancer would.
func (s *site) call(t *testing.T, server, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.plain+"/t/acme/"+server+"/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "tunnel.example.com"
	req.Header = http.Header{
		"Authorization": {"Bearer " + s.tokens["ci.token"]}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
	}
	resp, err := testClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
