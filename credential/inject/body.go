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
	"unicode/utf8"

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
	case len(path) == 1 && slices.Contains(envelope, foldName(path[0])),
		len(path) > 1 && path[0] != "params":
		return fmt.Errorf("%w: body: pointer leads to what makes the message; a credential goes below /params", credential.ErrConfig)
	case slices.ContainsFunc(path, func(name string) bool { return strings.EqualFold(name, "_meta") }),
		len(path) == 2 && slices.Contains(read, foldName(path[1])):
		return fmt.Errorf("%w: body: pointer leads to what the protocol reads; a credential goes below /params/arguments", credential.ErrConfig)
	case slices.ContainsFunc(path, isIndex):
		return fmt.Errorf("%w: body: pointer leads into a list; a credential goes into an object, under a name", credential.ErrConfig)
	}
	return nil
}

// envelope are the members of a message, and read those of its params that the protocol gives a meaning. Both are folded.
var (
	envelope = []string{"jsonrpc", "id", "method", "params"}
	read     = []string{
		"argument", "arguments", "capabilities", "clientinfo", "context", "cursor", "level", "name", "progresstoken",
		"protocolversion", "ref", "requestid", "uri",
	}
)

// isIndex reports whether a name of a pointer stands for an element of a list (RFC 6901, section 4).
func isIndex(name string) bool {
	return name == "-" || strings.Trim(name, "0123456789") == ""
}

