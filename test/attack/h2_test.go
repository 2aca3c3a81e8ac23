package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	streamID  = 1
	ownWindow = 16 << 20 // for answers, so that none waits for us
	maxFrame  = 16 << 10
)

// sendH2 writes a request as HTTP/2 frames and reads the answer.
func (r *rig) sendH2(ctx context.Context, q request) (answer, error) {
	q = q.fill(r.host)
	conn, err := r.dial(ctx, q.server, q.certificate, "h2")
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = conn.Close() }()
	c := &h2Conn{conn: conn, decoder: hpack.NewDecoder(4096, nil), window: 65535, stream: 65535, initial: 65535}
	start := time.Now()
	a, err := c.exchange(q)
	a.took, a.all = time.Since(start), c.all.Bytes()
	return a, err
}

type h2Conn struct {
	conn    net.Conn
	decoder *hpack.Decoder
	window  int64 // of the connection, for what we send
	stream  int64 // of the stream
	initial int64 // of a new stream
	answer  answer
	ended   bool
	all     bytes.Buffer
}

func (c *h2Conn) exchange(q request) (answer, error) {
	if _, err := io.WriteString(c.conn, preface); err != nil {
		return answer{}, err
	}
	if err := errors.Join(
		writeFrame(c.conn, frame{kind: frameSettings, payload: settings(settingPush, 0, settingInitialWindow, ownWindow)}),
		writeFrame(c.conn, frame{kind: frameWindowUpdate, payload: binary.BigEndian.AppendUint32(nil, ownWindow)}),
	); err != nil {
		return answer{}, err
	}
	// A write fails when the gateway has hung up already; why, its answer says.
	written := errors.Join(c.writeHead(q), c.writeBody(q))
	for !c.ended {
		if err := c.read(); err != nil {
			if c.answer.status != 0 && errors.Is(err, io.EOF) {
				c.answer.cut = true
				break
			}
			return c.answer, errors.Join(err, written)
		}
	}
	return c.answer, nil
}

func (c *h2Conn) writeHead(q request) error {
	fields := []field{{":method", q.method}}
	if q.method != http.MethodConnect {
		fields = append(fields, field{":scheme", "https"}, field{":path", q.target})
	}
	if q.authority != "" {
		fields = append(fields, field{":authority", q.authority})
	}
	var rest []field
	for _, f := range q.fields {
		if strings.HasPrefix(f.name, ":") {
			fields = append(fields, f) // where a pseudo field must be
		} else {
			rest = append(rest, f)
		}
	}
	if q.announced != "" {
		rest = append(rest, field{"content-length", q.announced})
	}
	return c.writeFields(append(fields, rest...), q.bodiless && len(q.trailer) == 0)
}

func (c *h2Conn) writeFields(fields []field, end bool) error {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		_ = encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(f.name), Value: f.value}) // to memory
	}
	f := frame{kind: frameHeaders, stream: streamID}
	if end {
		f.flags = flagEndStream
	}
	for {
		f.payload = block.Next(maxFrame)
		if block.Len() == 0 {
			f.flags |= flagEndHeaders
		}
		if err := writeFrame(c.conn, f); err != nil || block.Len() == 0 {
			return err
		}
		f.kind, f.flags = frameContinuation, 0
	}
}

func (c *h2Conn) writeBody(q request) error {
	if q.bodiless && len(q.trailer) == 0 {
		return nil
	}
	rest := []byte(q.body)
	for len(rest) > 0 && !c.ended {
		n := min(int64(len(rest)), maxFrame, c.window, c.stream)
		if n <= 0 {
			if err := c.read(); err != nil {
				return err
			}
			continue
		}
		f := frame{kind: frameData, stream: streamID, payload: rest[:n]}
		if n == int64(len(rest)) && len(q.trailer) == 0 && !q.stall {
			f.flags = flagEndStream
		}
		if err := writeFrame(c.conn, f); err != nil {
			return err
		}
		c.window, c.stream, rest = c.window-n, c.stream-n, rest[n:]
	}
	if len(q.trailer) == 0 {
		return nil
	}
	return c.writeFields(q.trailer, true)
}

// read takes one frame.
func (c *h2Conn) read() error {
	f, err := readFrame(c.conn)
	if err != nil {
		return err
	}
	switch f.kind {
	case frameSettings:
		if f.has(flagAck) {
			return nil
		}
		if v, ok := setting(f.payload, settingInitialWindow); ok {
			c.stream += int64(v) - c.initial
			c.initial = int64(v)
		}
		return writeFrame(c.conn, frame{kind: frameSettings, flags: flagAck})
	case frameWindowUpdate:
		n := int64(binary.BigEndian.Uint32(f.payload))
		if f.stream == 0 {
			c.window += n
		} else {
			c.stream += n
		}
	case framePing:
		if !f.has(flagAck) {
			return writeFrame(c.conn, frame{kind: framePing, flags: flagAck, payload: f.payload})
		}
	case frameHeaders:
		return c.head(f)
	case frameData:
		c.answer.body = append(c.answer.body, f.payload...)
		c.all.Write(f.payload)
		c.ended = c.ended || f.has(flagEndStream)
	case frameReset:
		switch {
		case c.ended || f.stream != streamID:
		case c.answer.status != 0:
			c.answer.cut, c.ended = true, true
		default:
			c.answer.reset, c.ended = errorName(f.payload), true
		}
	case frameGoAway:
		c.all.Write(f.payload)
		if name := errorName(f.payload[min(4, len(f.payload)):]); name != "NO_ERROR" && !c.ended {
			c.answer.reset, c.ended = name, true
		}
	}
	return nil
}

func (c *h2Conn) head(f frame) error {
	if f.stream != streamID || !f.has(flagEndHeaders) {
		return fmt.Errorf("an answer on stream %d, flags %#x", f.stream, f.flags)
	}
	fields, err := c.decoder.DecodeFull(f.payload)
	if err != nil {
		return err
	}
	header, status := make(http.Header), 0
	for _, h := range fields {
		fmt.Fprintf(&c.all, "%s: %s\n", h.Name, h.Value)
		if h.Name == ":status" {
			if status, err = strconv.Atoi(h.Value); err != nil {
				return err
			}
			continue
		}
		header.Add(h.Name, h.Value)
	}
	if status != http.StatusContinue {
		c.answer.status, c.answer.header = status, header
	}
	c.ended = f.has(flagEndStream)
	return nil
}
