package account_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"konsil/homeserver/account"
	"konsil/matrix/mxerr"
)

func TestProfile(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		anna := w.user(t, "anna")
		set := func(field, value string) bool {
			t.Helper()
			var raw json.RawMessage
			if value != "" {
				raw = json.RawMessage(value)
			}
			_, changed, err := w.SetProfileField(t.Context(), anna, field, raw)
			must(t, err)
			return changed
		}
		look := func(field string) string {
			t.Helper()
			p, err := w.Profile(t.Context(), anna)
			must(t, err)
			document, err := account.ProfileJSON(p, field)
			if err != nil {
				return err.Error()
			}
			return string(document)
		}
		if got := look(""); got != "{}" {
			t.Errorf("a new profile is %s", got)
		}
		if !set("displayname", `"Berg, Anna"`) || set("displayname", `"Berg, Anna"`) {
			t.Error("a change is one once")
		}
		set("avatar_url", `"mxc://klinik.test/x"`)
		set("m.tz", `"Europe/Berlin"`)
		set("org.example.list", `[1,{"a":null}]`)
		want := `{"avatar_url":"mxc://klinik.test/x","displayname":"Berg, Anna","m.tz":"Europe/Berlin","org.example.list":[1,{"a":null}]}`
		if got := look(""); got != want {
			t.Errorf("profile is %s, want %s", got, want)
		}
		if got := look("m.tz"); got != `{"m.tz":"Europe/Berlin"}` {
			t.Errorf("m.tz is %s", got)
		}
		set("m.tz", "")
		set("displayname", `null`)
		set("org.example.list", `null`) // null is a value of other fields
		if got := look(""); got != `{"avatar_url":"mxc://klinik.test/x","org.example.list":null}` {
			t.Errorf("profile is %s", got)
		}
		if got := look("displayname"); !strings.HasPrefix(got, mxerr.CodeNotFound) {
			t.Errorf("displayname is %s", got)
		}
	})
}

func TestProfileRefuses(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	for _, c := range []struct{ field, value, code string }{
		{"displayname", `1`, mxerr.CodeInvalidParam},
		{"displayname", `"` + strings.Repeat("ü", 257) + `"`, mxerr.CodeInvalidParam},
		{"displayname", `"a\u0000b"`, mxerr.CodeInvalidParam},
		{"avatar_url", `{}`, mxerr.CodeInvalidParam},
		{"avatar_url", `"` + strings.Repeat("x", 1001) + `"`, mxerr.CodeInvalidParam},
		{"m.tz", `"` + strings.Repeat("x", 64<<10) + `"`, mxerr.CodeProfileTooLarge},
		{"m." + strings.Repeat("x", 254), `1`, mxerr.CodeKeyTooLarge},
		{"custom", `1`, mxerr.CodeInvalidParam}, {"M.tz", `1`, mxerr.CodeInvalidParam}, {"1.a", `1`, mxerr.CodeInvalidParam},
		{"", `1`, mxerr.CodeInvalidParam}, {"a.", `1`, mxerr.CodeInvalidParam}, {"a.b c", `1`, mxerr.CodeInvalidParam},
	} {
		_, _, err := w.SetProfileField(t.Context(), anna, c.field, json.RawMessage(c.value))
		if !mxerr.Is(err, c.code) {
			t.Errorf("%.20s = %.20s: %v, want %s", c.field, c.value, err, c.code)
		}
	}
	for i := range 10 { // all together count
		_, _, err := w.SetProfileField(t.Context(), anna, fmt.Sprintf("org.f%d", i), json.RawMessage(`"`+strings.Repeat("x", 10<<10)+`"`))
		if (err != nil) != (i >= 6) {
			t.Errorf("field %d of 10 KiB: %v", i, err)
		}
	}
}

// What other servers say of their users is kept from clients where it would break them.
func TestA32ForeignProfilesAreCleaned(t *testing.T) {
	var fields map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(`{"displayname":{"x":1},"avatar_url":["a"],"m.tz":"Europe/Berlin","Bad Name":1,"org.x":null}`), &fields))
	got, err := json.Marshal(account.CleanProfile(fields))
	must(t, err)
	if string(got) != `{"m.tz":"Europe/Berlin","org.x":null}` {
		t.Errorf("cleaned: %s", got)
	}
	fields = map[string]json.RawMessage{"displayname": json.RawMessage(`"` + strings.Repeat("x", 64<<10) + `"`)}
	if got := account.CleanProfile(fields); len(got) != 0 {
		t.Errorf("%d fields left", len(got))
	}
}
