package providertest

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Fault is a way in which an endpoint misbehaves.
type Fault string

// The faults. Those of one endpoint alone leave the others as they are.
const (
	None          Fault = ""
	Failing       Fault = "500"                                              // with a body that would do
	Hang          Fault = "hang"                                             // it never answers
	Drip          Fault = "drip"                                             // what would do, a byte in 100 ms
	Redirect      Fault = "redirect"                                         // to the canary
	Huge          Fault = "10 MiB"                                           // of JSON that would do
	Empty         Fault = "empty"                                            // a body of no bytes
	HTML          Fault = "HTML"                                             // with status 200
	Gzip          Fault = "gzip"                                             // of what would do
	OtherIssuer   Fault = "another issuer"                                   // in the documents
	TooManyKeys   Fault = "33 keys"                                          // in the set
	PrivateKeys   Fault = "private keys"                                     // in the set
	DuplicateKids Fault = "two keys of one key id"                           // in the set
	NotTheirs     Fault = "a set of somebody else's keys with these key ids" // in the set
)

// Misbehave makes an endpoint misbehave from now on; None ends that.
func (s *Server) Misbehave(e Endpoint, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[e] = f
}

// Say makes an endpoint answer with this body, whatever it was asked; the empty text ends that.
func (s *Server) Say(e Endpoint, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies[e] = body
	if body == "" {
		delete(s.bodies, e)
	}
}

// serve answers with a body, or as the fault has it.
func (f Fault) serve(w http.ResponseWriter, r *http.Request, asked Endpoint, body string) {
	w.Header().Set("Content-Type", "application/json")
	switch f {
	case Failing:
		w.WriteHeader(http.StatusInternalServerError)
	case Hang:
		<-r.Context().Done()
		return
	case Drip:
		drip(w, r, body)
		return
	case Redirect:
		w.Header().Set("Location", string(Canary)+"?of="+url.QueryEscape(string(asked)))
		w.WriteHeader(http.StatusTemporaryRedirect)
	case Huge:
		body = strings.TrimSuffix(body, "}") + strings.Repeat(" ", 10<<20) + "}"
	case Empty:
		body = ""
	case HTML:
		w.Header().Set("Content-Type", "text/html")
		body = "<html>Sign in</html>"
	case Gzip:
		w.Header().Set("Content-Encoding", "gzip")
		compressed := gzip.NewWriter(w)
		fmt.Fprint(compressed, body)
		_ = compressed.Close() // the client may have left
		return
	}
	fmt.Fprint(w, body)
}

func drip(w http.ResponseWriter, r *http.Request, body string) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range len(body) {
		fmt.Fprint(w, body[i:i+1])
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
