package mysqltest

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStart(t *testing.T) {
	s := Start(t)
	t.Log(s.Query(t, "SELECT version(), user(), @@secure_file_priv, @@plugin_dir"))
	s.CreateUser(t, "u", "it's a \\ password")
	if left := s.Connections(t, "u"); len(left) != 0 {
		t.Errorf("connections before there can be any: %q", left)
	}
}