// path are the names of the pointer.
func (b Body) path() (names []string, ok bool) {
	if !strings.HasPrefix(b.Pointer, "/") || len(b.Pointer) > 4*maxHeader || !utf8.ValidString(b.Pointer) {
		return nil, false
	}
	for part := range strings.SplitSeq(b.Pointer[1:], "/") {
		name := strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~") // in this order: RFC 6901, section 4
		if foldName(name) == "" || strings.Count(part, "~") != strings.Count(part, "~0")+strings.Count(part, "~1") {
			return nil, false
		}
		names = append(names, name)
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

// Holds implements credential.Nester: one member of the body may be above another.
func (b Body) Holds(other credential.Injector) bool {
	below, ok := other.(Body)
	return ok && b.Pointer != "" && strings.HasPrefix(foldName(below.Pointer), foldName(b.Pointer)+"/")
}

// Order implements credential.Injector.
func (Body) Order() int { return credential.OrderBody }

// Strip implements credential.Injector. A body that servers read in different ways is refused, and then dropped.
func (b Body) Strip(r *http.Request) error { return b.edit(r, nil) }

// Inject implements credential.Injector. A request without a body, or without the object, has no place for the value and
// goes without.
func (b Body) Inject(r *http.Request, values []secret.Value) error {
	text, err := single(b.Place(), values)
	if err == nil && !utf8.ValidString(text) {
		err = fmt.Errorf("%w: %s: it is not UTF-8; check where it comes from", credential.ErrUnusable, b.Place())
	}
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
	edited, err := b.edited(r, text)
	if err != nil {
		_ = r.Body.Close()
		r.Body, r.GetBody, r.ContentLength = http.NoBody, nil, 0 // what has not been stripped must not be there
		return fmt.Errorf("%w: %s: %w", credential.ErrUnusable, b.Place(), err)
	}
	setBody(r, edited)
	return nil
}

// Why a body has no place for a value.
var (
	errType     = errors.New("the request's body is not of the type that the credential is for, or in another charset than UTF-8, or compressed")
	errNotWhole = errors.New("the request's body cannot be read whole")
	errForm     = errors.New("the request's form cannot be read in one way")
	errJSON     = errors.New("the request's body is no JSON that can be read in one way")
)

// edited reads the body and returns what is to be sent.
func (b Body) edited(r *http.Request, text *string) ([]byte, error) {
	if !b.fits(r.Header) {
		return nil, errType
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if b.Form == "" {
		edited, err := b.setMember(body, text)
		if err != nil { // its text quotes the body
			return nil, errJSON
		}
		return edited, nil
	}
	pairs, err := withoutPair(string(body), b.Form)
	if err != nil {
		return nil, errForm
	}
	if text != nil {
		pairs = addPair(pairs, b.Form, *text)
	}
	return []byte(pairs), nil
}

// fits reports whether the body is stated once to be what is read here. In another charset, or when it has been compressed,
// the server would see other names than those that are taken out.
func (b Body) fits(header http.Header) bool {
	var types []string
	for name, lines := range header {
		switch {
		case sameFolded(name, "Content-Type"):
			types = append(types, lines...)
		case sameFolded(name, "Content-Encoding") && slices.ContainsFunc(lines, func(line string) bool { return !strings.EqualFold(line, "identity") }):
			return false
		}
	}
	if len(types) != 1 {
		return false
	}
	media, params, err := mime.ParseMediaType(types[0])
	charset, stated := params["charset"]
	if err != nil || stated && !strings.EqualFold(charset, "utf-8") {
		return false
	}
	if b.Form != "" {
		return media == "application/x-www-form-urlencoded"
	}
	return media == "application/json"
}

// readBody reads and closes the request's body.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	_ = r.Body.Close()
	if err != nil || len(body) > maxBody { // the error may quote whom it was read from
		return nil, errNotWhole
	}
	return body, nil
}

// setBody replaces the request's body.
func setBody(r *http.Request, body []byte) {
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength, r.TransferEncoding = int64(len(body)), nil
	deleteVariants(r.Header, "Content-Length")
}

// cut is a piece of a body that is replaced.
type cut struct {
	from, to int
	by       string
}

// setMember sets the member in a message, or in each message of a batch, and changes nothing else.
func (b Body) setMember(body []byte, text *string) ([]byte, error) {
	path, _ := b.path()                                                                  // checked by Validate
	e := editor{body: body, path: path, dec: jsontext.NewDecoder(bytes.NewBuffer(body))} // a buffer is not copied
	for _, name := range path {
		e.folded = append(e.folded, foldName(name))
	}
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
	out := make([]byte, 0, len(body)+len(e.cuts)*(len(e.value)+len(b.Pointer)))
	at := 0
	for _, c := range e.cuts {
		out = append(append(out, body[at:c.from]...), c.by...)
		at = c.to
	}
	return append(out, body[at:]...), nil
}

// editor walks the tokens of a body and notes what is to be replaced.
type editor struct {
	body   []byte
	path   []string
	folded []string // the names of path, folded
	value  string   // quoted; empty: only take out
	dec    *jsontext.Decoder
	cuts   []cut
}

func (e *editor) top() error {
	if e.dec.PeekKind() != '[' {
		if err := e.object(0); err != nil {
			return err
		}
		return e.end()
	}
	if _, err := e.dec.ReadToken(); err != nil {
		return err
	}
	for e.dec.PeekKind() == '{' {
		if err := e.object(0); err != nil {
			return err
		}
	}
	if token, err := e.dec.ReadToken(); err != nil || token.Kind() != ']' {
		return errJSON
	}
	return e.end()
}

// end makes sure that nothing comes behind.
func (e *editor) end() error {
	if _, err := e.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errJSON
	}
	return nil
}

// object walks one object on the way to the member, after so many names of the path.
func (e *editor) object(depth int) error {
	if e.dec.PeekKind() != '{' {
		return e.dec.SkipValue()
	}
	if _, err := e.dec.ReadToken(); err != nil {
		return err
	}
	if depth == len(e.path)-1 {
		return e.last()
	}
	for e.dec.PeekKind() == '"' {
		token, err := e.dec.ReadToken()
		if err != nil {
			return err
		}
		switch name := token.String(); {
		case name == e.path[depth]:
			err = e.object(depth + 1)
		case isVariant(name, e.folded[depth]):
			err = errJSON // some server would read this one
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
func (e *editor) last() error {
	begin := int(e.dec.InputOffset()) // behind the '{'
	kept, from := 0, begin
	var cuts []cut
	for e.dec.PeekKind() == '"' {
		token, err := e.dec.ReadToken()
		if err != nil {
			return err
		}
		variant := isVariant(token.String(), e.folded[len(e.folded)-1])
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
	e.cuts = append(e.cuts, e.join(cuts, begin, kept)...)
	return nil
}

// join puts the member in front of what is kept, and takes care of the commas.
func (e *editor) join(cuts []cut, begin, kept int) []cut {
	first := cut{from: begin, to: begin}
	if e.value != "" {
		quoted, _ := jsontext.AppendQuote(nil, e.path[len(e.path)-1]) // Validate has seen that it is text
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
