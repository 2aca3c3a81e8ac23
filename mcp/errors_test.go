package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// errorTable is the published vocabulary: what an agent, a script or a dashboard may rely on.
var errorTable = []struct {
	name      string
	e         *Error
	status    int
	code      int
	reason    string
	delivered Delivered
	headers   http.Header
}{
	{"no valid token", Unauthenticated(`Bearer resource_metadata="https://x/y"`), 401, -32000, "unauthenticated", "no",
		http.Header{"Www-Authenticate": {`Bearer resource_metadata="https://x/y"`}}},
	{"policy denies", Denied("rule 2"), 403, -32003, "denied", "no", nil},
	{"origin not listed", BadOrigin(), 403, -32003, "bad_origin", "no", nil},
	{"unknown or not yours", NotFound(), 404, 0, "not_found", "no", nil},
	{"unknown session", SessionNotFound(), 404, -32001, "session_not_found", "no", nil},
	{"unknown method", UnknownMethod(), 404, -32601, "unknown_method", "no", nil},
	{"malformed JSON", ParseError("p"), 400, -32700, "parse_error", "no", nil},
	{"not a request", InvalidRequest("p"), 400, -32600, "invalid_request", "no", nil},
	{"no version in the body", InvalidParams("p"), 400, -32602, "invalid_params", "no", nil},
	{"header differs from body", HeaderMismatch("p"), 400, -32020, "header_mismatch", "no", nil},
	{"not JSON", UnsupportedMedia(), 415, -32600, "unsupported_media_type", "no", nil},
	{"HTTP method", MethodNotAllowed("POST"), 405, -32600, "method_not_allowed", "no", http.Header{"Allow": {"POST"}}},
	{"slow body", RequestTimeout(), 408, -32600, "request_timeout", "no", nil},
	{"body too large", TooLarge(), 413, -32005, "too_large", "no", nil},
	{"head too large", HeadersTooLarge(), 431, -32005, "headers_too_large", "no", nil},
	{"foreign authority", Misdirected(), 421, -32600, "misdirected", "no", nil},
	{"rate", RateLimited(1500 * time.Millisecond), 429, -32006, "rate_limited", "no", http.Header{"Retry-After": {"2"}}},
	{"connector offline", ConnectorOffline(3 * time.Second), 503, -32010, "connector_offline", "no", http.Header{"Retry-After": {"3"}}},
	{"lost before handover", NotDelivered(errCause), 503, -32011, "not_delivered", "no", http.Header{"Retry-After": {"1"}}},
	{"lost after handover", OutcomeUnknown(errCause), 502, -32012, "outcome_unknown", "unknown", nil},
	{"connect refused", UpstreamUnreachable(errCause), 502, -32013, "upstream_unreachable", "no", nil},
	{"connect timeout", UpstreamConnectTimeout(errCause), 504, -32013, "upstream_unreachable", "no", nil},
	{"a tool that is not as pinned", ToolQuarantined("it has changed"), 403, -32003, "tool_quarantined", "no", nil},
	{"a result that is denied", ResultDenied("", errCause), 403, -32003, "result_denied", "yes", nil},
	{"no audit", AuditUnavailable(errCause), 503, -32018, "audit_unavailable", "no", nil},
	{"a result above a limit", ResultTooLarge(), 502, -32005, "result_too_large", "yes", nil},
	{"quarantine", UpstreamQuarantined(errCause), 503, -32013, "upstream_quarantined", "no", nil},
	{"upstream silent", UpstreamTimeout(errCause), 504, -32014, "outcome_unknown", "unknown", nil},
	{"upstream hangs up", UpstreamBroken(errCause), 502, -32014, "outcome_unknown", "unknown", nil},
	{"no credential", CredentialUnavailable(errCause), 503, -32015, "credential_unavailable", "no", nil},
	{"draining", Draining(), 503, -32016, "draining", "no", http.Header{"Retry-After": {"1"}, "Connection": {"close"}}},
	{"upstream rejects credential", CredentialRejected(), 502, -32017, "credential_rejected", "yes", nil},
	{"no capacity", Overloaded(), 503, -32018, "overloaded", "no", http.Header{"Retry-After": {"1"}}},
	{"answer unusable", UpstreamInvalid(errCause), 502, -32019, "upstream_invalid", "yes", nil},
	{"our fault", Internal(errCause), 500, -32603, "internal", "unknown", nil},
}

