package event_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

func TestParse(t *testing.T) {
	for _, v := range roomver.All() {
		built := build(t, v, message(v))
		raw := set(built.JSON, "unsigned", `{"age":5,"prev_content":{}}`)
		raw = set(raw, "extra", `"kept"`)
		p, err := event.Parse(raw, v)
		if err != nil {
			t.Errorf("version %s: %v", v.ID, err)
			continue
		}
		want := message(v)
		if p.Sender != want.Sender || p.RoomID != want.RoomID || p.Type != want.Type || p.StateKey != nil || p.Depth != 7 ||
			p.OriginServerTS != want.OriginServerTS || !slices.Equal(p.PrevEvents, want.PrevEvents) || !slices.Equal(p.AuthEvents, want.AuthEvents) {
			t.Errorf("version %s: %+v", v.ID, p)
		}
		if got := string(p.Content); got != `{"body":"Grüß Gott","msgtype":"m.text"}` {
			t.Errorf("content %s", got)
		}
		if strings.Contains(string(p.JSON), "unsigned") || !strings.Contains(string(p.JSON), `"extra":"kept"`) {
			t.Errorf("JSON %s", p.JSON)
		}
		// A foreign key is redacted away, so the ID stays; the content hash covers it.
		if p.ID != built.ID || p.HashMatches() || !built.HashMatches() {
			t.Errorf("version %s: ID %s, want %s, hash matches %v", v.ID, p.ID, built.ID, p.HashMatches())
		}
	}
}

// The ID in a foreign event is ignored where it is a hash: nobody can claim another's ID.
func TestEventIDOfHashedVersionsIsIgnored(t *testing.T) {
	v := version(t, "11")
	built := build(t, v, message(v))
	p, err := event.Parse(set(built.JSON, "event_id", `"$claimed"`), v)
	if err != nil || p.ID != built.ID || string(p.JSON) != string(built.JSON) {
		t.Errorf("%v, %v", p, err)
	}
}

func TestMalformed(t *testing.T) {
	type change struct{ key, value string }
	changes := []change{
		{"type", "null"}, {"type", "1"}, {"type", `"a\u0000b"`}, {"state_key", "null"}, {"state_key", "{}"}, {"state_key", `"\u0000"`},
		{"sender", "1"}, {"sender", `"anna"`}, {"sender", `"@anna"`}, {"sender", `"@anna:"`}, {"sender", `"@an\u0000na:domain"`}, {"sender", `"@anna:do main"`},
		{"room_id", "null"}, {"room_id", `""`}, {"room_id", `"room:domain"`}, {"room_id", `"!room:dom/ain"`},
		{"content", "null"}, {"content", "[]"}, {"content", `"x"`}, {"origin_server_ts", "null"}, {"origin_server_ts", `"1"`},
		{"prev_events", "null"}, {"prev_events", "{}"}, {"prev_events", "[1]"}, {"prev_events", `[["$a:domain"],[]]`}, {"prev_events", `[""]`},
		{"auth_events", `"$a"`}, {"auth_events", `["a"]`}, {"auth_events", `[null]`}, {"auth_events", `["$\u0000"]`},
	}
	for _, v := range roomver.All() {
		json := build(t, v, message(v)).JSON
		for _, c := range changes {
			if _, err := event.Parse(set(json, c.key, c.value), v); !errors.Is(err, event.ErrMalformed) {
				t.Errorf("version %s, %s %s: %v", v.ID, c.key, c.value, err)
			}
		}
		for _, key := range []string{"type", "sender", "room_id", "content", "origin_server_ts", "depth", "prev_events", "auth_events"} {
			if _, err := event.Parse(canonical.AppendWithout(nil, json, key), v); !errors.Is(err, event.ErrMalformed) {
				t.Errorf("version %s without %s: %v", v.ID, key, err)
			}
		}
		for _, raw := range []string{"", "[]", "null", `"x"`, "{", string(json) + "}", "\xef\xbb\xbf" + string(json)} {
			if _, err := event.Parse([]byte(raw), v); !errors.Is(err, event.ErrMalformed) {
				t.Errorf("version %s %.20q: %v", v.ID, raw, err)
			}
		}
	}
	for _, raw := range []string{`[["$a:domain"]]`, `[]`} { // pairs are of versions 1 and 2 only
		_, err := event.Parse(set(build(t, version(t, "1"), message(version(t, "1"))).JSON, "prev_events", raw), version(t, "1"))
		if err != nil {
			t.Errorf("version 1 %s: %v", raw, err)
		}
	}
}

