package mysql

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/mysql/mysqltest"
	"sallyport.dev/secret"
)

// fake is a server that answers as it likes.
type fake struct {
	version, plugin string
	tls             *tls.Config // nil for none
	// early is sent together with the greeting.
	early []byte
	// login answers the first packet of the client, whose sequence number is seq; nil says that all is well.
	login func(f *fakeConn, seq byte)
	// answer returns what a command is answered with, as packets with their heads; nil for OK.
	answer func(command byte, text string) []byte
	// ends is a command after whose answer it hangs up.
	ends byte
}

type fakeConn struct {
	net.Conn
	in *bufio.Reader
}

func packet(seq byte, body ...byte) []byte {
	return append([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), seq}, body...)
}

func serverError(seq byte, number uint16, text string) []byte {
	body := append([]byte{answerError, byte(number), byte(number >> 8)}, "#28000"+text...)
	return packet(seq, body...)
}

var okBody = []byte{0, 0, 0, 2, 0, 0, 0}

func (c *fakeConn) read() (seq byte, body []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	_, err = io.ReadFull(c.in, body)
	return head[3], body, err
}

// dial is a connection to the server.
func (f *fake) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go f.serve(theirs)
	return ours, nil
}

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	can := uint32(0x0108_f7ff) &^ canSSL // with DEPRECATE_EOF: no packet ends the columns
	if f.tls != nil {
		can |= canSSL
	}
	greeting := append([]byte{10}, f.version+"\x00"...)
	greeting = append(greeting, 42, 0, 0, 0)
	greeting = append(greeting, "12345678\x00"...)
	greeting = binary.LittleEndian.AppendUint16(greeting, uint16(can))
	greeting = append(greeting, 45, 2, 0)
	greeting = binary.LittleEndian.AppendUint16(greeting, uint16(can>>16))
	greeting = append(greeting, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	greeting = append(greeting, "123456789012\x00"+f.plugin+"\x00"...)
	if _, err := conn.Write(append(packet(0, greeting...), f.early...)); err != nil {
		return
	}
	c := &fakeConn{conn, bufio.NewReader(conn)}
	seq, body, err := c.read()
	if err != nil {
		return
	}
	if f.tls != nil {
		if len(body) != 32 || seq != 1 {
			return
		}
		secured := tls.Server(conn, f.tls)
		if secured.Handshake() != nil {
			return
		}
		c = &fakeConn{secured, bufio.NewReader(secured)}
		if seq, _, err = c.read(); err != nil {
			return
		}
	}
	if f.login != nil {
		f.login(c, seq)
	} else if _, err := c.Write(packet(seq+1, okBody...)); err != nil {
		return
	}
	for {
		_, body, err := c.read()
		if err != nil || len(body) == 0 || body[0] == 1 {
			return
		}
		out := f.answer(body[0], string(body[1:]))
		if out == nil {
			out = packet(1, okBody...)
		}
		if _, err := c.Write(out); err != nil || body[0] == f.ends {
			return
		}
	}
}

// answers is a server to which the settings are right, which prepares one column, and answers its execution so.
func answers(execute []byte) func(byte, string) []byte {
	return func(command byte, text string) []byte {
		switch {
		case strings.Contains(text, "OUTFILE"):
			return serverError(1, denied, "no")
		case command == commandPrepare:
			column := append([]byte("\x03def\x00\x00\x00\x01a\x00\x0c"), 45, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0)
			return append(packet(1, answerOK, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0), packet(2, column...)...)
		case command == commandExecute:
			return execute
		}
		return nil
	}
}