var errCause = errors.New("dial db.internal: refused")

func TestErrorTable(t *testing.T) {
	for _, row := range errorTable {
		t.Run(row.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			WriteError(w, row.e, "req-1", []byte("9007199254740993"))
			if w.Code != row.status || row.e.Code != row.code || row.e.Reason != row.reason || row.e.Delivered != row.delivered {
				t.Errorf("got %d %d %s %s, want %d %d %s %s", w.Code, row.e.Code, row.e.Reason, row.e.Delivered, row.status, row.code, row.reason, row.delivered)
			}
			want := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
				"Content-Length": {fmt.Sprint(w.Body.Len())}}
			for name, values := range row.headers {
				want[name] = values
			}
			if fmt.Sprint(w.Header()) != fmt.Sprint(want) {
				t.Errorf("got  %v\nwant %v", w.Header(), want)
			}
			if row.e.Code == 0 {
				return
			}
			var body struct {
				JSONRPC string
				ID      json.RawMessage
				Error   struct {
					Code    int
					Message string
					Data    struct {
						Reason, Delivered, Rule string
						RequestID               string `json:"request_id"`
					}
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err, w.Body)
			}
			if body.JSONRPC != "2.0" || string(body.ID) != "9007199254740993" || body.Error.Code != row.code || body.Error.Message != row.e.Message ||
				body.Error.Data.Reason != row.reason || body.Error.Data.Delivered != string(row.delivered) ||
				body.Error.Data.Rule != row.e.Rule || body.Error.Data.RequestID != "req-1" {
				t.Errorf("got %s", w.Body)
			}
			if strings.Contains(w.Body.String(), "db.internal") {
				t.Errorf("the cause reached the agent: %s", w.Body)
			}
		})
	}
}

// TestErrorMessagesSayDeliveryAndWhatToDo keeps the sentences honest: the text must agree with the field.
func TestErrorMessagesSayDeliveryAndWhatToDo(t *testing.T) {
	phrase := map[Delivered]string{DeliveredNo: "Nothing was delivered", DeliveredUnknown: "may or may not have taken effect", DeliveredYes: "got the call"}
	for _, row := range errorTable {
		message := row.e.Message
		if !strings.Contains(message, phrase[row.e.Delivered]) || !strings.HasSuffix(message, ".") || strings.Count(message, ". ") < 1 {
			t.Errorf("%s: %q", row.reason, message)
		}
	}
}

// TestErrorCodesStayInOurRange keeps clear of the codes that MCP reserves for itself.
func TestErrorCodesStayInOurRange(t *testing.T) {
	protocol := map[int]bool{0: true, -32700: true, -32600: true, -32601: true, -32602: true, -32603: true, -32020: true}
	for _, row := range errorTable {
		if code := row.e.Code; !protocol[code] && (code < -32019 || code > -32000) {
			t.Errorf("%s has the code %d", row.reason, code)
		}
	}
}

