package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"sallyport.dev/mcp"
)

var (
	errListLong = fmt.Errorf("%w: it answers a request for a list and is longer than 4 MiB", errUpstream)
	errListType = fmt.Errorf("%w: it answers a request for a list and is no JSON", errUpstream)
)

// filterBody takes out of an answer that is no event stream the elements of lists that the caller may not use. It reads all
// of the answer, up to 4 MiB, and puts what is left in its place; what may still hold a secret has been masked before. With
// an error nothing of the answer may pass.
//
// A body without a bracket holds no list. So the texts and the JSON of other shapes that come with errors, and the Accepted
// of HTTP+SSE, pass.
func (u *upstream) filterBody(ctx context.Context, resp *http.Response, lists *mcp.ListFilter) *mcp.Error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, mcp.MaxList+1))
	switch {
	case err != nil:
		return upstreamError(ctx, u.guard.clean(err), true)
	case len(body) > mcp.MaxList && lists.Tolerant():
		resp.Body = &resumedBody{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
		return nil
	case len(body) > mcp.MaxList:
		return mcp.UpstreamInvalid(errListLong)
	}
	_ = resp.Body.Close() // it has been read to its end
	left, err := body, errListType
	json := isJSON(resp.Header)
	if json {
		left, err = lists.Filter(body)
	}
	switch refused, ok := errors.AsType[*mcp.Error](err); {
	case err == nil:
	case ok:
		return refused
	case lists.Checks() && len(body) > 0:
		return mcp.UpstreamInvalid(err)
	case lists.Tolerant():
		left = body
	case bytes.IndexByte(body, '[') >= 0, json && resp.StatusCode == http.StatusOK:
		return mcp.UpstreamInvalid(err)
	default:
		left = body
	}
	resp.Body = io.NopCloser(bytes.NewReader(left))
	if !bytes.Equal(left, body) {
		for _, name := range []string{"Etag", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} { // of other bytes
			resp.Header.Del(name)
		}
		resp.ContentLength = int64(len(left))
		resp.Header.Set("Content-Length", strconv.Itoa(len(left)))
	}
	return nil
}

// resumedBody is a body of which some has been read ahead.
type resumedBody struct {
	io.Reader
	io.Closer
}

// isJSON reports whether an answer says that it is JSON, and in no other charset than UTF-8 (RFC 8259 §8.1).
func isJSON(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) != 1 {
		return false
	}
	media, params, err := mime.ParseMediaType(types[0])
	charset, ok := params["charset"]
	return err == nil && media == "application/json" && (!ok || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8"))
}
