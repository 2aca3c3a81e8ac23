package inject

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

const (
	maxBody    = 64 << 20 // bytes of a body into which something is put
	maxPointer = 16       // members on the way
)

// Body puts a value into one place of the request's body. No other byte of it changes.
type Body struct {
	// Pointer names a member of the JSON body (RFC 6901), such as /params/arguments/api_key. A request without the object
	// that the member belongs to goes as it is. Required unless form is set.
	Pointer string `yaml:"pointer"`
	// Form names a field of an application/x-www-form-urlencoded body. Optional.
	Form string `yaml:"form"`
}

// Validate implements credential.Injector.
func (b Body) Validate() error {
	if (b.Pointer == "") == (b.Form == "") {
		return fmt.Errorf("%w: body: write pointer: /params/arguments/NAME, or form: NAME", credential.ErrConfig)
	}
	if b.Form != "" {
		if (Query{Name: b.Form}).Validate() != nil {
			return fmt.Errorf("%w: body: form is not a plain field's name; write one such as api_key", credential.ErrConfig)
		}
		return nil
	}
	path, ok := b.path()
	switch {
	case !ok:
		return fmt.Errorf("%w: body: pointer is not one of RFC 6901, with at most %d members; write one such as /params/arguments/api_key", credential.ErrConfig, maxPointer)
	case len(path) == 1 && slices.Contains([]string{"jsonrpc", "id", "method", "params"}, foldName(path[0])),
		len(path) > 1 && path[0] != "params":
		return fmt.Errorf("%w: body: pointer leads to what makes the message; a credential goes below /params", credential.ErrConfig)
	case slices.Contains(path, "_meta"):
		return fmt.Errorf("%w: body: pointer leads into _meta, which is the protocol's; a credential goes below /params/arguments", credential.ErrConfig)
	}
	return nil
}

// path are the names of the pointer.
func (b Body) path() (names []string, ok bool) {
	if !strings.HasPrefix(b.Pointer, "/") || len(b.Pointer) > 4*maxHeader {
		return nil, false
	}
	for part := range strings.SplitSeq(b.Pointer[1:], "/") {
		if part == "" || strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(part), "~") {
			return nil, false
		}
		names = append(names, strings.NewReplacer("~1", "/", "~0", "~").Replace(part))
	}
	return names, len(names) <= maxPointer
}

// Place implements credential.Injector.
func (b Body) Place() string {
	if b.Form != "" {
		return "form " + foldName(b.Form)
	}
	return "body " + foldName(b.Pointer)
}

// Order implements credential.Injector.
func (Body) Order() int { return credential.OrderBody }

// Strip implements credential.Injector.
func (b Body) Strip(r *http.Request) error { return b.edit(r, nil) }

// Inject implements credential.Injector.
func (b Body) Inject(r *http.Request, values []secret.Value) error {
	text, err := single(b.Place(), values)
	if err != nil {
		return errors.Join(err, b.Strip(r))
	}
	return b.edit(r, &text)
}

