package connector

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/go-json-experiment/json"

	"sallyport.dev/policy"
	"sallyport.dev/telemetry"
)

// headerSignature carries the signature of a webhook's answer.
const headerSignature = "Sallyport-Signature"

// signedPrefix stands before the body in what a webhook signs, so that its signature means nothing elsewhere.
const signedPrefix = "sallyport approval\n"

// webhookAnswer is what a webhook answers, signed.
type webhookAnswer struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
	Allow  *bool  `json:"allow"`
	By     string `json:"by"`
}

// askWebhook asks a webhook, which may take as long as the message waits. What is wrong with it is logged: the message goes
// on to wait for another answer.
func (c *Connector) askWebhook(ctx context.Context, from services, how *policy.Approve, p *pending, log *slog.Logger) {
	answer, err := from.webhook(ctx, how, p)
	if err == nil {
		_, err = c.approvals.answer(p.ID, *answer.Allow, "webhook: "+telemetry.Short(answer.By))
	}
	if err != nil && ctx.Err() == nil {
		log.WarnContext(ctx, "the webhook has not answered for a call that waits for approval", telemetry.KeyError, err)
	}
}

// webhook asks once, and checks that the answer is signed and about this very message.
func (s services) webhook(ctx context.Context, how *policy.Approve, p *pending) (answer webhookAnswer, err error) {
	conns := s.webhooks[*how]
	if conns == nil {
		return answer, errWebhookReply // cannot be: they are made of the same policy
	}
	body, err := json.Marshal(p.Approval)
	if err != nil {
		return answer, fmt.Errorf("%w: the question cannot be written", errWebhookReply)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, how.Webhook, bytes.NewReader(body))
	if err != nil {
		return answer, fmt.Errorf("%w: its URL cannot be used", errWebhookReply)
	}
	r.Header["Content-Type"] = []string{"application/json"}
	r.Header["User-Agent"] = []string{""}
	resp, err := conns.RoundTrip(r) // which follows no redirect
	if err != nil {
		return answer, fmt.Errorf("%w: %w", errWebhookReply, quoteless(err))
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxVerdict+1))
	switch {
	case err != nil:
		return answer, fmt.Errorf("%w: %w", errWebhookReply, quoteless(err))
	case resp.StatusCode != http.StatusOK:
		return answer, fmt.Errorf("%w: the status is %d", errWebhookReply, resp.StatusCode)
	case len(text) > maxVerdict:
		return answer, fmt.Errorf("%w: it has more than %d bytes", errWebhookReply, maxVerdict)
	case !signedBy(how.Key, text, resp.Header[headerSignature]):
		return answer, fmt.Errorf("%w: its signature is missing, or not of the configured key", errWebhookReply)
	case json.Unmarshal(text, &answer) != nil || answer.Allow == nil:
		return answer, fmt.Errorf("%w: it says neither yes nor no", errWebhookReply)
	case answer.ID != p.ID || answer.SHA256 != p.SHA256:
		return answer, fmt.Errorf("%w: it is about another call", errWebhookReply)
	}
	return answer, nil
}

// signedBy checks the signature of an answer, in base64url without padding.
func signedBy(key string, body []byte, signatures []string) bool {
	public, err := base64.RawURLEncoding.Strict().DecodeString(key)
	if err != nil || len(public) != ed25519.PublicKeySize || len(signatures) != 1 {
		return false
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(signatures[0])
	return err == nil && ed25519.Verify(public, append([]byte(signedPrefix), body...), signature)
}