func TestNotFoundIsTheSameForEveryCaller(t *testing.T) {
	answer := func(requestID string, ids ...[]byte) string {
		w := httptest.NewRecorder()
		WriteError(w, NotFound(), requestID, ids...)
		return fmt.Sprint(w.Code, w.Header(), w.Body)
	}
	if a, b := answer("one"), answer("another", []byte("7")); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

func TestWriteErrorShapes(t *testing.T) {
	single := `{"jsonrpc":"2.0","id":%s,"error":{"code":-32600,"message":"m\"\u000b�","data":{"reason":"r","delivered":"no"}}}`
	tests := []struct {
		name  string
		ids   [][]byte
		batch bool
		want  string
	}{
		{"no id", nil, false, fmt.Sprintf(single, "null")},
		{"one id", [][]byte{[]byte(`"a\u0062"`)}, false, fmt.Sprintf(single, `"a\u0062"`)},
		{"batch of one", [][]byte{[]byte("1")}, true, "[" + fmt.Sprintf(single, "1") + "]"},
		{"batch of two", [][]byte{[]byte("1"), []byte("1.0")}, true, "[" + fmt.Sprintf(single, "1") + "," + fmt.Sprintf(single, "1.0") + "]"},
		{"batch of notifications", nil, true, fmt.Sprintf(single, "null")},
	}
	for _, test := range tests {
		w := httptest.NewRecorder()
		e := &Error{Status: 400, Code: -32600, Reason: "r", Delivered: DeliveredNo, Message: "m\"\v\xff", IDs: test.ids, Batch: test.batch}
		WriteError(w, e, "")
		if got := w.Body.String(); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

func TestErrorEventIsOneEvent(t *testing.T) {
	event := ErrorEvent(OutcomeUnknown(errCause), "req-1", []byte(`"x"`))
	judged := 0
	f := EventFilter{Judge: func(e *Event) error {
		if judged++; len(e.Messages) != 1 || e.Messages[0].Kind != Response || e.HasID {
			t.Errorf("the event is %+v", e)
		}
		return nil
	}}
	if out, err := f.Write(event); err != nil || !bytes.Equal(out, event) || judged != 1 {
		t.Errorf("%q is not one whole event", event)
	}
	data, ok := strings.CutPrefix(string(event), "event: message\ndata: ")
	if !ok || strings.Count(string(event), "\n") != 3 || !json.Valid([]byte(data)) || !strings.Contains(data, `"id":"x"`) || !strings.Contains(data, `"delivered":"unknown"`) {
		t.Errorf("got %q", event)
	}
}

func TestErrorForACall(t *testing.T) {
	msgs, batch, err := Parse([]byte(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"x"},{"jsonrpc":"2.0","id":2,"result":{}}]`))
	if err != nil {
		t.Fatal(err)
	}
	e := Draining()
	answer := e.For(&Call{Messages: msgs, Batch: batch})
	if !answer.Batch || fmt.Sprintf("%s", answer.IDs) != "[1]" || e.IDs != nil {
		t.Errorf("got %+v, from %+v", answer, e)
	}
	if answer = e.For(nil); answer.IDs != nil || answer.Batch {
		t.Errorf("got %+v", answer)
	}
}

func TestErrorKeepsItsCauseForTheLog(t *testing.T) {
	e := fmt.Errorf("forward: %w", NotDelivered(errCause))
	var typed *Error
	if !errors.Is(e, errCause) || !errors.As(e, &typed) || typed.Reason != "not_delivered" {
		t.Error(e)
	}
	if got := e.Error(); got != "forward: mcp: not_delivered: dial db.internal: refused" {
		t.Error(got)
	}
}

func TestAHopErrorSaysWhetherTheUpstreamWasTouched(t *testing.T) {
	want := map[Delivered]Outcome{DeliveredNo: OutcomeRefused, DeliveredUnknown: OutcomeUncertain, DeliveredYes: OutcomeDelivered, "": OutcomeUncertain}
	for delivered, outcome := range want {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/x", nil)
		r.Header.Set(HeaderRequestID, "req-7")
		WriteHopError(w, r, &Error{Status: 503, Code: -32000, Delivered: delivered})
		if got := w.Header().Get(HeaderOutcome); got != string(outcome) || !strings.Contains(w.Body.String(), `"request_id":"req-7"`) {
			t.Errorf("%q: got %q, %s", delivered, got, w.Body)
		}
	}
}
