package auth_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
)

// rotating is a checker that may ask a signer for its keys, and how often it has.
func rotating(t *testing.T, s *auth.Signer) (*auth.Checker, *atomic.Int32) {
	t.Helper()
	asked := new(atomic.Int32)
	c, err := auth.NewChecker(auth.CheckerConfig{
		Keys: s.PublicKeys(), Issuer: authtest.Issuer, Tunnel: "acme", Connector: "inst1",
		Renew: func(context.Context) ([]ed25519.PublicKey, error) {
			asked.Add(1)
			return s.PublicKeys(), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, asked
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := authtest.Signer(t)
		c, asked := rotating(t, s)
		old := mustSign(t, s, assertion())
		if err := s.Rotate(authtest.StrangerKey()); err != nil {
			t.Fatal(err)
		}
		fresh := mustSign(t, s, assertion())
		if fresh == old {
			t.Fatal("the old key still signs")
		}
		var crew sync.WaitGroup
		for range 50 {
			crew.Go(func() {
				for _, token := range []string{fresh, old} {
					if _, err := c.Check(t.Context(), token, "wiki"); err != nil {
						t.Errorf("an assertion was refused during a rotation: %v", err)
					}
				}
			})
		}
		crew.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("the gateway was asked %d times", n)
		}
		if len(s.PublicKeys()) != 2 {
			t.Error("the key before is not given out")
		}
		if err := s.Rotate(authtest.StrangerKey()); err != nil || len(s.PublicKeys()) != 2 { // the same key
			t.Errorf("rotated to the same key: %v", err)
		}
		time.Sleep(61 * time.Second)
		if len(s.PublicKeys()) != 1 {
			t.Error("the key before is given out after its overlap")
		}
		// Nobody has asked since, and the key that was rotated out counts no more.
		before := authtest.Signer(t)
		if _, err := c.Check(t.Context(), mustSign(t, before, assertion()), "wiki"); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("the key before still counts: %v", err)
		}
		if _, err := c.Check(t.Context(), mustSign(t, s, assertion()), "wiki"); err != nil {
			t.Errorf("the key that signs: %v", err)
		}
	})
}

func TestUnknownKeysAreAskedForSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := authtest.Signer(t)
		c, asked := rotating(t, s)
		other, err := auth.NewSigner(authtest.Issuer, authtest.StrangerKey())
		if err != nil {
			t.Fatal(err)
		}
		forged := mustSign(t, other, assertion())
		for range 100 {
			if _, err := c.Check(t.Context(), forged, "wiki"); !errors.Is(err, auth.ErrInvalid) {
				t.Fatalf("got %v", err)
			}
		}
		if n := asked.Load(); n != 5 {
			t.Errorf("asked %d times in no time", n)
		}
		time.Sleep(time.Second)
		_, _ = c.Check(t.Context(), forged, "wiki")
		if n := asked.Load(); n != 6 {
			t.Errorf("asked %d times after a second more", n)
		}
	})
}

func TestRenewalThatFails(t *testing.T) {
	down := errors.New("the session has ended")
	answers := map[string]func(context.Context) ([]ed25519.PublicKey, error){
		"an error":  func(context.Context) ([]ed25519.PublicKey, error) { return nil, down },
		"no keys":   func(context.Context) ([]ed25519.PublicKey, error) { return nil, nil },
		"half keys": func(context.Context) ([]ed25519.PublicKey, error) { return []ed25519.PublicKey{{1, 2}}, nil },
	}
	for name, renew := range answers {
		t.Run(name, func(t *testing.T) {
			s := authtest.Signer(t)
			c, err := auth.NewChecker(auth.CheckerConfig{Keys: s.PublicKeys(), Issuer: authtest.Issuer, Tunnel: "acme", Connector: "inst1", Renew: renew})
			if err != nil {
				t.Fatal(err)
			}
			old := mustSign(t, s, assertion())
			if err := s.Rotate(authtest.StrangerKey()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Check(t.Context(), mustSign(t, s, assertion()), "wiki"); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %v", err)
			}
			if _, err := c.Check(t.Context(), old, "wiki"); err != nil {
				t.Errorf("the key that was known is gone: %v", err)
			}
		})
	}
}
