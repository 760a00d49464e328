package account_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"konsil/homeserver/account"
	"konsil/homeserver/notify"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

const ward = id.RoomID("!ward:klinik.test")

func TestAccountData(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		anna, bert := w.user(t, "anna"), w.user(t, "bert")
		for _, room := range []id.RoomID{"", ward} {
			_, err := w.AccountData(t.Context(), anna, room, "org.x")
			wantCode(t, err, mxerr.CodeNotFound)
			begin := w.position()
			must(t, w.SetAccountData(t.Context(), anna, room, "org.x", []byte(`{"a":1}`)))
			first := w.position()
			must(t, w.SetAccountData(t.Context(), anna, room, "org.x", []byte(`{"a":2}`)))
			got, err := w.AccountData(t.Context(), anna, room, "org.x")
			must(t, err)
			if string(got) != `{"a":2}` {
				t.Errorf("content is %s", got)
			}
			if changes := w.since(t, anna, begin); len(changes) != 1 || changes[0].Room != room || changes[0].Pos <= first || changes[0].Deleted {
				t.Errorf("changes are %+v", changes)
			}
			before := w.position()
			must(t, w.DeleteAccountData(t.Context(), anna, room, "org.x"))
			_, err = w.AccountData(t.Context(), anna, room, "org.x")
			wantCode(t, err, mxerr.CodeNotFound)
			if changes := w.since(t, anna, before); len(changes) != 1 || !changes[0].Deleted || string(changes[0].Content) != "{}" {
				t.Errorf("changes after the deletion are %+v", changes)
			}
			for _, d := range w.since(t, anna, 0) {
				if d.Type == "org.x" && d.Room == room {
					t.Errorf("who begins hears of what was deleted: %+v", d)
				}
			}
			if changes := w.since(t, bert, 0); len(changes) != 0 {
				t.Errorf("somebody else has %+v", changes)
			}
		}
	})
}

// An empty object deletes as well. MSC3391
func TestEmptyAccountDataIsDeleted(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	must(t, w.SetAccountData(t.Context(), anna, "", "org.x", []byte(`{"a":1}`)))
	must(t, w.SetAccountData(t.Context(), anna, "", "org.x", []byte(" {\n} ")))
	_, err := w.AccountData(t.Context(), anna, "", "org.x")
	wantCode(t, err, mxerr.CodeNotFound)
}

func TestAccountDataRefuses(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	cases := []struct{ dataType, content, code string }{
		{"m.push_rules", `{"a":1}`, mxerr.CodeBadJSON},
		{"m.fully_read", `{}`, mxerr.CodeBadJSON},
		{"x", `[]`, mxerr.CodeBadJSON},
		{"x", `{"a":`, mxerr.CodeBadJSON},
		{"x", ``, mxerr.CodeBadJSON},
		{"x\x00", `{}`, mxerr.CodeInvalidParam},
		{strings.Repeat("x", 256), `{}`, mxerr.CodeInvalidParam},
		{"x", `{"a":"` + strings.Repeat("x", 256<<10) + `"}`, mxerr.CodeTooLarge},
	}
	for _, c := range cases {
		err := w.SetAccountData(t.Context(), anna, "", c.dataType, []byte(c.content))
		if e := wantCode(t, err, c.code); strings.HasPrefix(c.dataType, "m.") && e.Status != 405 {
			t.Errorf("%s: status %d", c.dataType, e.Status)
		}
	}
	must(t, w.PutAccountData(t.Context(), anna, ward, "m.fully_read", []byte(`{"event_id":"$x"}`)))
	if e := wantCode(t, w.DeleteAccountData(t.Context(), anna, ward, "m.fully_read"), mxerr.CodeBadJSON); e.Status != 405 {
		t.Errorf("status %d", e.Status)
	}
}

// Somebody who waits hears of a change; somebody else does not.
func TestChangesWake(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna, bert := w.user(t, "anna"), w.user(t, "bert")
	waiting := w.Notify.Register(notify.Interest{User: anna})
	defer waiting.Close()
	other := w.Notify.Register(notify.Interest{User: bert})
	defer other.Close()
	must(t, w.SetAccountData(t.Context(), anna, "", "org.x", []byte(`{"a":1}`)))
	pos, kinds, err := waiting.Next(t.Context())
	must(t, err)
	if pos != w.position() || kinds != notify.Account {
		t.Errorf("woken at %d (of %d) for %b", pos, w.position(), kinds)
	}
	must(t, w.DeleteAccountData(t.Context(), anna, "", "org.nothing"))
	select {
	case <-waiting.C():
		t.Error("woken for nothing")
	case <-other.C():
		t.Error("somebody else was woken")
	default:
	}
}

