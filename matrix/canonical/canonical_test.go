package canonical_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"konsil/matrix/canonical"
)

// The specification's examples. Appendices v1.16 #examples
func TestSpecificationExamples(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{`{}`, `{}`},
		{"{\n    \"one\": 1,\n    \"two\": \"Two\"\n}", `{"one":1,"two":"Two"}`},
		{`{"b":"2","a":"1"}`, `{"a":"1","b":"2"}`},
		{`{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe", "three_pids": [
			{"medium": "email", "address": "john.doe@example.org"}, {"medium": "msisdn", "address": "123456789"}]}}}`,
			`{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}`},
		{`{"a": "日本語"}`, `{"a":"日本語"}`},
		{`{"本": 2, "日": 1}`, `{"日":1,"本":2}`},
		{`{"a": "\u65E5"}`, `{"a":"日"}`},
		{`{"a": null}`, `{"a":null}`},
	} {
		both(t, c.in, c.out)
	}
	lenient(t, `{"a": -0, "b": 1e10}`, `{"a":0,"b":10000000000}`)
}

func TestSpelling(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{`"\u0000\u0007\u0008\u0009\u000a\u000B\u000c\u000d\u001F"`, `"\u0000\u0007\b\t\n\u000b\f\r\u001f"`},
		{`"\"\\\/"`, `"\"\\/"`},
		{`"\u0022\u005c\u007f"`, "\"\\\"\\\\\x7f\""},
		{`"\ud83d\ude00"`, `"😀"`},
		{"\"\u2028\ufeff\uffff\"", "\"\u2028\ufeff\uffff\""},                 // no escapes, non-characters allowed
		{`{"\ufb33":1,"\ud83d\ude00":2}`, "{\"\ufb33\":1,\"\U0001f600\":2}"}, // by code point, not by UTF-16 unit. MSC4458
		{`{"b":1,"\u0061":2}`, `{"a":2,"b":1}`},
		{`{"a\nb":1,"a":{"y":1,"x":[ {"d":0,"c":-1} ]}}`, `{"a":{"x":[{"c":-1,"d":0}],"y":1},"a\nb":1}`},
		{" [ true , false,null , [ ] , { } ] \r\n", `[true,false,null,[],{}]`},
		{`[0,-1,9007199254740991,-9007199254740991]`, `[0,-1,9007199254740991,-9007199254740991]`},
	} {
		both(t, c.in, c.out)
	}
}

func TestLenientNumbers(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{`50.57`, `50.57`}, {`1.0`, `1.0`}, {`1.50`, `1.5`}, {`-0.0`, `-0.0`}, {`0e5`, `0`},
		{`9007199254740992`, `9007199254740992`}, {`123456789012345678901234567890`, `123456789012345678901234567890`},
		{`1e20`, `1e+20`}, {`1E-5`, `1e-05`}, {`0.0001`, `0.0001`}, {`2.5e1`, `25`}, {`2.55e1`, `25.5`},
		{`1234567890123456.0`, `1234567890123456.0`}, {`12345678901234567.0`, `1.2345678901234568e+16`},
	} {
		lenient(t, c.in, c.out)
		if err := canonical.Check([]byte(c.in), canonical.Strict); c.in != c.out && !errors.Is(err, canonical.ErrValue) {
			t.Errorf("strict %s: %v", c.in, err)
		}
	}
	lenient(t, `{"a":1,"b":2,"\u0061":3}`, `{"a":3,"b":2}`)
}

