package canonical_test

import (
	"testing"

	"pgregory.net/rapid"

	"konsil/matrix/canonical"
)

func TestSetAndWithout(t *testing.T) {
	for _, c := range []struct{ obj, key, value, set, without string }{
		{`{}`, "b", `1`, `{"b":1}`, `{}`},
		{`{"a":0}`, "b", `1`, `{"a":0,"b":1}`, `{"a":0}`},
		{`{"c":0}`, "b", `{"x":[]}`, `{"b":{"x":[]},"c":0}`, `{"c":0}`},
		{`{"a":0,"b":2,"c":3}`, "b", `1`, `{"a":0,"b":1,"c":3}`, `{"a":0,"c":3}`},
		{`{"\"":0,"b":2}`, "#", `1`, `{"\"":0,"#":1,"b":2}`, `{"\"":0,"b":2}`}, // a quote sorts before #, its backslash would not
		{`{"\"":0,"b":2}`, `"`, `1`, `{"\"":1,"b":2}`, `{"b":2}`},
	} {
		if got := canonical.AppendSet(nil, []byte(c.obj), c.key, []byte(c.value)); string(got) != c.set {
			t.Errorf("%s: set %s, want %s", c.obj, got, c.set)
		}
		if got := canonical.AppendWithout(nil, []byte(c.obj), c.key); string(got) != c.without {
			t.Errorf("%s: without %s, want %s", c.obj, got, c.without)
		}
	}
}

// However an object is edited, it stays canonical.
func TestEditsStayCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		obj := []byte("{}")
		for range rapid.IntRange(0, 20).Draw(t, "edits") {
			key := rapid.StringN(0, 3, -1).Draw(t, "key")
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				obj = canonical.AppendWithout(nil, obj, key)
				if _, found := canonical.Get(obj, key); found {
					t.Fatalf("%q is still in %s", key, obj)
				}
				continue
			}
			obj = canonical.AppendSet(nil, obj, key, []byte("1"))
			if _, found := canonical.Get(obj, key); !found {
				t.Fatalf("%q is not in %s", key, obj)
			}
		}
		again, err := canonical.Append(nil, obj, canonical.Strict)
		if err != nil || string(again) != string(obj) {
			t.Fatalf("%s, %s, %v", obj, again, err)
		}
	})
}
