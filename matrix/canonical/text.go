package canonical

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain counts how many bytes at the start of b a string may hold as they are: ASCII without controls, quote and
// backslash. Eight bytes a step; the lowest hit of such arithmetic is exact, the ones above it do not matter.
func plain(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^('"'*ones), w^('\\'*ones)
		hit := (w | (w-0x20*ones)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// str reads a string. escaped says that it holds a backslash, shortest that all its escapes are those of canonical JSON.
func (s *scanner) str() (escaped, shortest bool, err error) {
	s.pos++
	shortest = true
	for {
		s.pos += plain(s.src[s.pos:])
		if s.pos == len(s.src) {
			return escaped, shortest, s.syntax("string without end")
		}
		switch c := s.src[s.pos]; {
		case c == '"':
			s.pos++
			return escaped, shortest, nil
		case c == '\\':
			escaped = true
			n, short := escape(s.src[s.pos:])
			if n == 0 {
				return escaped, false, s.syntax("bad escape")
			}
			shortest = shortest && short
			s.pos += n
		case c < 0x20:
			return escaped, false, s.syntax("control character")
		default:
			r, n := utf8.DecodeRune(s.src[s.pos:])
			if r == utf8.RuneError && n < 2 {
				return escaped, false, s.syntax("bad UTF-8")
			}
			s.pos += n
		}
	}
}

// escape measures the escape sequence at the start of b, both halves of a surrogate pair together; 0 if it is none.
// shortest says that canonical JSON spells the character so. Appendices v1.16 #grammar
func escape(b []byte) (n int, shortest bool) {
	if len(b) < 2 {
		return 0, false
	}
	switch b[1] {
	case '"', '\\', 'b', 'f', 'n', 'r', 't':
		return 2, true
	case '/':
		return 2, false
	case 'u':
	default:
		return 0, false
	}
	r, ok := hex4(b)
	switch {
	case !ok:
		return 0, false
	case r < 0x20:
		return 6, shortEscape(byte(r)) == 0 && lowerHex(b[5])
	case !utf16.IsSurrogate(r):
		return 6, false
	}
	if low, ok := hex4(b[6:]); !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return 0, false // a lone surrogate is no text
	}
	return 12, false
}

// hex4 reads \uXXXX at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func lowerHex(c byte) bool { return c < 'A' || c > 'F' }

// shortEscape is the letter of a control character that has an escape of its own, else 0.
func shortEscape(c byte) byte {
	switch c {
	case '\b':
		return 'b'
	case '\t':
		return 't'
	case '\n':
		return 'n'
	case '\f':
		return 'f'
	case '\r':
		return 'r'
	}
	return 0
}

// appendUnescaped decodes the inside of a string that str has passed. With again it escapes what must be escaped, in
// the shortest way; without, it leaves the text itself.
func appendUnescaped(dst, inside []byte, again bool) []byte {
	for i := 0; i < len(inside); {
		if inside[i] != '\\' {
			n := plain(inside[i:])
			if n == 0 {
				n = 1 // part of a character past ASCII
			}
			dst = append(dst, inside[i:i+n]...)
			i += n
			continue
		}
		r, n := decodeEscape(inside[i:])
		i += n
		if again && (r < 0x20 || r == '"' || r == '\\') {
			dst = appendEscaped(dst, byte(r))
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// decodeEscape decodes an escape sequence that escape has measured.
func decodeEscape(b []byte) (rune, int) {
	switch b[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, _ := hex4(b)
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		low, _ := hex4(b[6:])
		return utf16.DecodeRune(r, low), 12
	default:
		return rune(b[1]), 2
	}
}

// appendEscaped writes a character that may not stand in a string as it is.
func appendEscaped(dst []byte, c byte) []byte {
	const digits = "0123456789abcdef"
	if c == '"' || c == '\\' {
		return append(dst, '\\', c)
	}
	if letter := shortEscape(c); letter != 0 {
		return append(dst, '\\', letter)
	}
	return append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
}

// AppendString appends s as a canonical JSON string. Bytes that are no UTF-8 become U+FFFD.
func AppendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, s[from:i]...)
			dst = appendEscaped(dst, c)
			i++
			from = i
			continue
		}
		r, n := decodeRune(s, i)
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[from:i]...)
			dst = append(dst, "\uFFFD"...)
			from = i + 1
		}
		i += n
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// decodeRune decodes the character at i; a character has four bytes at most, so the copy is small.
func decodeRune[S ~string | ~[]byte](s S, i int) (rune, int) {
	var b [utf8.UTFMax]byte
	n := copy(b[:], s[i:min(i+utf8.UTFMax, len(s))])
	return utf8.DecodeRune(b[:n])
}