// The size of an event counts in its canonical form, that of its fields in bytes. A1
func TestA01Size(t *testing.T) {
	for _, v := range roomver.All() {
		tmpl := message(v)
		tmpl.Content = []byte(`{"body":""}`)
		room := event.MaxSize - len(build(t, v, tmpl).JSON)
		json := func(n int) []byte {
			return set(build(t, v, tmpl).JSON, "content", `{"body":"`+strings.Repeat("x", n)+`"}`)
		}
		if p, err := event.Parse(json(room), v); err != nil || len(p.JSON) != event.MaxSize {
			t.Errorf("version %s, at the limit: %v", v.ID, err)
		}
		// Whitespace, escapes and unsigned do not count.
		roomy := strings.ReplaceAll(string(set(json(room), "unsigned", `{"a":"`+strings.Repeat("y", 70000)+`"}`)), "xxxxxxxx", `\u0078xxxxxxx`)
		if _, err := event.Parse([]byte(strings.Repeat(" ", 1000)+roomy), v); err != nil {
			t.Errorf("version %s, at the limit, spaced: %v", v.ID, err)
		}
		if _, err := event.Parse(json(room+1), v); !errors.Is(err, event.ErrTooLarge) {
			t.Errorf("version %s, over the limit: %v", v.ID, err)
		}
		tmpl.Content = []byte(`{"body":"` + strings.Repeat("x", room+1) + `"}`)
		if _, err := event.Build(v, tmpl, "domain", specKey(t)); !errors.Is(err, event.ErrTooLarge) {
			t.Errorf("version %s, built over the limit: %v", v.ID, err)
		}
	}
	if _, err := event.Parse(make([]byte, 50<<20), version(t, "11")); !errors.Is(err, event.ErrTooLarge) {
		t.Errorf("50 MiB: %v", err)
	}
}

func TestA01Fields(t *testing.T) {
	for _, v := range roomver.All() {
		json := build(t, v, message(v)).JSON
		for _, c := range []struct{ key, prefix, suffix string }{
			{"type", "", ""}, {"state_key", "", ""}, {"sender", "@", ":domain"}, {"room_id", "!", ":domain"}, {"event_id", "$", ":domain"},
		} {
			if c.key == "event_id" && v.HashedEventIDs() {
				continue
			}
			value := func(n int) string { // of n bytes, in characters of two bytes each where it fits
				n -= len(c.prefix) + len(c.suffix)
				return `"` + c.prefix + strings.Repeat("ü", n/2) + strings.Repeat("x", n%2) + c.suffix + `"`
			}
			inCharacters := v.CharacterLimits && c.prefix == ""
			if _, err := event.Parse(set(json, c.key, value(256)), v); errors.Is(err, event.ErrTooLarge) == inCharacters {
				t.Errorf("version %s, %s of 256 bytes: %v", v.ID, c.key, err)
			}
			if _, err := event.Parse(set(json, c.key, value(512)), v); !errors.Is(err, event.ErrTooLarge) {
				t.Errorf("version %s, %s of 256 characters: %v", v.ID, c.key, err)
			}
			if c.key == "room_id" && v.HashedRoomID {
				continue
			}
			if _, err := event.Parse(set(json, c.key, value(255)), v); err != nil {
				t.Errorf("version %s, %s of 255 bytes: %v", v.ID, c.key, err)
			}
		}
		tmpl := message(v)
		tmpl.StateKey = ptr(strings.Repeat("ü", 128))
		if _, err := event.Build(v, tmpl, "domain", specKey(t)); !errors.Is(err, event.ErrTooLarge) {
			t.Errorf("version %s, built with a state key of 256 bytes: %v", v.ID, err)
		}
	}
}

// Depth is an integer from 0 to the version's limit; all else is no event, and what is accepted stays in bounds. A9
func TestA09Depth(t *testing.T) {
	const max64, max53 = "9223372036854775807", "9007199254740991"
	for _, v := range roomver.All() {
		json := build(t, v, message(v)).JSON
		good := []string{"0", "1", max53}
		bad := []string{"-1", "-9223372036854775808", "9223372036854775808", "1.5", "1.0", `"1"`, "null", "true", "[]", "{}", "1e999", "-0.0", "99999999999999999999999"}
		if v.StrictJSON {
			bad = append(bad, max64, "9007199254740992", "1e3", "-0")
		} else {
			good = append(good, max64)
		}
		for _, depth := range good {
			p, err := event.Parse(set(json, "depth", depth), v)
			if err != nil || fmt.Sprint(p.Depth) != depth {
				t.Errorf("version %s, depth %s: %v", v.ID, depth, err)
				continue
			}
			// The room goes on from there, and what we add to it all versions accept.
			tmpl := message(v)
			tmpl.Depth = min(p.Depth, event.MaxDepth(v)-1) + 1
			if next := build(t, v, tmpl); next.Depth < p.Depth || next.Depth > event.MaxDepth(v) {
				t.Errorf("version %s, depth %d after %s", v.ID, next.Depth, depth)
			}
		}
		for _, depth := range bad {
			if _, err := event.Parse(set(json, "depth", depth), v); !errors.Is(err, event.ErrMalformed) {
				t.Errorf("version %s, depth %s: %v", v.ID, depth, err)
			}
		}
	}
}

