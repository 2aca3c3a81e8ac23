package mcp

import "bytes"

// Verdict is how a request has gone by the server's own word.
type Verdict struct {
	// Code is the code of a JSON-RPC error, a whole number; "" if there is none.
	Code string
	// ToolError says that a result is the failure of a tool (isError).
	ToolError bool
	// OK says that there is a result, and that it is no failure.
	OK bool
}

// Failed reports whether the request has failed.
func (v Verdict) Failed() bool { return v.Code != "" || v.ToolError }

// maxCode bounds an error's code, in bytes: -2147483648 has 11.
const maxCode = 11

// JudgeResponse reads the verdict of one JSON-RPC response, or of a batch: its first failure, or else its last response. It is for telemetry alone: it takes what is JSON
// on trust, copies nothing but a code, and passes over all that it does not look for. What it cannot read says nothing.
func JudgeResponse(message []byte) (v Verdict) {
	s := verdictScan{text: message}
	switch s.next() {
	case '{':
		return s.response()
	case '[':
		s.at++
		for s.next() == '{' {
			if v = s.response(); v.Failed() {
				return v
			}
			if s.next() != ',' {
				break
			}
			s.at++
		}
	}
	return v
}

// verdictScan is a place in a text. At the text's end all its methods find nothing.
type verdictScan struct {
	text []byte
	at   int
	cut  bool // it is no JSON, or not all of it
}

// next is the next byte that is not white space; 0 at the end.
func (s *verdictScan) next() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// response reads one message, and stands behind it then.
func (s *verdictScan) response() (v Verdict) {
	s.members(func(name []byte) {
		switch {
		case string(name) == "error" && s.next() == '{':
			s.members(func(name []byte) {
				if raw := s.value(); string(name) == "code" && isCode(raw) {
					v.Code = string(raw)
				}
			})
		case string(name) == "result" && s.next() == '{':
			v.OK = true
			s.members(func(name []byte) {
				if raw := s.value(); string(name) == "isError" && string(raw) == "true" {
					v.ToolError, v.OK = true, false
				}
			})
		default:
			v.OK = v.OK || string(name) == "result"
			s.value()
		}
	})
	if v.Code != "" || s.cut {
		v.OK = false
	}
	return v
}

// members calls a function for each member of an object, which reads the value.
func (s *verdictScan) members(each func(name []byte)) {
	s.at++ // the brace
	for s.next() == '"' {
		name := s.str()
		if s.next() != ':' {
			break
		}
		s.at++
		if s.next() == 0 {
			break
		}
		each(name)
		if s.next() != ',' {
			break
		}
		s.at++
	}
	if s.next() == '}' {
		s.at++
		return
	}
	s.at, s.cut = len(s.text), true
}

// str reads a string and returns what is between its quotes, raw.
func (s *verdictScan) str() []byte {
	s.at++
	start := s.at
	for ; s.at < len(s.text) && s.at < start+shortString; s.at++ {
		switch s.text[s.at] {
		case '"':
			s.at++
			return s.text[start : s.at-1]
		case '\\':
			return s.longString(start)
		}
	}
	return s.longString(start)
}

// shortString is up to where a string is looked through byte by byte, which most names are shorter than.
const shortString = 16

// longString reads a string on, which began at start.
func (s *verdictScan) longString(start int) []byte {
	for s.at < len(s.text) {
		i := bytes.IndexByte(s.text[s.at:], '"')
		if i < 0 {
			break
		}
		s.at += i + 1
		end, slashes := s.at-1, 0
		for end-1-slashes >= start && s.text[end-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return s.text[start:end]
		}
	}
	s.at = len(s.text)
	return nil
}

// value reads whatever value is next, and returns it raw.
func (s *verdictScan) value() []byte {
	start := s.at
	switch s.next() {
	case '"':
		s.str()
	case '{', '[':
		s.nested()
	default:
		start = s.at
		for s.at < len(s.text) && !endsValue(s.text[s.at]) {
			s.at++
		}
	}
	return s.text[start:s.at]
}

// endsValue reports whether a character stands behind a number or a word.
func endsValue(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}

// nested passes over an object or array, by counting brackets.
func (s *verdictScan) nested() {
	for depth := 0; s.at < len(s.text); {
		switch s.text[s.at] {
		case '"':
			s.str()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.at++
		if depth == 0 {
			return
		}
	}
}

// isCode reports whether a raw value is a whole number of no more digits than a code has.
func isCode(raw []byte) bool {
	digits := bytes.TrimPrefix(raw, []byte("-"))
	if len(digits) == 0 || len(raw) > maxCode {
		return false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
