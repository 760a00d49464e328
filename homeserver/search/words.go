package search

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Bounds of a document and of a query.
const (
	maxWords     = 4000 // of a document; an event of 64 KiB has some ten thousand at worst
	maxWord      = 64   // bytes; what is longer is a key or a picture in base64
	maxTerms     = 16   // words of a query
	prefixLength = 3    // letters from which on a word of a query may be the beginning of a longer one
)

// words cuts a text into words: runs of letters and digits, lower case, without accents. Both engines index exactly these, so
// that they find the same.
func words(text string, limit int) []string {
	var all []string
	for _, field := range strings.FieldsFunc(fold(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if len(all) == limit {
			break
		}
		if len(field) <= maxWord {
			all = append(all, field)
		}
	}
	return all
}

// fold makes spellings equal that people take for equal: Ä and a, ß and ss, ﬁ and fi.
func fold(text string) string {
	plain := true
	for i := 0; i < len(text) && plain; i++ {
		plain = text[i] < 0x80
	}
	if plain {
		return strings.ToLower(text)
	}
	var out strings.Builder
	for _, r := range norm.NFKD.String(strings.ToValidUTF8(text, " ")) {
		switch {
		case unicode.Is(unicode.Mn, r):
		case r == 'ß' || r == 'ẞ':
			out.WriteString("ss")
		default:
			out.WriteRune(unicode.ToLower(r))
		}
	}
	return out.String()
}
