package connector

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/mcp"
	"sallyport.dev/policy"
	"sallyport.dev/telemetry"
)

// Bounds of what waits for a human.
const (
	maxPending         = 1000     // messages
	maxPendingOfCaller = 10       // of one principal
	maxShownParams     = 64 << 10 // bytes of params without _meta
)

// What comes of asking a human, other than yes. All deny.
var (
	errNotApproved  = errors.New("connector: whoever was asked does not approve it")
	errNoApproval   = errors.New("connector: nobody has approved it in time")
	errManyPending  = errors.New("connector: too much waits for approval already")
	errNotPending   = errors.New("connector: no such message waits for approval: it has been answered, has expired, or its caller has left")
	errMuchToShow   = fmt.Errorf("connector: its params have more than %d bytes without _meta, which is as much as a human is asked about", maxShownParams)
	errWebhookReply = errors.New("connector: the webhook's answer does not count")
)

// Approval is a message that waits for a human. It is good for that one message of that caller, whose bytes it was made of.
type Approval struct {
	ID        string `json:"id"`
	Rule      string `json:"rule"`
	RequestID string `json:"request_id"`
	Issuer    string `json:"issuer"`
	Subject   string `json:"subject"`
	Source    string `json:"source,omitempty"`
	Server    string `json:"server"`
	Method    string `json:"method"`
	// Name is that of the tool or the prompt, or the URI of the resource.
	Name string `json:"name"`
	// Params are what is asked for, without _meta, which is for programs and would hide the rest if it was long; nil if there are none. SHA256
	// is the hash of all of them in hexadecimal.
	Params  jsontext.Value `json:"params,omitempty"`
	SHA256  string         `json:"sha256"`
	Since   time.Time      `json:"since"`
	Expires time.Time      `json:"expires"`
}

// approvals are the messages that wait.
type approvals struct {
	mu      sync.Mutex // guards pending
	pending map[string]*pending
}

type pending struct {
	Approval
	answer chan answerOf // of one
}

// answerOf is what somebody has answered.
type answerOf struct {
	allow bool
	by    string
}

func newApprovals() *approvals { return &approvals{pending: make(map[string]*pending)} }

// begin makes a message wait; end is called when it no longer does.
func (a *approvals) begin(n *note, d policy.Decision, m mcp.Message) (p *pending, end func(), err error) {
	shown, err := shownParams(m.Params)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(m.Params)
	now := time.Now()
	p = &pending{answer: make(chan answerOf, 1), Approval: Approval{
		ID: rand.Text()[:10], Rule: d.Rule, RequestID: n.requestID, Issuer: n.principal.Issuer, Subject: n.principal.Subject,
		Server: n.server, Method: m.Method, Name: m.Name, Params: shown, SHA256: hex.EncodeToString(sum[:]), Since: now, Expires: now.Add(d.Approve.Timeout),
	}}
	if n.source.IsValid() {
		p.Source = n.source.String()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	his := 0
	for _, other := range a.pending {
		if other.Issuer == p.Issuer && other.Subject == p.Subject {
			his++
		}
	}
	if len(a.pending) >= maxPending || his >= maxPendingOfCaller {
		return nil, nil, errManyPending
	}
	a.pending[p.ID] = p
	return p, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.pending, p.ID)
	}, nil
}

// shownParams is a copy of params without _meta, byte for byte otherwise. What is longer than somebody can be asked about is an error.
func shownParams(params []byte) (jsontext.Value, error) {
	if params == nil {
		return nil, nil
	}
	members := jsontext.NewDecoder(bytes.NewReader(params))
	if open, err := members.ReadToken(); err != nil || open.Kind() != '{' {
		return nil, errors.Join(errNotApproved, err) // cannot be: they were read before, and are an object
	}
	shown := []byte{'{'}
	for members.PeekKind() == '"' {
		name, err := members.ReadValue()
		if err != nil {
			return nil, err
		}
		name = name.Clone() // good until the next read
		value, err := members.ReadValue()
		if err != nil {
			return nil, err
		}
		if text, err := jsontext.AppendUnquote(nil, name); err != nil || string(text) == "_meta" {
			continue
		}
		if len(shown) > 1 {
			shown = append(shown, ',')
		}
		shown = append(append(append(shown, name...), ':'), value...)
		if len(shown) >= maxShownParams {
			return nil, errMuchToShow
		}
	}
	return append(shown, '}'), nil
}

// answer answers for one that waits, once.
func (a *approvals) answer(id string, allow bool, by string) (Approval, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pending[id]
	if p == nil {
		return Approval{}, errNotPending
	}
	delete(a.pending, id)
	p.answer <- answerOf{allow, by}
	return p.Approval, nil
}

// list returns those that wait, the oldest first.
func (a *approvals) list() []Approval {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []Approval{}
	for _, p := range a.pending {
		list = append(list, p.Approval)
	}
	slices.SortFunc(list, func(a, b Approval) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return list
}

// askHuman waits until a human has answered, and calls beat now and then meanwhile. It returns nil if the message may pass.
func (c *Connector) askHuman(ctx context.Context, n *note, d policy.Decision, m mcp.Message, beat func()) error {
	p, end, err := c.approvals.begin(n, d, m)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithDeadline(ctx, p.Expires)
	defer cancel()
	log := c.log.With("approval", p.ID, telemetry.KeyRequestID, n.requestID, telemetry.KeyRule, d.Rule, telemetry.KeyServer, n.server, telemetry.KeyPrincipal, n.principal.String())
	log.InfoContext(ctx, "a call waits for approval", telemetry.KeyHint, "see sallyport approvals list")
	if d.Approve.Webhook != "" {
		asked := make(chan struct{})
		defer func() { cancel(); <-asked }()
		go func() {
			defer close(asked)
			c.askWebhook(ctx, n.routes.services, d.Approve, p, log)
		}()
	}
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case got := <-p.answer:
			log.InfoContext(ctx, "a call was answered for", "allow", got.allow, "by", got.by)
			if !got.allow {
				return errNotApproved
			}
			return nil
		case <-ctx.Done():
			return errNoApproval
		case <-tick.C:
			beat()
		}
	}
}