// Strict versions refuse what canonical JSON can not say, old ones take it and keep its hash. A10
func TestA10Content(t *testing.T) {
	lenient := []string{`{"n":1.5}`, `{"n":-0}`, `{"n":1e3}`, `{"n":9007199254740992}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`}
	never := []string{`{"n":NaN}`, `{"n":01}`, "{\"s\":\"\xff\"}", `{"s":"\ud800"}`, "{\"s\":\"\x00\"}", "{\"s\":\"\n\"}", "\xef\xbb\xbf{}",
		strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000), `{"n":1e999}`}
	for _, v := range roomver.All() {
		json := string(build(t, v, message(v)).JSON)
		with := func(content string) []byte {
			return []byte(strings.Replace(json, `{"body":"Grüß Gott","msgtype":"m.text"}`, content, 1))
		}
		for _, content := range lenient {
			p, err := event.Parse(with(content), v)
			if v.StrictJSON && !errors.Is(err, event.ErrMalformed) || !v.StrictJSON && err != nil {
				t.Errorf("version %s, %s: %v", v.ID, content, err)
			}
			if err != nil {
				continue
			}
			again, err := event.Parse(p.JSON, v)
			if err != nil || again.ID != p.ID || string(again.JSON) != string(p.JSON) {
				t.Errorf("version %s, %s: not stable: %v", v.ID, content, err)
			}
		}
		for _, content := range never {
			if _, err := event.Parse(with(content), v); !errors.Is(err, event.ErrMalformed) {
				t.Errorf("version %s, %.40q: %v", v.ID, content, err)
			}
		}
	}
}

// References are bounded where the version says so; versions 1 and 2 have older events. A11, A12
func TestA12References(t *testing.T) {
	list := func(v *roomver.Version, n int) string {
		one := `"$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"`
		if !v.HashedEventIDs() {
			one = `["$a:domain",{"sha256":"x"}]`
		}
		return "[" + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]"
	}
	for _, v := range roomver.All() {
		json := build(t, v, message(v)).JSON
		for key, limit := range map[string]int{"prev_events": event.MaxPrevEvents, "auth_events": event.MaxAuthEvents} {
			if _, err := event.Parse(set(json, key, list(v, limit)), v); err != nil {
				t.Errorf("version %s, %d %s: %v", v.ID, limit, key, err)
			}
			if _, err := event.Parse(set(json, key, list(v, limit+1)), v); v.HashedEventIDs() != errors.Is(err, event.ErrTooLarge) {
				t.Errorf("version %s, %d %s: %v", v.ID, limit+1, key, err)
			}
			if _, err := event.Parse(set(json, key, list(v, 10_000)), v); !errors.Is(err, event.ErrTooLarge) {
				t.Errorf("version %s, 10,000 %s: %v", v.ID, key, err)
			}
		}
	}
}