// What has no canonical form, and what is no JSON at all. A10
func TestA10Refused(t *testing.T) {
	value := []string{`1.0`, `1e3`, `-0`, `9007199254740992`, `-9007199254740992`, `1E400`,
		`{"a":1,"a":2}`, `{"a":1,"b":1,"\u0061":2}`, `[{"x":{"k":0,"k":0}}]`}
	for _, in := range value {
		refuse(t, in, canonical.Strict, canonical.ErrValue)
	}
	refuse(t, `1e400`, canonical.Lenient, canonical.ErrValue)
	syntax := []string{``, ` `, `NaN`, `Infinity`, `-`, `+1`, `01`, `1.`, `.5`, `1e`, `0x10`, `'a'`, `nul`, `truex`, `{"a"}`, `{"a":}`, `{,}`,
		`{"a":1,}`, `[1,]`, `[1 2]`, `{"a":1 "b":2}`, `{1:2}`, `"`, `"abc`, `{`, `[`, `[}`, `{]`, `1 2`, `{}x`, `/**/{}`,
		`"\x"`, `"\u12"`, `"\u12g4"`, `"\ud800"`, `"\udc00"`, `"\ud800\u0041"`, `"\ud800\ud800"`, `"\udc00\ud800"`, `{"\ud800":1}`,
		"\"\n\"", "\"\x00\"", "{\x00}", "\x00", "\"a\x1f\"", "\xef\xbb\xbf{}", "\"\xff\"", "\"\xc3\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
		"{}\x00", "\u00a0{}"}
	for _, in := range syntax {
		refuse(t, in, canonical.Strict, canonical.ErrSyntax)
		refuse(t, in, canonical.Lenient, canonical.ErrSyntax)
	}
}

// Deep nesting ends at the limit, however deep it is, and costs no more than its text. A10
func TestA10Deep(t *testing.T) {
	for _, in := range []string{strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), strings.Repeat("[", 5_000_000),
		strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), strings.Repeat(`[{"b":0,"a":`, 2_000_000)} {
		start := time.Now()
		refuse(t, in, canonical.Strict, canonical.ErrSyntax)
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %s", took)
		}
	}
	// At the limit, each level out of order: each byte is moved once, not once for each level.
	half := canonical.MaxDepth / 2
	in := strings.Repeat(`[ {"b":1,"a":`, half) + `"x"` + strings.Repeat(`}]`, half)
	want := strings.Repeat(`[{"a":`, half) + `"x"` + strings.Repeat(`,"b":1}]`, half)
	both(t, in, want)
}

// A million keys, in the worst of orders. A10
func TestA10MillionKeys(t *testing.T) {
	var in bytes.Buffer
	in.WriteByte('{')
	for i := range 1_000_000 {
		if i > 0 {
			in.WriteByte(',')
		}
		fmt.Fprintf(&in, `"%d":%d`, (i*7919)%1_000_000, i)
	}
	in.WriteByte('}')
	out, err := canonical.Append(nil, in.Bytes(), canonical.Strict)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(out, []byte(`{"0":0,"1":`)) || len(out) != in.Len() {
		t.Errorf("%.40s, %d bytes of %d", out, len(out), in.Len())
	}
	in.Truncate(in.Len() - 1)
	in.WriteString(`,"5":1}`)
	refuse(t, in.String(), canonical.Strict, canonical.ErrValue)
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	dst := []byte("before")
	got, err := canonical.Append(dst, []byte(`{"b":1,"a":tru}`), canonical.Strict)
	if err == nil || string(got) != "before" {
		t.Errorf("%q, %v", got, err)
	}
	got, err = canonical.Append(dst, []byte(`{"b":1,"a":2}`), canonical.Strict)
	if err != nil || string(got) != `before{"a":2,"b":1}` {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAppendString(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"", `""`}, {"plain", `"plain"`}, {"q\"b\\s/", `"q\"b\\s/"`}, {"\x00\b\t\n\v\f\r\x1f\x7f", "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\""},
		{"grüße 😀", `"grüße 😀"`}, {"a\xffb", "\"a\uFFFDb\""}, {"\xed\xa0\x80", "\"\uFFFD\uFFFD\uFFFD\""}, {"\xe6\x97", "\"\uFFFD\uFFFD\""},
	} {
		if got := canonical.AppendString(nil, c.in); string(got) != c.out {
			t.Errorf("%q: %s, want %s", c.in, got, c.out)
		}
		if got := canonical.AppendString(nil, []byte(c.in)); string(got) != c.out {
			t.Errorf("bytes %q: %s, want %s", c.in, got, c.out)
		}
	}
}

