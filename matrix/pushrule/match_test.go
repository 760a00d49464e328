package pushrule_test

import (
	"testing"

	"konsil/matrix/pushrule"
)

func TestGlobMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"@anna:here.test", "@anna:here.test", true},
		{"@anna:here.test", "@anna:here.tests", false},
		{"*.evil.test", "a.EVIL.test", true},
		{"*.evil.test", "evil.test", false},
		{"@user-?*", "@user-1-x:hs1", true},
		{"@user-?*", "@user-", false},
		{"", "", true},
		{"", "x", false},
	} {
		g := pushrule.CompileGlob(c.pattern)
		if got := g.Match(c.text); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.text, got)
		}
	}
}
