package inject

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// token is the session token of AWS's test suite.
const token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="

// TestAWSVectors holds signatures to AWS's published test suite for Signature Version 4 (aws-sig-v4-test-suite, kept in
// awslabs/aws-c-auth under tests/aws-signing-test-suite/v4, with its paths normalised: service "service" in us-east-1 at
// 2015-08-30 12:36 UTC) and to the examples of the documentation of Amazon S3 ("Authenticating
// Requests: Using the Authorization Header", 2013-05-24).
func TestAWSVectors(t *testing.T) {
	suite := SigV4{Region: "us-east-1", Service: "service", bare: true, Now: func() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) }}
	s3 := SigV4{Region: "us-east-1", Service: "s3", Now: func() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) }}
	const host, bucket = "https://example.amazonaws.com", "https://examplebucket.s3.amazonaws.com"

	for _, test := range []struct {
		name, method, url, kind, body, token string
		signer                               SigV4
		signature                            string
	}{
		{"get-vanilla", "GET", host + "/", "", "", "", suite, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-vanilla-empty-query-key", "GET", host + "/?Param1=value1", "", "", "", suite, "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
		{"get-vanilla-query-order-key-case", "GET", host + "/?Param2=value2&Param1=value1", "", "", "", suite, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-vanilla-query-unreserved", "GET", host + "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "", "", "", suite, "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
		{"get-vanilla-utf8-query", "GET", host + "/?%E1%88%B4=bar", "", "", "", suite, "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
		{"get-unreserved", "GET", host + "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "", "", "", suite, "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
		{"post-vanilla", "POST", host + "/", "", "", "", suite, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-vanilla-query", "POST", host + "/?Param1=value1", "", "", "", suite, "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
		{"post-x-www-form-urlencoded", "POST", host + "/", "application/x-www-form-urlencoded", "Param1=value1", "", suite, "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		{"post-sts-header-before", "POST", host + "/", "", "", token, suite, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
		{"get-vanilla-query-order-encoded", "GET", host + "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", "", "", "", suite, "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
		{"get-relative-relative", "GET", host + "/example1/example2/../..", "", "", "", suite, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-slash-dot-slash", "GET", host + "/./", "", "", "", suite, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-slash-pointless-dot", "GET", host + "/./example", "", "", "", suite, "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
		{"get-slashes", "GET", host + "//example//", "", "", "", suite, "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
		{"get-vanilla-with-session-token", "GET", host + "/", "", "", "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267", suite, "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"},
		{"S3, get lifecycle", "GET", bucket + "/?lifecycle", "", "", "", s3, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"S3, list objects", "GET", bucket + "/?max-keys=2&prefix=J", "", "", "", s3, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, test.url, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if test.kind != "" {
				r.Header.Set("Content-Type", test.kind)
			}
			key, id := "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "AKIDEXAMPLE"
			if test.signer.Service == "s3" {
				key, id = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AKIAIOSFODNN7EXAMPLE"
			}
			values := []secret.Value{secret.New(id), secret.New(key)}
			if test.token != "" {
				values = append(values, secret.New(test.token))
			}
			if err := test.signer.Inject(r, values); err != nil {
				t.Fatal(err)
			}
			if got := r.Header.Get("Authorization"); !strings.HasSuffix(got, "Signature="+test.signature) {
				t.Errorf("%s, want %s", got, test.signature)
			}
		})
	}
}

// The vectors of the same suite that have fields of their own.
func TestAWSVectorsWithFields(t *testing.T) {
	for _, test := range []struct {
		name, method string
		fields       http.Header
		signature    string
	}{
		{"get-header-key-duplicate", "GET", http.Header{"My-Header1": {"value2", "value2", "value1"}}, "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
		{"get-header-value-order", "GET", http.Header{"My-Header1": {"value4", "value1", "value3", "value2"}}, "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
		{"get-header-value-trim", "GET", http.Header{"My-Header1": {" value1"}, "My-Header2": {` "a   b   c"`}}, "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"post-header-value-case", "POST", http.Header{"My-Header1": {"VALUE1"}}, "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, "https://example.amazonaws.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(r.Header, test.fields)
		suite := SigV4{Region: "us-east-1", Service: "service", bare: true, Now: func() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) }}
		if err := suite.Inject(r, []secret.Value{secret.New("AKIDEXAMPLE"), secret.New("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")}); err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Get("Authorization"); !strings.HasSuffix(got, "Signature="+test.signature) {
			t.Errorf("%s: %s, want %s", test.name, got, test.signature)
		}
		for name, lines := range test.fields {
			if !slices.Equal(r.Header[name], lines) {
				t.Errorf("%s: %s is sent as %q", test.name, name, r.Header[name])
			}
		}
	}
}

// What says what is asked for is signed; what proxies change, and what AWS would read in another way, is not.
func TestSigV4SignsTheFieldsThatCount(t *testing.T) {
	sign := func(header http.Header) string {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://x.test//mcp", strings.NewReader("{}"))
		r.Header = header
		s := SigV4{Region: "eu-central-1", Service: "bedrock-agentcore", Now: func() time.Time { return time.Unix(1e9, 0) }}
		if err := s.Inject(r, []secret.Value{secret.New("AKIDEXAMPLE"), secret.New("key-of-some-length"), secret.New("session")}); err != nil {
			t.Fatal(err)
		}
		if r.URL.Path != "//mcp" || r.Header.Get("X-Amz-Security-Token") != "session" {
			t.Errorf("%s, %q", r.URL.Path, r.Header)
		}
		_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
		return rest
	}
	header := func() http.Header {
		return http.Header{
			"Accept": {"application/json,  text/event-stream"}, "Content-Type": {"application/json"}, "Mcp-Session-Id": {"s"}, "Mcp-Name": {"caf\xe9"},
			"User-Agent": {"x"}, "Traceparent": {"00-1"}, "Accept-Encoding": {"identity"}, "X-Forwarded-For": {"x"}, "mcp_method": {"x"}, "Connection": {"x"},
		}
	}
	first := sign(header())
	if names, _, _ := strings.Cut(first, ","); names != "accept;content-type;host;mcp-session-id;x-amz-content-sha256;x-amz-date;x-amz-security-token" {
		t.Errorf("%s is signed", names)
	}
	spaced, other := header(), header()
	spaced["Accept"], spaced["Traceparent"] = []string{"application/json, text/event-stream "}, []string{"00-2"}
	other["Mcp-Session-Id"] = []string{"t"}
	if sign(spaced) != first || sign(other) == first {
		t.Error("the signature is not over the fields as AWS reads them")
	}
}

func TestSigV4SignsTheBytesThatAreSent(t *testing.T) {
	sign := func(body string) (authorization, hash string) {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://x.test/mcp", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		s := SigV4{Region: "eu-central-1", Service: "execute-api", Now: func() time.Time { return time.Unix(1e9, 0) }}
		if err := s.Inject(r, []secret.Value{secret.New("AKIDEXAMPLE"), secret.New("key-of-some-length")}); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != body || r.Header.Get("Host") != "" || len(r.Header["Host"]) > 0 {
			t.Errorf("%q is sent as %q, %v", body, got, err)
		}
		return r.Header.Get("Authorization"), r.Header.Get("X-Amz-Content-Sha256")
	}
	a, hashA := sign(`{"a":1}`)
	b, hashB := sign(`{"a":1 }`)
	if a == b || hashA == hashB || len(hashA) != 64 {
		t.Errorf("%q and %q", a, b)
	}
	if !strings.Contains(a, "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date,") {
		t.Errorf("%q", a)
	}
}

func TestSigV4TakesNothingFromTheAgent(t *testing.T) {
	s := SigV4{Region: "eu-central-1", Service: "execute-api"}
	values := []secret.Value{secret.New("AKIDEXAMPLE"), secret.New("key-of-some-length")}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://x.test/", nil)
	for _, name := range []string{"authorization", "X-Amz-Date", "x_amz_security_token", "X-AMZ-TARGET"} {
		r.Header[name] = []string{"agent"}
	}
	if err := s.Inject(r, values); err != nil {
		t.Fatal(err)
	}
	for name, list := range r.Header {
		if strings.Contains(strings.Join(list, ""), "agent") {
			t.Errorf("%s is the agent's", name)
		}
	}
	for _, query := range []string{"+X-Amz-Signature=1", "%0aX-Amz-Signature=1", "X.Amz.Date", "X-Amz-Signature=1", "x-amz-credential=1", "a=1&%58-Amz-Date=1", "X_Amz_Date=1", "a=%zz", "a;b=1"} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://x.test/", nil)
		r.URL.RawQuery = query
		if err := s.Inject(r, values); !errors.Is(err, credential.ErrUnusable) || r.Header.Get("Authorization") != "" {
			t.Errorf("%q gives %v", query, err)
		}
	}
	for _, bad := range []SigV4{{}, {Region: "eu"}, {Service: "s3"}, {Region: "EU", Service: "s3"}, {Region: "eu/x", Service: "s3"}} {
		if bad.Validate() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
	for _, bad := range [][]secret.Value{nil, values[:1], {secret.New("a"), secret.New("b\n")}, {secret.New("a"), {}}, {secret.New("a/b"), values[1]}, {secret.New("a,SignedHeaders=host"), values[1]}, append(values[:2:2], values...)} {
		if err := s.Inject(r, bad); !errors.Is(err, credential.ErrUnusable) || r.Header.Get("Authorization") != "" {
			t.Errorf("%d values give %v", len(bad), err)
		}
	}
}
