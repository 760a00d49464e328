package canonical_test

import (
	"errors"
	"fmt"
	"testing"

	"konsil/matrix/canonical"
)

const document = `{"a":{"b":[1,"x",{"c":true}],"n":-5},"esc\"aped":"q\"\\","s":"grüße\n","t":{"m.key":{"deep":"yes"}}}`

func TestGet(t *testing.T) {
	for _, c := range []struct {
		path []string
		want string
	}{
		{nil, document},
		{[]string{"a", "n"}, "-5"},
		{[]string{"a", "b"}, `[1,"x",{"c":true}]`},
		{[]string{`esc"aped`}, `"q\"\\"`},
		{[]string{"t", "m.key", "deep"}, `"yes"`},
	} {
		if got, found := canonical.Get([]byte(document), c.path...); !found || string(got) != c.want {
			t.Errorf("%v: %s %v", c.path, got, found)
		}
	}
	for _, path := range [][]string{{"b"}, {"a", "n", "x"}, {"s", "x"}, {"a", "b", "c"}, {""}} {
		if got, found := canonical.Get([]byte(document), path...); found {
			t.Errorf("%v: found %s", path, got)
		}
	}
}

func TestTypedGet(t *testing.T) {
	doc := []byte(document)
	if s, ok := canonical.GetString(doc, "s"); !ok || s != "grüße\n" {
		t.Errorf("%q %v", s, ok)
	}
	if n, ok := canonical.GetInt(doc, "a", "n"); !ok || n != -5 {
		t.Errorf("%d %v", n, ok)
	}
	if b, ok := canonical.GetBool([]byte(`{"x":true}`), "x"); !ok || !b {
		t.Errorf("%v %v", b, ok)
	}
	if _, ok := canonical.GetBool(doc, "s"); ok {
		t.Error("a string is no boolean")
	}
	if _, ok := canonical.GetString(doc, "a", "n"); ok {
		t.Error("a number is no string")
	}
	for in, want := range map[string]string{"9223372036854775807": "9223372036854775807 true", "-9223372036854775808": "-9223372036854775808 true",
		"9223372036854775808": "x", "1.0": "x", "": "x", "-": "x", "01": "x", "1e3": "x", `"1"`: "x", "0": "0 true"} {
		n, ok := canonical.Int([]byte(in))
		if got := fmt.Sprint(n, ok); want != "x" && got != want || want == "x" && ok {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestObjectAndArray(t *testing.T) {
	var got []string
	err := canonical.Object([]byte(` { "a" : 1 , "\u0062":[ "x" ] } `), func(key string, value []byte) error {
		got = append(got, key+"="+string(value))
		return nil
	})
	if err != nil || fmt.Sprint(got) != `[a=1 b=[ "x" ]]` {
		t.Errorf("%v %v", got, err)
	}
	stop := errors.New("stop")
	if err := canonical.Array([]byte(`[1,2]`), func([]byte) error { return stop }); err != stop {
		t.Error(err)
	}
	for _, in := range []string{``, `1`, `[]`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a" 1}`, `{"a":1 "b":2}`, `{1:2}`} {
		if err := canonical.Object([]byte(in), func(string, []byte) error { return nil }); !errors.Is(err, canonical.ErrSyntax) {
			t.Errorf("%s: %v", in, err)
		}
	}
	for _, in := range []string{``, `{}`, `[`, `[1`, `[1,`, `[1 2]`, `["a]`} {
		if err := canonical.Array([]byte(in), func([]byte) error { return nil }); !errors.Is(err, canonical.ErrSyntax) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	doc := []byte(document)
	if n := testing.AllocsPerRun(100, func() {
		if _, found := canonical.Get(doc, "t", "m.key", "deep"); !found {
			t.Error("not found")
		}
		if _, ok := canonical.GetInt(doc, "a", "n"); !ok {
			t.Error("no integer")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
