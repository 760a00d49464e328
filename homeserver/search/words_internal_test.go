package search

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		"hello, world":                 {"hello", "world"},
		"":                             nil,
		" -- !? 'x' AND \"y\" * ":      {"x", "and", "y"},
		"Müller  MUELLER Mu\u0308ller": {"muller", "mueller", "muller"},
		"Straße STRASSE":               {"strasse", "strasse"},
		"ﬁlm":                          {"film"},
		"3,5 mg/dl":                    {"3", "5", "mg", "dl"},
		"Привет Ελλάδα":                {"привет", "ελλαδα"},
		"bad\xffbytes\x00here":         {"bad", "bytes", "here"},
		strings.Repeat("a", 65) + " b": {"b"},
	} {
		if got := words(text, maxWords); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := words(strings.Repeat("a ", 50), maxTerms); len(got) != maxTerms {
		t.Errorf("%d words of a long query", len(got))
	}
}

// What goes into the engines' query languages must be letters and digits only.
func FuzzWords(f *testing.F) {
	for _, seed := range []string{"hello", "' OR 1=1 --", "\"x\" NEAR(y)", "ǅ ﷺ İ", "a\x00b", "é", "e\u0301", "\xff\xfe", "a:*|b & !c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all := words(text, maxWords)
		for _, w := range all {
			if w == "" || len(w) > maxWord || !utf8.ValidString(w) {
				t.Fatalf("%q gives %q", text, w)
			}
			for _, r := range w {
				if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
					t.Fatalf("%q gives %q with %q", text, w, r)
				}
			}
		}
	})
}