func both(t *testing.T, in, want string) {
	t.Helper()
	lenient(t, in, want)
	got, err := canonical.Append(nil, []byte(in), canonical.Strict)
	if err != nil || string(got) != want {
		t.Errorf("strict %.200s\n got %.200s, %v\nwant %.200s", in, got, err, want)
	}
}

func lenient(t *testing.T, in, want string) {
	t.Helper()
	got, err := canonical.Append(nil, []byte(in), canonical.Lenient)
	if err != nil || string(got) != want {
		t.Errorf("lenient %.200s\n got %.200s, %v\nwant %.200s", in, got, err, want)
	}
	again, err := canonical.Append(nil, got, canonical.Lenient)
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("not stable: %.200s, then %.200s, %v", got, again, err)
	}
}

func refuse(t *testing.T, in string, mode canonical.Mode, want error) {
	t.Helper()
	if out, err := canonical.Append(nil, []byte(in), mode); !errors.Is(err, want) {
		t.Errorf("mode %d %.80q: %.80s, %v, want %v", mode, in, out, err, want)
	}
	if err := canonical.Check([]byte(in), mode); !errors.Is(err, want) {
		t.Errorf("check mode %d %.80q: %v", mode, in, err)
	}
}

// Any value, in any spelling the standard library writes, comes out sorted, minimal and meaning the same.
func TestMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawValue(t, 4)
		in, err := json.MarshalIndent(v, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		out, err := canonical.Append(nil, in, canonical.Strict)
		if err != nil {
			t.Fatal(err)
		}
		var back any
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(v, back) {
			t.Fatalf("%s\n%s", in, out)
		}
		if want := reference(nil, v); !bytes.Equal(want, out) {
			t.Fatalf("%s\n%s", want, out)
		}
	})
}

func drawValue(t *rapid.T, depth int) any {
	kinds := 5
	if depth > 0 {
		kinds = 7
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2, 3:
		return rapid.String().Draw(t, "string")
	case 4:
		return float64(rapid.Int64Range(-canonical.MaxInt, canonical.MaxInt).Draw(t, "int"))
	case 5:
		list := make([]any, rapid.IntRange(0, 5).Draw(t, "len"))
		for i := range list {
			list[i] = drawValue(t, depth-1)
		}
		return list
	default:
		m := map[string]any{}
		for range rapid.IntRange(0, 20).Draw(t, "len") {
			m[rapid.String().Draw(t, "key")] = drawValue(t, depth-1)
		}
		return m
	}
}

// reference is the specification's few lines of Python in Go.
func reference(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return canonical.AppendString(dst, v)
	case float64:
		return fmt.Appendf(dst, "%d", int64(v))
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = reference(dst, e)
		}
		return append(dst, ']')
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		dst = append(dst, '{')
		for i, k := range keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = canonical.AppendString(dst, k)
			dst = append(dst, ':')
			dst = reference(dst, v[k])
		}
		return append(dst, '}')
	default:
		return fmt.Appendf(dst, "%v", map[any]string{nil: "null", true: "true", false: "false"}[v])
	}
}

// Large objects are sorted another way than small ones; keys that share their beginnings are the hard ones.
func TestLargeObjects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfN(rapid.StringMatching(`(@user|@us|)[ab\x00é]{0,12}`), 17, 300).Draw(t, "keys")
		in := []byte{'{'}
		last := map[string]any{}
		for i, key := range keys {
			if i > 0 {
				in = append(in, ',')
			}
			in = canonical.AppendString(in, key)
			in = fmt.Appendf(in, ":%d", i)
			last[key] = float64(i)
		}
		in = append(in, '}')
		out, err := canonical.Append(nil, in, canonical.Lenient)
		if want := reference(nil, last); err != nil || !bytes.Equal(want, out) {
			t.Fatalf("%s\n%s\n%s, %v", in, want, out, err)
		}
		if _, err := canonical.Append(nil, in, canonical.Strict); (err == nil) != (len(last) == len(keys)) {
			t.Fatalf("%d keys, %d different: %v", len(keys), len(last), err)
		}
	})
}
