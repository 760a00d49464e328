package canonical

import (
	"bytes"
	"errors"
	"math"
	"unicode/utf8"
)

// The readers below expect what Append or Check have passed. On other bytes they do not panic and do not run past the
// end, but may find values where there are none. Of duplicate keys Get sees the first.

// Cursor walks the members of an object or the elements of an array without allocating.
type Cursor struct {
	src   []byte
	pos   int
	end   byte // } or ]
	first bool
	done  bool // came to the closing bracket
}

// Members walks an object.
func Members(src []byte) Cursor { return cursor(src, '{', '}') }

// Elements walks an array.
func Elements(src []byte) Cursor { return cursor(src, '[', ']') }

func cursor(src []byte, open, end byte) Cursor {
	i := skipSpace(src, 0)
	if i >= len(src) || src[i] != open {
		return Cursor{pos: len(src)}
	}
	return Cursor{src: src, pos: i + 1, end: end, first: true}
}

// Next is the next member or element; key is the raw text between the quotes, escapes and all, nil in an array.
func (c *Cursor) Next() (key, value []byte, ok bool) {
	i := skipSpace(c.src, c.pos)
	if i >= len(c.src) {
		return nil, nil, false
	}
	if c.src[i] == c.end {
		c.pos, c.done = len(c.src), true
		return nil, nil, false
	}
	if !c.first {
		if c.src[i] != ',' {
			c.pos = len(c.src)
			return nil, nil, false
		}
		i = skipSpace(c.src, i+1)
	}
	c.first = false
	if c.end == '}' {
		var end int
		if end, ok = skipString(c.src, i); !ok {
			c.pos = len(c.src)
			return nil, nil, false
		}
		key = c.src[i+1 : end-1]
		i = skipSpace(c.src, end)
		if i >= len(c.src) || c.src[i] != ':' {
			c.pos = len(c.src)
			return nil, nil, false
		}
		i = skipSpace(c.src, i+1)
	}
	end, ok := skipValue(c.src, i)
	if !ok {
		c.pos = len(c.src)
		return nil, nil, false
	}
	c.pos = end
	return key, c.src[i:end], true
}

// Complete reports, after Next has said no, whether the walk came to the end of the object or array.
func (c *Cursor) Complete() bool { return c.done }

// Object calls f for each member of the object src, in the order they stand there; value is a slice of src. An error of
// f ends the walk and is returned.
func Object(src []byte, f func(key string, value []byte) error) error {
	c := Members(src)
	for {
		raw, value, ok := c.Next()
		if !ok {
			break
		}
		if err := f(text(raw), value); err != nil {
			return err
		}
	}
	if !c.Complete() {
		return errNotObject
	}
	return nil
}

// Array calls f for each element of the array src, as Object does.
func Array(src []byte, f func(value []byte) error) error {
	c := Elements(src)
	for {
		_, value, ok := c.Next()
		if !ok {
			break
		}
		if err := f(value); err != nil {
			return err
		}
	}
	if !c.Complete() {
		return errNotArray
	}
	return nil
}

var (
	errNotObject = errors.Join(errors.New("no object"), ErrSyntax)
	errNotArray  = errors.Join(errors.New("no array"), ErrSyntax)
)

// Get finds the value at a path of keys through nested objects. The value is a slice of src.
func Get(src []byte, path ...string) (value []byte, found bool) {
	for _, want := range path {
		c := Members(src)
		for {
			key, value, ok := c.Next()
			if !ok {
				return nil, false
			}
			if KeyIs(key, want) {
				src = value
				break
			}
		}
	}
	return src, true
}

// KeyIs compares a raw key of a Cursor with a text.
func KeyIs(raw []byte, want string) bool {
	slash := bytes.IndexByte(raw, '\\')
	if slash < 0 {
		return string(raw) == want
	}
	return len(want) > slash && want[:slash] == string(raw[:slash]) && text(raw) == want
}

