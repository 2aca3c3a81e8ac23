package gateway

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/telemetry"
)

// keyLook is how often the file of the assertion key is looked at.
const keyLook = time.Second

// RotateKey puts a new assertion key in the place of the one in a gateway's state_dir. The gateway that runs on it signs with
// the new one within 2 s; connectors ask it for a key that they do not know, so that no call is dropped.
func RotateKey(stateDir string) (keyID string, err error) {
	key, err := auth.ReplaceKey(filepath.Join(stateDir, assertionKeyFile))
	if err != nil {
		return "", err
	}
	return auth.KeyID(key), nil
}

// followKey signs with the assertion key in state_dir as it changes, until ctx ends.
func (g *Gateway) followKey(ctx context.Context) {
	path := filepath.Join(g.cfg.StateDir, assertionKeyFile)
	tick := time.NewTicker(keyLook)
	defer tick.Stop()
	var used os.FileInfo // unknown: the first look reads it
	failing := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		info, err := os.Stat(path)
		if err == nil && used != nil && os.SameFile(info, used) && info.ModTime().Equal(used.ModTime()) {
			continue
		}
		if err == nil {
			err = g.takeKey(path)
		}
		if err == nil {
			used, failing = info, false
		} else if !failing {
			failing = true
			g.log.Error("the assertion key cannot be read: the one in use stays", telemetry.KeyPath, path, telemetry.KeyError, err)
		}
	}
}

func (g *Gateway) takeKey(path string) error {
	key, err := auth.LoadKey(path)
	if err != nil {
		return err
	}
	before := auth.KeyID(g.signer.PublicKeys()[0])
	if err := g.signer.Rotate(key); err != nil {
		return err
	}
	if now := auth.KeyID(g.signer.PublicKeys()[0]); now != before {
		g.log.Info("signs assertions with a new key", "key", now, "before", before)
	}
	return nil
}
