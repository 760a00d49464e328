package ssclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// jsonStream walks one large JSON object from a reader: field by field, and arrays element by element, holding no more
// than one element. It finds where values begin and end; whether they are valid inside is for who parses them.
type jsonStream struct {
	r          io.Reader
	buf        []byte
	start, end int // the unread part of buf
	max        int // bytes one element may have
	first      bool
}

var (
	errStream      = errors.New("not the JSON expected")
	errElementSize = errors.New("one element is too large")
)

// maxElement is what one event or key may have before parsing: its canonical form must fit 64 KiB, and "unsigned" is not
// part of that.
const maxElement = 1 << 20

func newJSONStream(r io.Reader) *jsonStream {
	return &jsonStream{r: r, buf: make([]byte, 32<<10), max: maxElement, first: true}
}

// field goes to the next field of the object; false at its end. The value has to be consumed by value, elements or skip.
func (s *jsonStream) field() (string, bool, error) {
	c, err := s.token()
	if err != nil {
		return "", false, err
	}
	if s.first {
		s.first = false
		if c != '{' {
			return "", false, errStream
		}
		if c, err = s.token(); err != nil {
			return "", false, err
		}
		if c == '}' {
			return "", false, nil
		}
	} else {
		switch c {
		case '}':
			return "", false, nil
		case ',':
		default:
			return "", false, errStream
		}
		if c, err = s.token(); err != nil {
			return "", false, err
		}
	}
	if c != '"' {
		return "", false, errStream
	}
	s.start-- // the quote belongs to the key
	raw, err := s.value()
	if err != nil {
		return "", false, err
	}
	var key string
	if err := json.Unmarshal(raw, &key); err != nil {
		return "", false, errStream
	}
	if c, err = s.token(); err != nil || c != ':' {
		return "", false, errors.Join(errStream, err)
	}
	return key, true, nil
}

// elements calls fn with each element of an array; the bytes are good until fn returns. A null counts as empty.
func (s *jsonStream) elements(fn func(raw []byte) error) error {
	c, err := s.token()
	if err != nil {
		return err
	}
	if c != '[' {
		s.start--
		raw, err := s.value()
		if err != nil || !bytes.Equal(raw, []byte("null")) {
			return errors.Join(errStream, err)
		}
		return nil
	}
	if c, err = s.token(); err != nil {
		return err
	}
	if c == ']' {
		return nil
	}
	s.start--
	for {
		raw, err := s.value()
		if err != nil {
			return err
		}
		if err := fn(raw); err != nil {
			return err
		}
		switch c, err := s.token(); {
		case err != nil:
			return err
		case c == ']':
			return nil
		case c != ',':
			return errStream
		}
	}
}

// token skips white space and takes one byte.
func (s *jsonStream) token() (byte, error) {
	for {
		for s.start < s.end {
			c := s.buf[s.start]
			s.start++
			if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
				return c, nil
			}
		}
		if err := s.fill(); err != nil {
			return 0, unexpected(err)
		}
	}
}

// value takes one whole value; its bytes are good until the next call.
func (s *jsonStream) value() ([]byte, error) {
	if _, err := s.token(); err != nil {
		return nil, err
	}
	s.start--
	var (
		at       = 0 // offset from start, which fill may move
		depth    = 0
		inString = false
		scalar   = s.buf[s.start] != '{' && s.buf[s.start] != '[' && s.buf[s.start] != '"'
	)
	for {
		for s.start+at < s.end {
			c := s.buf[s.start+at]
			at++
			switch {
			case inString && c == '\\':
				at++ // whatever follows is part of the string
			case inString && c != '"':
			case c == '"':
				if scalar {
					return nil, errStream
				}
				inString = !inString
				if !inString && depth == 0 {
					return s.take(at), nil
				}
			case scalar && (c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n' || c == '\r' || c == '\t'):
				if at == 1 {
					return nil, errStream
				}
				return s.take(at - 1), nil
			case c == '{' || c == '[':
				if scalar {
					return nil, errStream
				}
				depth++
			case c == '}' || c == ']':
				if depth--; depth == 0 {
					return s.take(at), nil
				}
			}
		}
		if at > s.max {
			return nil, errElementSize
		}
		if err := s.fill(); err != nil {
			return nil, unexpected(err)
		}
	}
}

func (s *jsonStream) take(n int) []byte {
	raw := s.buf[s.start : s.start+n]
	s.start += n
	return raw
}

// skip passes over a value without holding it; nested arrays of any length are fine.
func (s *jsonStream) skip() error {
	depth, inString := 0, false
	c, err := s.token()
	if err != nil {
		return err
	}
	if c != '{' && c != '[' {
		s.start--
		_, err := s.value()
		return err
	}
	depth = 1
	for depth > 0 {
		if s.start == s.end {
			if err := s.fill(); err != nil {
				return unexpected(err)
			}
		}
		c := s.buf[s.start]
		s.start++
		switch {
		case inString && c == '\\':
			if s.start == s.end {
				if err := s.fill(); err != nil {
					return unexpected(err)
				}
			}
			s.start++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// fill reads more behind what is unread, making room first.
func (s *jsonStream) fill() error {
	if s.start > 0 {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
	if s.end == len(s.buf) {
		if len(s.buf) > s.max {
			return errElementSize
		}
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	for range 100 {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// enterPair steps into the second element of [200, {…}], the shape of v1 answers.
func (s *jsonStream) enterPair() error {
	if c, err := s.token(); err != nil || c != '[' {
		return errors.Join(errStream, err)
	}
	if _, err := s.value(); err != nil {
		return err
	}
	if c, err := s.token(); err != nil || c != ',' {
		return errors.Join(errStream, err)
	}
	return nil
}