// GetString is the string at a path; false if there is none or it is no string.
func GetString(src []byte, path ...string) (string, bool) {
	value, found := Get(src, path...)
	if !found {
		return "", false
	}
	return String(value)
}

// GetInt is the integer at a path; false if there is none or it is no integer.
func GetInt(src []byte, path ...string) (int64, bool) {
	value, found := Get(src, path...)
	if !found {
		return 0, false
	}
	return Int(value)
}

// GetBool is the boolean at a path; false if there is none or it is no boolean.
func GetBool(src []byte, path ...string) (value, found bool) {
	raw, found := Get(src, path...)
	switch {
	case found && string(raw) == "true":
		return true, true
	case found && string(raw) == "false":
		return false, true
	}
	return false, false
}

// String decodes a JSON string.
func String(value []byte) (string, bool) {
	end, ok := skipString(value, 0)
	if !ok || end != len(value) || !utf8.Valid(value) {
		return "", false
	}
	return text(value[1 : end-1]), true
}

// Int decodes a JSON integer: no fraction, no exponent, within 64 bits.
func Int(value []byte) (int64, bool) {
	digits, limit := value, uint64(math.MaxInt64)
	if len(value) > 0 && value[0] == '-' {
		digits, limit = value[1:], 1<<63
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	var n uint64 // 19 digits fit
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	if n > limit {
		return 0, false
	}
	if limit == 1<<63 {
		return -int64(n), true
	}
	return int64(n), true
}

// IsObject reports whether the value is an object.
func IsObject(value []byte) bool { return len(value) > 0 && value[0] == '{' }

// IsString reports whether the value is a string.
func IsString(value []byte) bool { return len(value) > 0 && value[0] == '"' }

// text decodes the inside of a string. An escape that is none stays as it is.
func text(inside []byte) string {
	if bytes.IndexByte(inside, '\\') < 0 {
		return string(inside)
	}
	out := make([]byte, 0, len(inside))
	for i := 0; i < len(inside); {
		if inside[i] == '\\' {
			if n, _ := escape(inside[i:]); n > 0 {
				r, _ := decodeEscape(inside[i:])
				out = utf8.AppendRune(out, r)
				i += n
				continue
			}
		}
		out = append(out, inside[i])
		i++
	}
	return string(out)
}

func skipSpace(src []byte, i int) int {
	for i < len(src) && (src[i] == ' ' || src[i] == '\n' || src[i] == '\t' || src[i] == '\r') {
		i++
	}
	return i
}

// skipString moves past the string that starts at i.
func skipString(src []byte, i int) (end int, ok bool) {
	if i >= len(src) || src[i] != '"' {
		return i, false
	}
	for i++; i < len(src); {
		n := bytes.IndexByte(src[i:], '"')
		if n < 0 {
			return i, false
		}
		// The quote ends the string unless an odd number of backslashes stands before it.
		quote := i + n
		slashes := 0
		for k := quote - 1; k >= i && src[k] == '\\'; k-- {
			slashes++
		}
		i = quote + 1
		if slashes%2 == 0 {
			return i, true
		}
	}
	return i, false
}

// skipValue moves past the value that starts at i.
func skipValue(src []byte, i int) (end int, ok bool) {
	if i >= len(src) {
		return i, false
	}
	switch src[i] {
	case '"':
		return skipString(src, i)
	case '{', '[':
		return skipNested(src, i)
	case ',', ':', ']', '}':
		return i, false
	}
	for i < len(src) {
		switch src[i] {
		case ',', ']', '}', ' ', '\n', '\t', '\r':
			return i, true
		case '"', '{', '[', ':':
			return i, false
		}
		i++
	}
	return i, true
}

// skipNested moves past an object or array by counting brackets outside of strings.
func skipNested(src []byte, i int) (end int, ok bool) {
	depth := 0
	for i < len(src) {
		switch src[i] {
		case '"':
			if i, ok = skipString(src, i); !ok {
				return i, false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
		i++
	}
	return i, false
}
