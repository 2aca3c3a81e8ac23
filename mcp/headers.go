package mcp

import (
	"maps"
	"net/http"
	"strings"
)

// maxFields bounds the header fields of a request; agents send about fifteen.
const maxFields = 100

// CheckHeaders refuses a head with more than 100 fields (431) and one with a value that is not visible ASCII, space
// and tab (400): obsolete text is read differently by different servers (RFC 9110 §5.5). It returns nil if all is well.
func CheckHeaders(h http.Header) *Error {
	fields := 0
	for _, values := range h {
		if fields += len(values); fields > maxFields {
			return HeadersTooLarge()
		}
		for _, value := range values {
			for i := range len(value) {
				if c := value[i]; c >= 0x7f || c < 0x20 && c != '\t' {
					return InvalidRequest("a header value contains control or non-ASCII characters")
				}
			}
		}
	}
	return nil
}

// StripRequest deletes what an agent may never send on: its own credentials, what belongs to its connection, what
// would switch on retries, ranges, redirects or another identity at the upstream, and names that an upstream may read
// as another one. Mcp-* headers and those of content negotiation stay. Injected headers, and the trace context of the hop, are set after it.
func StripRequest(h http.Header) {
	stripNominated(h)
	for name := range h {
		if canonical := http.CanonicalHeaderKey(name); !travels(canonical) || dropRequest(canonical) {
			delete(h, name)
		}
	}
}

// StripResponse deletes what an upstream may never say to an agent: cookies, challenges, redirects, what would change
// how a browser or a proxy treats our origin, what belongs to its connection, and what tells of its software. A cache in
// front of us may keep no answer for several callers: where an upstream allows that, Cache-Control becomes no-store.
func StripResponse(h http.Header) {
	stripNominated(h)
	if sharable(h["Cache-Control"]) {
		h["Cache-Control"] = []string{"no-store"}
	}
	for name := range h {
		if canonical := http.CanonicalHeaderKey(name); !travels(canonical) || dropResponse(canonical) {
			delete(h, name)
		}
	}
}

// PassHead copies the head of an answer into h, which may hold fields of ours, stripped as [StripResponse] does. Date and
// Content-Type, which net/http would add, stay away where the upstream sent none. Both values of Vary count.
func PassHead(h http.Header, resp *http.Response) {
	StripResponse(resp.Header)
	vary := append(h["Vary"], resp.Header["Vary"]...)
	maps.Copy(h, resp.Header)
	if len(vary) > 0 {
		h["Vary"] = vary
	}
	for _, key := range []string{"Date", "Content-Type"} {
		if _, ok := h[key]; !ok {
			h[key] = nil
		}
	}
}

// IsEventStream reports whether a head announces text/event-stream, with whatever parameters.
func IsEventStream(h http.Header) bool {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}

// sharable reports whether Cache-Control lets a shared cache answer one caller with what another has got although both
// have sent Authorization (RFC 9111 §3.5).
func sharable(lines []string) bool {
	allowed, revalidated, kept := false, false, false
	for _, line := range lines {
		for token := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(strings.Trim(token, " \t"), "=")
			switch strings.ToLower(strings.TrimRight(name, " \t")) {
			case "public", "s-maxage":
				allowed = true
			case "must-revalidate", "proxy-revalidate":
				revalidated = true
			case "private", "no-store":
				kept = true
			}
		}
	}
	return allowed || revalidated && !kept
}

// stripNominated deletes the fields that Connection lists (RFC 9110 §7.6.1).
func stripNominated(h http.Header) {
	for _, list := range h["Connection"] {
		for token := range strings.SplitSeq(list, ",") {
			if token = strings.Trim(token, " \t"); token != "" {
				h.Del(token)
			}
		}
	}
}

// travels reports whether a canonical name may cross the gateway in either direction: a token of RFC 9110 without "_", which
// some servers read as "-", that belongs neither to one connection nor to the hop between gateway and connector.
func travels(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', strings.IndexByte("!#$%&'*+.^`|~", c) >= 0:
		default:
			return false
		}
	}
	switch name {
	case "", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return false
	}
	return !strings.HasPrefix(name, "Proxy-") && !strings.HasPrefix(name, "Sallyport-")
}

// dropRequest lists the canonical names that StripRequest deletes.
func dropRequest(name string) bool {
	switch name {
	case "Authorization", "Cookie", "Cookie2", "Dpop", // credentials of the agent
		"Client-Cert", "Client-Cert-Chain", // what a proxy says of the TLS client (RFC 9440)
		"Idempotency-Key", "X-Idempotency-Key", // net/http sends a POST that has one again
		"Expect", "Range", "Max-Forwards", "Early-Data",
		"Accept-Encoding", "Content-Encoding", // identity on both legs
		"Forwarded", "X-Forwarded", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Via",
		"Host", "X-Host", "X-Original-Host", "X-Original-Url", "X-Rewrite-Url",
		"X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
		"Origin", "Referer",
		"Traceparent", "Tracestate", "Baggage", "B3", "Uber-Trace-Id", "X-Cloud-Trace-Context", "Sentry-Trace", "Elastic-Apm-Traceparent": // whose trace a call is part of is ours to say
		return true
	}
	for _, prefix := range [...]string{"X-Forwarded-", "If-", "X-Amz-", "X-Amzn-", "Sec-", "X-B3-", "X-Datadog-", "Ot-Tracer-", "Uberctx-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// dropResponse lists the canonical names that StripResponse deletes.
func dropResponse(name string) bool {
	switch name {
	case "Set-Cookie", "Set-Cookie2", "Www-Authenticate", "Authentication-Info", "Dpop-Nonce",
		"Location", "Content-Location", "Refresh", "Link", "Alt-Svc",
		"Clear-Site-Data", "Strict-Transport-Security", "Public-Key-Pins", "Public-Key-Pins-Report-Only",
		"Nel", "Report-To", "Reporting-Endpoints", "Sourcemap", "X-Sourcemap",
		"X-Sendfile", "X-Lighttpd-Send-File", "X-Reproxy-Url", "X-Litespeed-Location", // orders to a proxy in front of us to serve another file
		"Surrogate-Control", "Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control", "Edge-Control", "X-Litespeed-Cache-Control", // and to keep this answer
		"Server", "Via", "X-Powered-By", "X-Aspnet-Version":
		return true
	}
	return strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "X-Accel-") && name != "X-Accel-Buffering" // orders to nginx
}