func (f *fake) driver(t testing.TB, o database.Options) *Driver {
	o.Dial, o.MaxConnections, o.MaxBytes = f.dial, 2, 1000
	cfg := Config{DSN: "mysql://app@localhost/d?tls=disable", AllowPlaintext: true}
	if f.tls != nil || f.early != nil {
		cfg = Config{DSN: "mysql://app@localhost/d"}
	}
	d, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// TestHostileServer: a server that does not keep to the protocol gets nothing, and costs no more than an error.
func TestHostileServer(t *testing.T) {
	as := database.Login{Key: "app", User: "app", Password: secret.New(password)}
	for name, test := range map[string]struct {
		execute []byte
		says    string
	}{
		"it asks for a file":   {packet(1, append([]byte{answerFile}, "/etc/passwd"...)...), "not understood"},
		"very many columns":    {packet(1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "not understood"},
		"a long count":         {packet(1, 0xfd, 0xff, 0xff, 0xff), "not understood"},
		"an empty answer":      {packet(1), "not understood"},
		"half an error":        {packet(1, answerError, 1), "not understood"},
		"an error in short":    {packet(1, answerError, 1, 1), "not understood"},
		"half a column":        {append(packet(1, 1), packet(2, 3, 'd')...), ""},
		"a column of nothing":  {append(packet(1, 1), packet(2, 0)...), ""},
		"a packet of 16 MiB":   {append(packet(1, 1), 0xff, 0xff, 0xff, 2), "more than 1000 bytes"},
		"another number":       {packet(7, okBody...), ""},
		"half an answer of OK": {packet(1, 0), "not understood"},
	} {
		f := &fake{version: "5.5.5-10.11.0-MariaDB", plugin: "mysql_native_password", answer: answers(test.execute)}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		out := database.NewRows(10, 1000)
		err := f.driver(t, database.Options{}).Run(ctx, as, database.Statement{SQL: "SELECT 1", Timeout: 10 * time.Second}, out)
		cancel()
		if known, ok := errors.AsType[*database.Error](err); !ok || !strings.Contains(known.Error(), test.says) {
			t.Errorf("%s: %v (%T); want %q", name, err, err, test.says)
		}
	}
	f := &fake{version: "8.4.0", plugin: "mysql_native_password", early: []byte("x")}
	says(t, one(t.Context(), f.driver(t, database.Options{}), as), "does not prove who it is")
	asked := make(chan []byte, 1)
	f = &fake{version: "8.4.0", plugin: "mysql_clear_password", login: func(c *fakeConn, seq byte) {
		_, _ = c.Write(packet(seq+1, append([]byte{0xfe}, "mysql_clear_password\x00"...)...)) // the client may be gone
		_, body, _ := c.read()
		asked <- body
	}}
	says(t, one(t.Context(), f.driver(t, database.Options{}), as), "kind that is not spoken")
	if bytes.Contains(<-asked, []byte(password)) {
		t.Error("the password is sent in the clear")
	}
}

// TestFullAuthentication: caching_sha2_password of MySQL gets the password through TLS, and not what would encrypt it without.
func TestFullAuthentication(t *testing.T) {
	s := mysqltest.Start(t)
	pair, err := tls.LoadX509KeyPair(s.Dir+"/cert.pem", s.Dir+"/key.pem")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 2)
	f := &fake{version: "8.4.0", plugin: "caching_sha2_password", tls: &tls.Config{Certificates: []tls.Certificate{pair}},
		login: func(c *fakeConn, seq byte) {
			_, _ = c.Write(packet(seq+1, 1, 4)) // what the client makes of it is seen below
			last, body, _ := c.read()
			got <- string(body)
			_, _ = c.Write(packet(last+1, okBody...))
		},
		answer: func(command byte, text string) []byte {
			switch {
			case strings.HasPrefix(text, "SET ") && !strings.Contains(text, "max_execution_time=10000"):
				return serverError(1, 1193, "no such variable")
			case command == commandPrepare:
				return serverError(1, 1064, "you are in")
			}
			return nil
		},
	}
	as := database.Login{Key: "app", User: "app", Password: secret.New(password)}
	d := f.driver(t, database.Options{Roots: s.Roots})
	d.setHarmless("app")
	says(t, one(t.Context(), d, as), "you are in")
	if sent := <-got; sent != password+"\x00" {
		t.Errorf("the server was sent %q", sent)
	}
	early := append(packet(1, answerError, 1, 0, 'x'), "injected"...)
	f.early = early
	says(t, one(t.Context(), f.driver(t, database.Options{Roots: s.Roots}), as), "not understood")
}

// FuzzServer answers a query with anything: that is a result, or an error for an agent.
func FuzzServer(f *testing.F) {
	column := append([]byte("\x03def\x00\x00\x00\x01a\x00\x0c"), 45, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0)
	for _, seed := range [][]byte{
		packet(1, okBody...), serverError(1, 1064, "no"), packet(1, 0xfb, 'x'), {0xff, 0xff, 0xff, 1},
		bytes.Join([][]byte{packet(1, 1), packet(2, column...), packet(3, 0, 0, 7, 0, 0, 0), packet(4, 0xfe, 0, 0, 2, 0, 0, 0)}, nil),
	} {
		f.Add(seed)
	}
	as := database.Login{Key: "app", User: "app", Password: secret.New(password)}
	f.Fuzz(func(t *testing.T, answer []byte) {
		server := &fake{version: "5.5.5-10.11.0-MariaDB", plugin: "mysql_native_password", answer: answers(answer), ends: commandExecute}
		out := database.NewRows(10, 1000)
		err := server.driver(t, database.Options{}).Run(t.Context(), as, database.Statement{SQL: "SELECT 1", Timeout: 10 * time.Second}, out)
		if _, ok := errors.AsType[*database.Error](err); err != nil && !ok {
			t.Errorf("%v is no error for an agent", err)
		}
	})
}