// edit takes the place's value out, and puts text in, unless that is nil.
func (b Body) edit(r *http.Request, text *string) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	unusable := func(why string) error {
		return fmt.Errorf("%w: %s: %s", credential.ErrUnusable, b.Place(), why)
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	want := "application/json"
	if b.Form != "" {
		want = "application/x-www-form-urlencoded"
	}
	if err != nil || media != want {
		return unusable("the request's body is not " + want)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	_ = r.Body.Close()
	if err != nil || len(body) > maxBody {
		return unusable("the request's body cannot be read whole")
	}
	if b.Form != "" {
		kept, err := withoutPair(string(body), b.Form)
		if err != nil {
			return unusable("the request's form cannot be read in one way")
		}
		if text != nil {
			kept = addPair(kept, b.Form, *text)
		}
		setBody(r, []byte(kept))
		return nil
	}
	edited, err := b.setMember(body, text)
	if err != nil {
		return unusable("the request's body is no JSON that can be read in one way")
	}
	setBody(r, edited)
	return nil
}

// setBody replaces the request's body.
func setBody(r *http.Request, body []byte) {
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength = int64(len(body))
	for name := range r.Header {
		if sameFolded(name, "Content-Length") {
			delete(r.Header, name)
		}
	}
}

// cut is a piece of a body that is replaced.
type cut struct {
	from, to int
	by       string
}

// setMember sets the member in a message, or in each message of a batch, and changes nothing else.
func (b Body) setMember(body []byte, text *string) ([]byte, error) {
	path, _ := b.path() // checked by Validate
	e := editor{body: body, path: path, dec: jsontext.NewDecoder(bytes.NewReader(body))}
	if text != nil {
		quoted, err := jsontext.AppendQuote(nil, *text)
		if err != nil {
			return nil, err
		}
		e.value = string(quoted)
	}
	if err := e.top(); err != nil {
		return nil, err
	}
	var out []byte
	at := 0
	for _, c := range e.cuts {
		out = append(append(out, body[at:c.from]...), c.by...)
		at = c.to
	}
	return append(out, body[at:]...), nil
}

// editor walks the tokens of a body and notes what is to be replaced.
type editor struct {
	body  []byte
	path  []string
	value string // quoted; empty: only take out
	dec   *jsontext.Decoder
	cuts  []cut
}

func (e *editor) top() error {
	if e.dec.PeekKind() != '[' {
		if err := e.object(e.path); err != nil {
			return err
		}
		return e.end()
	}
	if _, err := e.dec.ReadToken(); err != nil {
		return err
	}
	for e.dec.PeekKind() == '{' {
		if err := e.object(e.path); err != nil {
			return err
		}
	}
	if token, err := e.dec.ReadToken(); err != nil || token.Kind() != ']' {
		return credential.ErrUnusable
	}
	return e.end()
}

// end makes sure that nothing comes behind.
func (e *editor) end() error {
	if _, err := e.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return credential.ErrUnusable
	}
	return nil
}

// object walks one object on the way to the member.
func (e *editor) object(path []string) error {
	if e.dec.PeekKind() != '{' {
		return e.dec.SkipValue()
	}
	if _, err := e.dec.ReadToken(); err != nil {
		return err
	}
	if len(path) == 1 {
		return e.last(path[0])
	}
	for e.dec.PeekKind() == '"' {
		name, err := e.dec.ReadToken()
		if err != nil {
			return err
		}
		switch {
		case name.String() == path[0]:
			err = e.object(path[1:])
		case foldName(name.String()) == foldName(path[0]):
			err = credential.ErrUnusable // some server would read this one
		default:
			err = e.dec.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	_, err := e.dec.ReadToken() // the '}', or what is wrong
	return err
}

// last walks the object that the member belongs to: it takes out every variant of the name, and puts the member first.
func (e *editor) last(name string) error {
	begin := int(e.dec.InputOffset()) // behind the '{'
	kept, from := 0, begin
	var cuts []cut
	for e.dec.PeekKind() == '"' {
		token, err := e.dec.ReadToken()
		if err != nil {
			return err
		}
		variant := foldName(token.String()) == foldName(name)
		if err := e.dec.SkipValue(); err != nil {
			return err
		}
		to := int(e.dec.InputOffset())
		if variant {
			cuts = append(cuts, cut{from: from, to: to}) // with the comma before it
		} else {
			kept++
		}
		from = to
	}
	if _, err := e.dec.ReadToken(); err != nil {
		return err
	}
	e.cuts = append(e.cuts, e.join(cuts, begin, name, kept)...)
	return nil
}

// join puts the member in front of what is kept, and takes care of the commas.
func (e *editor) join(cuts []cut, begin int, name string, kept int) []cut {
	first := cut{from: begin, to: begin}
	if e.value != "" {
		quoted, _ := jsontext.AppendQuote(nil, name) // Validate has seen that it is text
		first.by = string(quoted) + ":" + e.value
		if kept > 0 {
			first.by += ","
		}
	}
	// If the members at the beginning go, the first that stays has a comma before it.
	i := 0
	for ; i < len(cuts) && cuts[i].from == first.to; i++ {
		first.to = cuts[i].to
	}
	if i > 0 && kept > 0 {
		comma := bytes.IndexByte(e.body[first.to:], ',')
		first.to += comma + 1
	}
	return append([]cut{first}, cuts[i:]...)
}
