package pushrule

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestGlobMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"lunc?*", "Lunch plans", true},
		{"lunc?*", "LUNCH", true},
		{"lunc?*", " lunch", false},
		{"lunc?*", "lunc", false},
		{"", "", true},
		{"", "x", false},
		{"*", "", true},
		{"***", "anything", true},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "abcabc", true},
		{"a*b*c", "acb", false},
		{"*b", "ab", true},
		{"*b", "ba", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"?", "ü", true},
		{"?", "", false},
		{"a?c*?", "äbc", false},
		{"M.room.*", "m.room.message", true},
		{"*?ö", "xyÖ", true},
		{"*ab?d*", "xxababcd!", true},
		{"[a-z]", "b", false},
		{"[a-z]", "[a-z]", true},
	} {
		g := compileGlob(c.pattern)
		if got := g.match(strings.ToLower(c.text)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.text, got)
		}
	}
}

func TestGlobMatchWords(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"ex*ple", "An example event.", true},
		{"ex*ple", "exple", true},
		{"ex*ple", "An exciting triple-whammy", true},
		{"ex*ple", "An unexampled event", false},
		{"cake", "a piece of CAKE!", true},
		{"cake", "pancake", false},
		{"cake", "pancake cake", true},
		{"cake", "cake_", false},
		{"cake", "cakecake", false},
		{"cak?", "the cake", true},
		{"cak?", "the cakes", false},
		{"*cake", "pancake", true},
		{"cake*", "cakewalk", true},
		{"c*ke", "shack cook kept ke", true},
		{"@room", "hello @room", true},
		{"@room", "hello@room", false},
		{"bob", "Hello @bob:hs1!", true},
		{"", "", true},
		{"", "x", false},
		{"", "!x", true},
		{"?", "ä", true},
		{"aa", "aaa aa", true},
	} {
		g := compileGlob(c.pattern)
		if got := g.matchWords(strings.ToLower(c.text)); got != c.want {
			t.Errorf("%q in %q: %v", c.pattern, c.text, got)
		}
	}
}

// TestB05GlobsAreLinear feeds the patterns that break backtracking matchers.
func TestB05GlobsAreLinear(t *testing.T) {
	text := strings.Repeat("a", 64<<10)
	patterns := []string{
		strings.Repeat("a*", 500) + "b",
		strings.Repeat("a", 1000) + "b",
		strings.Repeat("a?", 500) + "b",
		strings.Repeat("*a?", 300) + "*b",
		strings.Repeat("?", 1000),
		strings.Repeat("*", 1000) + "b",
	}
	start := time.Now()
	for _, p := range patterns {
		g := compileGlob(p)
		if g.match(text) || g.matchWords(text) {
			t.Errorf("%.20q… matches", p)
		}
	}
	// Linear is some milliseconds; backtracking would not end in this universe.
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

func toRegexp(pattern string) string {
	var re strings.Builder
	for _, r := range strings.ToLower(pattern) {
		switch r {
		case '*':
			re.WriteString(`(?s:.*)`)
		case '?':
			re.WriteString(`(?s:.)`)
		default:
			re.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return re.String()
}

// FuzzGlob compares with the regular expression that says the same.
func FuzzGlob(f *testing.F) {
	for _, seed := range []string{"", "*", "a*b", "a?b", "*a*", "??", "a**b?"} {
		f.Add(seed, "aab ab_ b")
		f.Add(seed, "ab")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 40 || len(text) > 200 {
			return
		}
		pattern, text = strings.ToValidUTF8(pattern, ""), strings.ToLower(strings.ToValidUTF8(text, ""))
		g := compileGlob(pattern)
		whole, err := regexp.Compile(`\A` + toRegexp(pattern) + `\z`)
		if err != nil {
			return
		}
		if got, want := g.match(text), whole.MatchString(text); got != want {
			t.Errorf("%q matches %q: got %v, want %v", pattern, text, got, want)
		}
		words := regexp.MustCompile(`(\A|[^A-Za-z0-9_])` + toRegexp(pattern) + `(\z|[^A-Za-z0-9_])`)
		if strings.Trim(pattern, "*") == "" {
			return // an empty match between two boundaries that are one character: the expression needs two
		}
		if got, want := g.matchWords(text), words.MatchString(text); got != want {
			t.Errorf("%q in %q: got %v, want %v", pattern, text, got, want)
		}
	})
}
