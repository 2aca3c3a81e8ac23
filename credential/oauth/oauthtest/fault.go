package oauthtest

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Fault is a way in which the token endpoint misbehaves. One that begins with "error " answers with the error code that
// comes after it.
type Fault string

// The faults. All but Lost and those that alter an answer show before the request has had an effect.
const (
	None         Fault = ""
	Hang         Fault = "hang"                      // it never answers
	Drip         Fault = "drip"                      // the answer never ends, a byte at a time
	Huge         Fault = "10 MiB"                    // of JSON, in which a token stands first
	Redirect     Fault = "redirect"                  // to the URL of the parameter canary, or to another host
	HTML         Fault = "HTML"                      // with status 200
	Down         Fault = "503"                       // as a balancer says it
	Form         Fault = "form-encoded"              // as some servers answer, and RFC 6749 does not allow
	Broken       Fault = "broken JSON"               // in which a token stands
	Compressed   Fault = "compressed"                // or so it says
	Echo         Fault = "echo"                      // an error that repeats all that was sent, in every field of it
	EchoStatus   Fault = "echo in HTML"              // the same, as a page
	Lost         Fault = "lost"                      // the request has its effect, and the connection breaks
	WrongType    Fault = "token_type mac"            // alters an answer
	NoType       Fault = "no token_type"             // alters an answer
	EmptyToken   Fault = "empty access_token"        // alters an answer
	LongToken    Fault = "access_token of 17 KiB"    // alters an answer
	UglyToken    Fault = "access_token with a CR LF" // alters an answer
	ExpiredToken Fault = "expires_in 0"              // alters an answer
)

// Misbehave makes the token endpoint misbehave from now on; None ends that.
func (s *Server) Misbehave(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// before answers in place of the token endpoint, if that is the fault.
func (f Fault) before(w http.ResponseWriter, r *http.Request) (answered bool) {
	const token = `{"access_token":"at-of-a-fault","token_type":"bearer","expires_in":3600`
	sent := fmt.Sprintf("%s %s %s", r.PostForm.Encode(), r.Header.Get("Authorization"), strings.Join(values(r), " "))
	send := func(status int, kind, body string) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
	switch code, isError := strings.CutPrefix(string(f), "error "); {
	case isError:
		refuse(w, http.StatusBadRequest, code)
	case f == Hang:
		<-r.Context().Done()
	case f == Drip:
		drip(w, r)
	case f == Huge:
		send(http.StatusOK, "application/json", token+`,"padding":"`+strings.Repeat("x", 10<<20)+`"}`)
	case f == Redirect:
		to := r.PostForm.Get("canary")
		if to == "" {
			to = "https://elsewhere.example/token"
		}
		w.Header().Set("Location", to)
		send(http.StatusTemporaryRedirect, "application/json", token+"}")
	case f == HTML:
		send(http.StatusOK, "text/html", "<html>Sign in</html>")
	case f == Down:
		send(http.StatusServiceUnavailable, "text/html", "<html>"+sent+"</html>")
	case f == Form:
		send(http.StatusOK, "application/x-www-form-urlencoded", "access_token=at-of-a-fault&token_type=bearer&expires_in=3600")
	case f == Broken:
		send(http.StatusOK, "application/json", token+`,"expires_in":"`+sent)
	case f == Compressed:
		w.Header().Set("Content-Encoding", "gzip")
		send(http.StatusOK, "application/json", token+"}")
	case f == Echo:
		send(http.StatusBadRequest, "application/json", fmt.Sprintf(`{"error":%q,"error_description":%q,"error_uri":%q}`, sent, sent, sent))
	case f == EchoStatus:
		send(http.StatusBadRequest, "text/html", sent)
	default:
		return false
	}
	return true
}

func values(r *http.Request) (all []string) {
	for _, value := range r.PostForm {
		all = append(all, value...)
	}
	return all
}

// drip begins an answer, flushes it, and adds to it until the client leaves.
func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		fmt.Fprint(w, " ")
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// after alters an answer, or loses it.
func (f Fault) after(given map[string]any) {
	switch f {
	case Lost:
		panic(http.ErrAbortHandler)
	case WrongType:
		given["token_type"] = "mac"
	case NoType:
		delete(given, "token_type")
	case EmptyToken:
		given["access_token"] = ""
	case LongToken:
		given["access_token"] = strings.Repeat("t", 17<<10)
	case UglyToken:
		given["access_token"] = "at\r\nX-Injected: 1"
	case ExpiredToken:
		given["expires_in"] = 0
	}
}
