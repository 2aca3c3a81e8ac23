package oauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"sallyport.dev/secret"
)

// checkRefreshToken is for the grant of RFC 6749, section 6: somebody has given the authorization elsewhere.
func (c *Config) checkRefreshToken() error {
	errs := []error{c.only("refresh_token")}
	if c.RefreshToken.IsZero() {
		errs = append(errs, wrong("refresh_token: a reference is required"))
	}
	if c.ClientID == "" && c.Auth == authNone {
		errs = append(errs, wrong("client_id: required, since a refresh token is bound to its client (RFC 6749, section 6)"))
	}
	return errors.Join(errs...)
}

// record is what is stored of a refresh token that has replaced another. It is JSON.
type record struct {
	Token string `json:"token"`
}

// refresh gets an access token with the latest refresh token. An answer may replace that, and the server then takes the old
// one for stolen: so the new one is stored before the access token is given out, nobody else uses the old one meanwhile, and
// a request that was sent is waited for, even when the source is closed.
func (s *Source) refresh(ctx context.Context, r roots) (answer, error) {
	name := s.recordName(r.refreshToken)
	unlock, err := s.store.Lock(ctx, name)
	if err != nil {
		return answer{}, fmt.Errorf("%w: wait for its turn: %w", ErrStore, err)
	}
	defer unlock()
	latest, replaced, err := s.latest(name, r.refreshToken)
	if err != nil {
		return answer{}, err
	}
	s.seen(latest)
	got, err := s.ask(context.WithoutCancel(ctx), r, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {latest.Reveal()}})
	if errors.Is(err, errInvalidGrant) {
		return answer{}, s.reauthorize(replaced, err)
	}
	// An answer with something else wrong in it has used the old token up all the same.
	if !got.refresh.IsZero() && isStorable(got.refresh) {
		if stored := s.keep(name, record{Token: got.refresh.Reveal()}); stored != nil {
			return answer{}, stored
		}
	}
	return got, err
}

func (s *Source) reauthorize(replaced bool, err error) error {
	which := "the configured refresh token is not accepted"
	if replaced {
		which = "the refresh token that replaced the configured one is not accepted: it was withdrawn, has expired or was used elsewhere"
	}
	return fmt.Errorf("%w: %s; authorise again and put the new refresh token into %s: %w", ErrReauthorize, which, s.cfg.RefreshToken, err)
}

// latest returns the refresh token to use, and whether it is one that has replaced the configured one. The store is always
// asked, for another source may have used it since. Only if nothing is stored for the configured token, that is taken: what
// cannot be read is an error, since the old token in its place would look stolen.
func (s *Source) latest(name string, configured secret.Value) (token secret.Value, replaced bool, err error) {
	data, err := s.store.Load(name)
	if err != nil {
		return secret.Value{}, false, fmt.Errorf("%w: %w", ErrStore, err)
	}
	if data == nil {
		return configured, false, nil
	}
	kept, err := decodeRecord(data)
	if err != nil {
		return secret.Value{}, false, fmt.Errorf("%w: the content of %s is not this version's; authorise again and put the new refresh token into %s", ErrStore, fileName(name), s.cfg.RefreshToken)
	}
	return secret.New(kept.Token), true, nil
}

// keep stores a record, or, where that fails, leaves it with the store, which other sources use too.
func (s *Source) keep(name string, r record) error {
	data, err := json.Marshal(r)
	if err == nil {
		err = s.store.Save(name, data)
	}
	if err != nil {
		return fmt.Errorf("%w: %w; until then no access token is given out, and a restart loses the authorization", ErrStore, err)
	}
	return nil
}

// recordName is that of all refresh tokens that descend from a configured one, whoever uses them and wherever it is
// configured: there is but one latest. When the operator configures another, what descends from the old one counts for
// nothing. The store gets a hash, for it is not told secrets that it does not keep.
func (s *Source) recordName(configured secret.Value) string {
	root := sha256.Sum256([]byte(configured.Reveal()))
	return fmt.Sprintf("oauth refresh_token %q %q %x", s.cfg.TokenURL, s.cfg.ClientID, root)
}

func decodeRecord(data []byte) (r record, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return record{}, errors.New("not a record")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) || !isStorable(secret.New(r.Token)) {
		return record{}, errors.New("not a record")
	}
	return r, nil
}

// isStorable reports whether a refresh token comes back as it was: those of RFC 6749, appendix A.17, do.
func isStorable(token secret.Value) bool {
	text := token.Reveal()
	return text != "" && len(text) <= maxToken && every([]byte(text), func(c byte) bool { return c >= 0x20 && c < 0x7f })
}