// From version 12 on the room is its create event's hash. A13
func TestA13HashedRoomID(t *testing.T) {
	v12, v11 := version(t, "12"), version(t, "11")
	create := build(t, v12, event.Template{Sender: "@anna:domain", Type: event.TypeCreate, StateKey: ptr(""), Content: []byte(`{"room_version":"12"}`), Depth: 1})
	if string(create.RoomID[1:]) != string(create.ID[1:]) || create.RoomID.Create() != create.ID || strings.Contains(string(create.JSON), "room_id") {
		t.Errorf("room %s of event %s: %s", create.RoomID, create.ID, create.JSON)
	}
	p, err := event.Parse(create.JSON, v12)
	if err != nil || p.RoomID != create.RoomID || p.ID != create.ID || !p.HashMatches() {
		t.Errorf("%+v, %v", p, err)
	}
	stored, err := event.Stored(create.JSON, v12, create.ID)
	if err != nil || stored.RoomID != create.RoomID {
		t.Errorf("%+v, %v", stored, err)
	}
	for _, room := range []string{string(create.RoomID), "!room:domain"} {
		if _, err := event.Parse(set(create.JSON, "room_id", `"`+room+`"`), v12); !errors.Is(err, event.ErrMalformed) {
			t.Errorf("create with room_id %s: %v", room, err)
		}
	}
	msg := build(t, v12, message(v12)).JSON
	for _, room := range []string{"!room:domain", "!short", string(create.RoomID) + ":domain", "!" + strings.Repeat("+", 43)} {
		if _, err := event.Parse(set(msg, "room_id", `"`+room+`"`), v12); !errors.Is(err, event.ErrMalformed) {
			t.Errorf("message in %s: %v", room, err)
		}
	}
	// A create event of another state key makes no room.
	if _, err := event.Parse(set(create.JSON, "state_key", `"x"`), v12); !errors.Is(err, event.ErrMalformed) {
		t.Errorf("create event with state key: %v", err)
	}
	if _, err := event.Parse(set(build(t, v11, message(v11)).JSON, "room_id", `"`+string(create.RoomID)+`"`), v11); !errors.Is(err, event.ErrMalformed) {
		t.Errorf("version 11 in a room of version 12: %v", err)
	}
	tmpl := message(v12)
	tmpl.Type, tmpl.StateKey = event.TypeCreate, ptr("")
	if _, err := event.Build(v12, tmpl, "domain", specKey(t)); !errors.Is(err, event.ErrMalformed) {
		t.Errorf("built create with room_id: %v", err)
	}
}

func TestHistoricalSender(t *testing.T) {
	v := version(t, "11")
	json := build(t, v, message(v)).JSON
	for _, sender := range []string{`"@:domain"`, `"@Große Katze\u001f:[::1]:8448"`} {
		if _, err := event.Parse(set(json, "sender", sender), v); err != nil {
			t.Errorf("%s: %v", sender, err)
		}
	}
}

func TestFacts(t *testing.T) {
	for _, v := range roomver.All() {
		tmpl := message(v)
		tmpl.Type, tmpl.StateKey = event.TypeMember, ptr("@anna:domain")
		tmpl.Content = []byte(`{"membership":"join","join_authorised_via_users_server":"@bert:other"}`)
		p := build(t, v, tmpl)
		if p.Membership() != event.Join || p.AuthorisedVia() != "@bert:other" || !p.IsState() || p.IsCreate() ||
			p.Slot() != (id.Slot{Type: event.TypeMember, StateKey: "@anna:domain"}) {
			t.Errorf("version %s: %+v", v.ID, p)
		}
		for content, want := range map[string]string{`{}`: "", `{"membership":1}`: "", `{"membership":"kn\u006fck"}`: "knock", `{"membership":"ban"}`: "ban"} {
			tmpl.Content = []byte(content)
			if p := build(t, v, tmpl); p.Membership() != want || p.AuthorisedVia() != "" {
				t.Errorf("%s: %q", content, p.Membership())
			}
		}
		tmpl = message(v)
		tmpl.Type, tmpl.Content, tmpl.Redacts = event.TypeRedaction, []byte(`{"reason":"x"}`), "$target:domain"
		p = build(t, v, tmpl)
		inContent, _ := canonical.GetString(p.Content, "redacts")
		top, _ := canonical.GetString(p.JSON, "redacts")
		if p.Redacts != "$target:domain" || (inContent != "") != v.RedactsInContent || (top != "") == v.RedactsInContent {
			t.Errorf("version %s: redacts %q: %s", v.ID, p.Redacts, p.JSON)
		}
		stored, err := event.Stored(p.JSON, v, p.ID)
		if err != nil || stored.Redacts != p.Redacts || stored.ID != p.ID || stored.RoomID != p.RoomID || stored.Sender != p.Sender {
			t.Errorf("version %s: %+v, %v", v.ID, stored, err)
		}
	}
}

func TestPeekRoomID(t *testing.T) {
	if r, ok := event.PeekRoomID([]byte(` {"a":[{"room_id":"!no:x"}], "room_id" : "!yes:domain"}`)); !ok || r != "!yes:domain" {
		t.Errorf("%q %v", r, ok)
	}
	for _, raw := range []string{`{}`, `{"room_id":1}`, `{"room_id":"x"}`, `[`, ``} {
		if r, ok := event.PeekRoomID([]byte(raw)); ok {
			t.Errorf("%s: %q", raw, r)
		}
	}
}
