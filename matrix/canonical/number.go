package canonical

import (
	"bytes"
	"math"
	"strconv"
)

// number reads a number. Canonical JSON knows plain integers of 53 bits; Lenient takes the others and marks them to be
// spelled anew. Appendices v1.16 #canonical-json
func (s *scanner) number() (node, error) {
	start := s.pos
	plain, ok := s.numeral()
	if !ok {
		return node{}, s.syntax("bad number")
	}
	n := node{start: uint32(start), end: uint32(s.pos)}
	text := s.src[start:s.pos]
	switch {
	case plain && string(text) != "-0":
		if s.mode == Strict && !fits(text) {
			return node{}, s.notCanonical("integer past 2^53-1")
		}
		return n, nil
	case s.mode == Strict:
		return node{}, s.notCanonical("number that is no integer")
	}
	// Small ones can not be out of range: no need to look closer before they are written.
	if !plain && (len(text) > 100 || exponent(text) > 200) {
		if _, err := strconv.ParseFloat(string(text), 64); err != nil {
			return node{}, s.notCanonical("number out of range")
		}
	}
	n.kind = kindNumber
	return n, nil
}

// exponent is the absolute exponent of a number of the JSON grammar, 1000 for all larger ones.
func exponent(text []byte) int {
	i := exponentMark(text)
	if i < 0 {
		return 0
	}
	n := 0
	for _, c := range text[i+1:] {
		if c >= '0' && n < 1000 {
			n = n*10 + int(c-'0')
		}
	}
	return min(n, 1000)
}

func exponentMark(text []byte) int {
	for i, c := range text {
		if c|0x20 == 'e' {
			return i
		}
	}
	return -1
}

// numeral moves past a number of the JSON grammar; plain says that it has neither fraction nor exponent.
func (s *scanner) numeral() (plain, ok bool) {
	if s.next() == '-' {
		s.pos++
	}
	if s.next() == '0' {
		s.pos++
	} else if !s.digits() {
		return false, false
	}
	plain = true
	if s.next() == '.' {
		plain = false
		s.pos++
		if !s.digits() {
			return false, false
		}
	}
	if c := s.next(); c == 'e' || c == 'E' {
		plain = false
		s.pos++
		if c := s.next(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return false, false
		}
	}
	return plain, true
}

// digits moves past at least one digit.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.src) && '0' <= s.src[s.pos] && s.src[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// fits reports whether a plain integer is within the 53 bits of canonical JSON.
func fits(text []byte) bool {
	if text[0] == '-' {
		text = text[1:]
	}
	const limit = "9007199254740991"
	return len(text) < len(limit) || len(text) == len(limit) && string(text) <= limit
}

// appendNumber spells a number that is no plain integer. The appendices spell 1e10 as an integer; what is none is
// spelled as the server that made nearly all such events does, the shortest digits with a point or an exponent: old
// events keep the hashes their senders computed. Appendices v1.16 #examples
func appendNumber(dst, text []byte) []byte {
	f, _ := strconv.ParseFloat(string(text), 64)
	if (exponentMark(text) >= 0 || bytes.IndexByte(text, '.') < 0) && f == math.Trunc(f) && math.Abs(f) <= MaxInt {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if bytes.IndexByte(dst[from:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}
