package issued

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/auth"
	"sallyport.dev/secret"
)

// State is what has become of a token.
type State string

// The states of a token.
const (
	Good    State = "good"
	Expired State = "expired"
	Revoked State = "revoked"
	// Retired says that the key which has signed the token is gone.
	Retired State = "retired"
	// Unknown says that the register does not have it.
	Unknown State = "unknown"
)

// Store makes and ends tokens. Several processes may use one directory: who writes takes a lock. Make it with [NewStore].
type Store struct {
	dir    directory
	issuer string
}

// NewStore gives the store of a directory, which is an absolute path and is made when the first token is. The issuer is the
// gateway's public URL.
func NewStore(dir, issuer string) (*Store, error) {
	if !filepath.IsAbs(dir) || issuer == "" {
		return nil, errors.New("issued: an absolute path and an issuer are required")
	}
	return &Store{directory(filepath.Clean(dir)), issuer}, nil
}

// Order is what a token shall say.
type Order struct {
	// Name is the holder's: visible ASCII without spaces and |, 1 to 64 characters. Several tokens may have one.
	Name string
	// Grant is what the token may reach: names, or "*" for all. Both lists are required.
	Grant auth.Grant
	// TTL is the token's life, [MinTTL] to [MaxTTL], in whole seconds.
	TTL time.Duration
	// Claims are for the rules of policy, at most 4 KiB as JSON. Optional.
	Claims map[string]any
}

func (o *Order) check() error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	if o.TTL < MinTTL || o.TTL > MaxTTL || o.TTL%time.Second != 0 {
		return fmt.Errorf("a token lives for %s to %s, in whole seconds", MinTTL, MaxTTL)
	}
	encoded, err := json.Marshal(o.Claims)
	if err != nil {
		return errors.New("the claims are not JSON")
	}
	if len(encoded) > maxClaimsBytes {
		return fmt.Errorf("the claims have %d bytes, and %d are allowed", len(encoded), maxClaimsBytes)
	}
	return errors.Join(checkNames("tunnel", o.Grant.Tunnels), checkNames("server", o.Grant.Servers))
}

// opened is a directory that is locked and was read.
type opened struct {
	directory
	owner owner
	files []keyFile          // of keys, the newest first
	key   ed25519.PrivateKey // the newest; nil if there is none
	list  list
}

// update reads the directory, and has change alter it while no other process does.
func (s *Store) update(change func(*opened) error) error {
	owner, err := s.dir.make()
	if err != nil {
		return err
	}
	unlock, err := s.dir.lock(owner)
	if err != nil {
		return err
	}
	defer unlock()
	d := opened{directory: s.dir, owner: owner}
	if d.files, err = d.keyFiles(); err != nil {
		return err
	}
	if len(d.files) > 0 {
		if d.key, err = d.load(d.files[0]); err != nil {
			return err
		}
		if d.list, err = d.readList(d.files); err != nil {
			return err
		}
	}
	return change(&d)
}

// readList reads the list of what is revoked, which is signed by one of the keys.
func (d directory) readList(files []keyFile) (list, error) {
	keys := make(map[string]ed25519.PublicKey)
	for _, f := range files {
		key, err := d.load(f)
		if err != nil {
			return list{}, err
		}
		keys[f.id] = key.Public().(ed25519.PublicKey)
	}
	content, err := d.read(listFile, maxListBytes)
	if err == nil {
		var l list
		if l, err = readList(content, keys); err == nil {
			return l, nil
		}
	}
	return list{}, fmt.Errorf("read %s: %w: %s", d.path(listFile), pathText(err), d.mend())
}

// writeList puts the list in force, signed by the newest key.
func (d *opened) writeList(key ed25519.PrivateKey) error {
	content, err := d.list.next(time.Now(), key)
	if err != nil {
		return fmt.Errorf("write %s: %w", d.path(listFile), err)
	}
	return d.replace(listFile, content, d.owner)
}