func TestTags(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		anna := w.user(t, "anna")
		must(t, w.SetTag(t.Context(), anna, ward, "m.favourite", []byte(`{"order":0.5}`)))
		must(t, w.SetTag(t.Context(), anna, ward, "u.work", []byte(`{}`)))
		must(t, w.DeleteTag(t.Context(), anna, ward, "u.none"))
		content, err := w.AccountData(t.Context(), anna, ward, "m.tag")
		must(t, err)
		if string(content) != `{"tags":{"m.favourite":{"order":0.5},"u.work":{}}}` {
			t.Errorf("m.tag is %s", content)
		}
		must(t, w.DeleteTag(t.Context(), anna, ward, "m.favourite"))
		tags, err := w.Tags(t.Context(), anna, ward)
		must(t, err)
		if len(tags) != 1 || string(tags["u.work"]) != "{}" {
			t.Errorf("tags are %v", tags)
		}
		for tag, value := range map[string]string{"": `{}`, strings.Repeat("x", 256): `{}`, "a": `{"order":2}`, "b": `{"order":"x"}`, "nul\x00": `{}`} {
			wantCode(t, w.SetTag(t.Context(), anna, ward, tag, []byte(value)), mxerr.CodeInvalidParam)
		}
		wantCode(t, w.SetTag(t.Context(), anna, ward, "a", []byte(`[]`)), mxerr.CodeBadJSON)
	})
}

// A device takes its settings along. MSC3890
func TestDeviceSettingsEndWithTheDevice(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	w.login(t, anna, account.NewSession{Device: "PHONE"})
	const settings = "org.matrix.msc3890.local_notification_settings."
	must(t, w.SetAccountData(t.Context(), anna, "", settings+"PHONE", []byte(`{"is_silenced":true}`)))
	must(t, w.SetAccountData(t.Context(), anna, "", settings+"OTHER", []byte(`{"is_silenced":true}`)))
	must(t, w.DeleteDevices(t.Context(), anna, []id.DeviceID{"PHONE"}))
	_, err := w.AccountData(t.Context(), anna, "", settings+"PHONE")
	wantCode(t, err, mxerr.CodeNotFound)
	_, err = w.AccountData(t.Context(), anna, "", settings+"OTHER")
	must(t, err)
}

func TestFilters(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		anna, bert := w.user(t, "anna"), w.user(t, "bert")
		one, err := w.DefineFilter(t.Context(), anna, []byte(`{"room":{"timeline":{"limit":5,"types":[]}},"event_format":"client"}`))
		must(t, err)
		same, err := w.DefineFilter(t.Context(), anna, []byte(`{ "event_format":"client", "room":{"timeline":{"types":[],"limit":5}} }`))
		must(t, err)
		if one != same || strings.HasPrefix(one, "{") {
			t.Errorf("ids are %q and %q", one, same)
		}
		f, err := w.Filter(t.Context(), anna, one)
		must(t, err)
		if f.Room.Timeline.Limit == nil || *f.Room.Timeline.Limit != 5 || f.Room.Timeline.Types == nil || f.Room.Timeline.NotTypes != nil {
			t.Errorf("filter is %+v", f)
		}
		_, err = w.Filter(t.Context(), bert, one)
		wantCode(t, err, mxerr.CodeNotFound)
		inline, err := w.Filter(t.Context(), bert, `{"room":{"include_leave":true}}`)
		must(t, err)
		if !inline.Room.IncludeLeave {
			t.Errorf("filter is %+v", inline)
		}
	})
}

func TestFilterRefuses(t *testing.T) {
	for _, raw := range []string{
		`[]`, `"x"`, `{"presence":"x"}`, `{"event_format":"x"}`, `{"event_fields":"x"}`,
		`{"room":{"timeline":"x"}}`, `{"room":{"state":"x"}}`, `{"room":{"ephemeral":"x"}}`, `{"room":{"account_data":"x"}}`,
		`{"room":{"timeline":{"rooms":"x"}}}`, `{"room":{"timeline":{"not_rooms":"x"}}}`, `{"room":{"timeline":{"senders":"x"}}}`,
		`{"room":{"timeline":{"not_senders":"x"}}}`, `{"room":{"timeline":{"types":"x"}}}`, `{"room":{"timeline":{"not_types":"x"}}}`,
		`{"room":{"timeline":{"types":[1]}}}`, `{"room":{"timeline":{"rooms":["not_a_room_id"]}}}`,
		`{"room":{"timeline":{"senders":["not_a_sender_id"]}}}`, `{"room":{"timeline":{"limit":"x"}}}`,
	} {
		if _, err := account.ParseFilter([]byte(raw)); !mxerr.Is(err, mxerr.CodeBadJSON) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	_, err := account.ParseFilter([]byte(fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 64<<10)))) // B6
	wantCode(t, err, mxerr.CodeTooLarge)
}

func FuzzParseFilter(f *testing.F) {
	f.Add([]byte(`{"room":{"timeline":{"limit":5,"types":["m.*"],"senders":["@a:b.test"]}}}`))
	f.Add([]byte(`{"presence":{"not_types":["*"]},"account_data":{"types":[]}}`))
	f.Add([]byte(`{"room":{"rooms":["!a:b.test"],"state":{"lazy_load_members":true}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		parsed, err := account.ParseFilter(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(parsed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := account.ParseFilter(again); err != nil && len(again) < 64<<10 {
			t.Errorf("%s parses, but written out as %s does not: %v", raw, again, err)
		}
	})
}
