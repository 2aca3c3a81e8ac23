package postgres

import (
	"bytes"
	"encoding/json"
	"strings"

	"sallyport.dev/mcp/database"
)

// maxDimensions is how many an array may have (MAXDIM in PostgreSQL's array.h).
const maxDimensions = 6

// arrayDecoder returns how an array becomes a JSON array, nested for each dimension, without the bounds of its indices. What
// is none by the rules of "Array Input and Output Syntax" (PostgreSQL documentation, 8.15.6) stays a text.
func arrayDecoder(element decoder) decoder {
	return func(b []byte) json.RawMessage {
		p := arrayParser{rest: skipBounds(b), element: element}
		if !p.array(1) || len(p.rest) > 0 {
			return database.Text(string(b))
		}
		return p.made
	}
}

// skipBounds skips bounds such as [0:1][-1:2]= before an array.
func skipBounds(b []byte) []byte {
	if len(b) == 0 || b[0] != '[' {
		return b
	}
	bounds, array, found := bytes.Cut(b, []byte("="))
	if !found || len(bytes.Trim(bounds, "[]:+-0123456789")) > 0 {
		return b
	}
	return array
}

// arrayParser makes JSON of an array that the server has written.
type arrayParser struct {
	rest    []byte
	made    json.RawMessage
	element decoder
}

func (p *arrayParser) next() byte {
	if len(p.rest) == 0 {
		return 0
	}
	return p.rest[0]
}

// array reads one dimension, from { to }.
func (p *arrayParser) array(depth int) bool {
	if p.next() != '{' || depth > maxDimensions {
		return false
	}
	p.rest = p.rest[1:]
	p.made = append(p.made, '[')
	if p.next() == '}' {
		p.rest = p.rest[1:]
		p.made = append(p.made, ']')
		return true
	}
	for {
		var ok bool
		switch p.next() {
		case '{':
			ok = p.array(depth + 1)
		case '"':
			ok = p.quoted()
		default:
			ok = p.plain()
		}
		if !ok {
			return false
		}
		switch p.next() {
		case ',':
			p.made = append(p.made, ',')
		case '}':
			p.rest = p.rest[1:]
			p.made = append(p.made, ']')
			return true
		default:
			return false
		}
		p.rest = p.rest[1:]
	}
}

// quoted reads an element in quotes, in which a backslash stands before what is meant as it is.
func (p *arrayParser) quoted() bool {
	var value []byte
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.made = append(p.made, p.element(value)...)
			p.rest = p.rest[i+1:]
			return true
		case '\\':
			if i++; i == len(p.rest) {
				return false
			}
			value = append(value, p.rest[i])
		default:
			value = append(value, c)
		}
	}
	return false
}

// plain reads an element without quotes: NULL is the absence of a value.
func (p *arrayParser) plain() bool {
	n := bytes.IndexAny(p.rest, `,{}"\`)
	if n <= 0 {
		return false
	}
	value := p.rest[:n]
	p.rest = p.rest[n:]
	if strings.EqualFold(string(value), "NULL") {
		p.made = append(p.made, database.Null...)
		return true
	}
	p.made = append(p.made, p.element(value)...)
	return true
}