// addKey makes the key that signs from now on, the list too. The first one comes after the list that it has signed, so that
// there is never a key without a list.
func (d *opened) addKey() error {
	if len(d.files) >= maxKeys {
		return fmt.Errorf("there are %d keys, which is the most there may be: retire an old one first", len(d.files))
	}
	file, key, err := newKey(time.Now(), d.files)
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return d.save(file, key, d.owner) },
		func() error { return d.writeList(key) },
	}
	if len(d.files) == 0 {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	d.files, d.key = slices.Insert(d.files, 0, file), key
	return nil
}

// Create makes a token, and the key that signs it if there is none. The token is nowhere but in the result; the register has
// its id before it is given, so that it can be revoked.
func (s *Store) Create(o Order) (c Contents, token secret.Value, err error) {
	if err := o.check(); err != nil {
		return Contents{}, secret.Value{}, fmt.Errorf("make a token: %w", err)
	}
	err = s.update(func(d *opened) error {
		if d.key == nil {
			if err := d.addKey(); err != nil {
				return err
			}
		}
		now := time.Now().Truncate(time.Second)
		c = Contents{
			ID: rand.Text(), Key: d.files[0].id, Issuer: s.issuer, Name: o.Name, Grant: o.Grant, Claims: o.Claims,
			Created: now, Expires: now.Add(o.TTL),
		}
		text, err := write(&c, d.key)
		if err != nil {
			return err
		}
		token = secret.New(text)
		return d.append(newEntry(&c), d.owner)
	})
	if err != nil {
		return Contents{}, secret.Value{}, fmt.Errorf("make a token: %w", err)
	}
	return c, token, nil
}

// write signs a token.
func write(c *Contents, key ed25519.PrivateKey) (string, error) {
	created, expires := c.Created.Unix(), c.Expires.Unix()
	payload, err := json.Marshal(tokenClaims{
		Issuer: c.Issuer, Audience: c.Issuer, Subject: c.Name, ID: c.ID, IssuedAt: &created, NotBefore: &created, Expires: &expires,
		Tunnels: c.Grant.Tunnels, Servers: c.Grant.Servers, Claims: c.Claims,
	}, json.Deterministic(true))
	if err != nil {
		return "", errors.New("the claims are not JSON")
	}
	compact, err := sign(tokenType, key, payload)
	if err != nil {
		return "", err
	}
	token := wrap(compact)
	if len(token) > maxTokenBytes {
		return "", fmt.Errorf("it would have %d bytes, and %d are allowed: give it fewer names or claims", len(token), maxTokenBytes)
	}
	return token, nil
}

// Issued is a token of the register.
type Issued struct {
	Contents
	// State is what has become of it.
	State State
}

// Key is a key of the directory.
type Key struct {
	// ID is its kid.
	ID string
	// Created is when it was made.
	Created time.Time
	// Signs says that it signs new tokens.
	Signs bool
	// Tokens is how many tokens of it are good.
	Tokens int
}

// Register is all that a directory says.
type Register struct {
	// Tokens are in the order of their making.
	Tokens []Issued
	// Keys are the newest first.
	Keys []Key
	// Torn are the numbers of lines of the register that cannot be read: of tokens made while the machine failed, most of all.
	// [Path] says which file.
	Torn []int
	// Path is the register's file.
	Path string
}

// List reads the register, and says what has become of each token. Without a directory there is none.
func (s *Store) List() (r Register, err error) {
	for range rereads { // it takes no lock
		if r, err = s.read(); err == nil {
			break
		}
	}
	return r, err
}

func (s *Store) read() (Register, error) {
	r := Register{Path: s.dir.path(registerFile)}
	files, err := s.dir.keyFiles()
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	var l list
	if err == nil && len(files) > 0 {
		l, err = s.dir.readList(files)
	}
	if err == nil {
		err = s.register(&r, files, l)
	}
	if err != nil {
		return Register{}, fmt.Errorf("list tokens: %w", err)
	}
	return r, nil
}

