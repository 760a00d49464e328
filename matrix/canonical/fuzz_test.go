package canonical_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"konsil/matrix/canonical"
)

// What Append accepts the standard library accepts, its result is stable, passes Check, and reads as the same value.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{document, `{"b":1,"a":2}`, `"\ud83d\ude00\/"`, `[1.5,-0,1e3,123456789012345678901]`, `{"a":1,"\u0061":2}`,
		"\xef\xbb\xbf{}", `[[[[{"z":[],"y":{}}]]]]`, "\"\xff\"", `{"":"\u0000"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		strict, err := canonical.Append(nil, in, canonical.Strict)
		if (err == nil) != (canonical.Check(in, canonical.Strict) == nil) {
			t.Fatal("Append and Check differ")
		}
		loose, looseErr := canonical.Append(nil, in, canonical.Lenient)
		if err == nil && !bytes.Equal(strict, loose) {
			t.Fatalf("strict %s, lenient %s", strict, loose)
		}
		if looseErr != nil {
			return
		}
		again, err := canonical.Append(nil, loose, canonical.Lenient)
		if err != nil || !bytes.Equal(again, loose) {
			t.Fatalf("%s, then %s, %v", loose, again, err)
		}
		var before, after any
		if err := json.Unmarshal(in, &before); err != nil {
			return // numbers past float64
		}
		if err := json.Unmarshal(loose, &after); err != nil {
			t.Fatal(err)
		}
		// The standard library's escaping forgives nothing here: both sides are decoded values.
		a, _ := json.Marshal(before)
		b, _ := json.Marshal(after)
		if !bytes.Equal(a, b) && !bytes.Contains(a, []byte("-0")) {
			t.Fatalf("%s\n%s", a, b)
		}
	})
}

// The readers stand any bytes.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{document, `{"a`, `[[[[`, `{"a":1,"b"`, `"\\\"`, `{"\u":"\ud8"}`} {
		f.Add([]byte(seed), "a")
	}
	f.Fuzz(func(t *testing.T, in []byte, key string) {
		canonical.Get(in, key, key)
		canonical.String(in)
		canonical.Int(in)
		_ = canonical.Array(in, func([]byte) error { return nil })
		members := 0
		err := canonical.Object(in, func(string, []byte) error { members++; return nil })
		if canonical.Check(in, canonical.Strict) == nil && bytes.HasPrefix(bytes.TrimLeft(in, " \t\r\n"), []byte("{")) {
			var m map[string]json.RawMessage
			if json.Unmarshal(in, &m) != nil || err != nil || len(m) != members {
				t.Fatalf("%d members, %v, want %d", members, err, len(m))
			}
		}
	})
}