func (s *Store) register(r *Register, files []keyFile, l list) error {
	entries, torn, err := s.dir.register()
	if err != nil {
		return err
	}
	r.Torn = torn
	keys := make(map[string]int, len(files)) // where in r.Keys
	for i, f := range files {
		r.Keys = append(r.Keys, Key{ID: f.id, Created: f.created, Signs: i == 0})
		keys[f.id] = i
	}
	now := time.Now()
	for i := range entries {
		t := Issued{entries[i].contents(s.issuer), Good}
		key, there := keys[t.Key]
		switch _, revoked := l.revoked[t.ID]; {
		case revoked:
			t.State = Revoked
		case !now.Before(t.Expires):
			t.State = Expired
		case !there:
			t.State = Retired
		default:
			r.Keys[key].Tokens++
		}
		r.Tokens = append(r.Tokens, t)
	}
	return nil
}

// Revoke ends tokens, and gives each as it was before. One that the register does not have is revoked all the same, for as
// long as any token may live: its line may be lost. If one of the ids cannot be that of a token, none is revoked.
func (s *Store) Revoke(ids []string) ([]Issued, error) {
	var before []Issued
	for i, id := range ids {
		if !validID(id) { // it may be a token, so it is not repeated
			return nil, fmt.Errorf("revoke tokens: what is given as number %d is no id, which has %d capital letters and digits: see sallyport token list", i+1, idBytes)
		}
	}
	err := s.update(func(d *opened) error {
		if d.key == nil {
			return errors.New("no token was made yet")
		}
		var r Register
		if err := s.register(&r, d.files, d.list); err != nil {
			return err
		}
		if d.list.revoked == nil {
			d.list.revoked = make(map[string]int64)
		}
		for _, id := range ids {
			i := slices.IndexFunc(r.Tokens, func(t Issued) bool { return t.ID == id })
			t := Issued{Contents{ID: id, Issuer: s.issuer, Expires: time.Now().Add(MaxTTL)}, Unknown}
			if i >= 0 {
				t = r.Tokens[i]
			}
			before = append(before, t)
			// One that has expired is listed too, for as long as the list keeps such: the gateway's clock may be behind.
			if _, already := d.list.revoked[id]; !already {
				d.list.revoked[id] = t.Expires.Unix()
			}
		}
		return d.writeList(d.key)
	})
	if err != nil {
		return nil, fmt.Errorf("revoke tokens: %w", err)
	}
	return before, nil
}

// Rotate makes a new key, which signs from now on, and gives its id. The others still verify, until they are retired.
func (s *Store) Rotate() (key string, err error) {
	err = s.update(func(d *opened) error {
		err := d.addKey()
		if err == nil {
			key = d.files[0].id
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("rotate the key of tokens: %w", err)
	}
	return key, nil
}

// Retire deletes a key, and gives how many good tokens that ends. The key that signs is not deleted.
func (s *Store) Retire(key string) (ended int, err error) {
	err = s.update(func(d *opened) error {
		var r Register
		if err := s.register(&r, d.files, d.list); err != nil {
			return err
		}
		i := slices.IndexFunc(d.files, func(f keyFile) bool { return f.id == key })
		switch {
		case i < 0:
			return errors.New("there is no such key: see sallyport token list")
		case i == 0:
			return errors.New("it is the one that signs: make a new one first, with sallyport token rotate")
		}
		if err := d.writeList(d.key); err != nil { // it may be the old key that has signed it
			return err
		}
		ended = r.Keys[i].Tokens
		if err := os.Remove(d.path(d.files[i].name)); err != nil {
			return err
		}
		return d.sync()
	})
	if err != nil {
		return 0, fmt.Errorf("retire a key: %w", err)
	}
	return ended, nil
}
