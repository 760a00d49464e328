package event_test

import (
	"strings"
	"testing"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/roomver"
)

// The lists of keys that survive, version by version, written down from the specification and not from the code.
// RV 1, 6, 8, 9, 11 #redactions
var kept = map[string]func(version int) string{
	"top": func(v int) string {
		if v <= 10 {
			return "auth_events content depth event_id hashes membership origin origin_server_ts prev_events prev_state room_id sender signatures state_key type"
		}
		return "auth_events content depth event_id hashes origin_server_ts prev_events room_id sender signatures state_key type"
	},
	event.TypeMember: func(v int) string {
		switch {
		case v <= 8:
			return "membership"
		case v <= 10:
			return "join_authorised_via_users_server membership"
		}
		return "join_authorised_via_users_server membership third_party_invite"
	},
	event.TypeCreate: func(v int) string {
		if v <= 10 {
			return "creator"
		}
		return everything
	},
	event.TypeJoinRules: func(v int) string {
		if v <= 7 {
			return "join_rule"
		}
		return "allow join_rule"
	},
	event.TypePowerLevels: func(v int) string {
		if v <= 10 {
			return "ban events events_default kick redact state_default users users_default"
		}
		return "ban events events_default invite kick redact state_default users users_default"
	},
	event.TypeAliases: func(v int) string {
		if v <= 5 {
			return "aliases"
		}
		return ""
	},
	event.TypeHistoryVisibility: func(int) string { return "history_visibility" },
	event.TypeRedaction: func(v int) string {
		if v <= 10 {
			return ""
		}
		return "redacts"
	},
	event.TypeMessage: func(int) string { return "" },
	"m.room.name":     func(int) string { return "" },
}

// everything is each key that any rule names, and some that none does.
const everything = "aliases allow ban body creator events events_default history_visibility invite join_authorised_via_users_server join_rule kick " +
	"membership name notifications prev_content reason redact redacts state_default third_party_invite users users_default"

func TestRedactKeeps(t *testing.T) {
	for i, v := range roomver.All() {
		for typ, want := range kept {
			if typ == "top" {
				continue
			}
			var content strings.Builder
			for _, key := range strings.Fields(everything) {
				content.WriteString(`,"` + key + `":` + value(key))
			}
			json := canon(t, `{"type":"`+typ+`","state_key":"","room_id":"!r:d","sender":"@a:d","event_id":"$e:d","depth":1,"auth_events":[],"prev_events":[],
				"hashes":{"sha256":"x"},"signatures":{"d":{}},"origin":"d","origin_server_ts":1,"membership":"join","prev_state":[],
				"unsigned":{"a":1},"redacts":"$x","age":1,"content":{`+content.String()[1:]+`}}`)
			got := event.RedactJSON(json, v)
			if keys := keysOf(t, got); keys != kept["top"](i+1) {
				t.Errorf("version %s: keeps %s, want %s", v.ID, keys, kept["top"](i+1))
			}
			inside, _ := canonical.Get(got, "content")
			if keys := keysOf(t, inside); keys != want(i+1) {
				t.Errorf("version %s, %s: keeps %s, want %s", v.ID, typ, keys, want(i+1))
			}
			if again := event.RedactJSON(got, v); string(again) != string(got) {
				t.Errorf("version %s, %s: redacted twice %s", v.ID, typ, again)
			}
			if err := canonical.Check(got, canonical.Strict); err != nil {
				t.Error(err)
			}
		}
	}
}

func value(key string) string {
	if key == "third_party_invite" {
		return `{"display_name":"x","signed":{"mxid":"@a:d","token":"t"}}`
	}
	return `1`
}

func keysOf(t *testing.T, obj []byte) string {
	t.Helper()
	var keys []string
	if err := canonical.Object(obj, func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	}); err != nil {
		t.Fatalf("%s: %v", obj, err)
	}
	return strings.Join(keys, " ")
}

func TestRedactThirdPartyInvite(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{`{"third_party_invite":{"display_name":"x","signed":{"mxid":"@a:d"}}}`, `{"third_party_invite":{"signed":{"mxid":"@a:d"}}}`},
		{`{"third_party_invite":{"display_name":"x"}}`, `{"third_party_invite":{}}`},
		{`{"third_party_invite":"x"}`, `{}`},
	} {
		got := event.RedactJSON(canon(t, `{"type":"m.room.member","content":`+c.in+`}`), version(t, "11"))
		if content, _ := canonical.Get(got, "content"); string(content) != c.out {
			t.Errorf("%s: %s, want %s", c.in, content, c.out)
		}
	}
}

// A redacted event keeps ID and signatures; its hash does not match any more.
func TestRedact(t *testing.T) {
	key := specKey(t)
	for _, v := range roomver.All() {
		p := build(t, v, message(v))
		r := p.Redact()
		if r.ID != p.ID || r.RoomID != p.RoomID || string(r.Content) != `{}` || string(p.Content) == `{}` {
			t.Errorf("version %s: %s", v.ID, r.JSON)
		}
		if r.HashMatches() || r.Verify("domain", key.ID, key.Public()) != nil {
			t.Errorf("version %s: hash matches %v, signature %v", v.ID, r.HashMatches(), r.Verify("domain", key.ID, key.Public()))
		}
		parsed, err := event.Parse(r.JSON, v)
		if err != nil || parsed.ID != p.ID {
			t.Errorf("version %s: %v", v.ID, err)
		}
		tmpl := message(v)
		tmpl.Type, tmpl.StateKey, tmpl.Content = event.TypeMember, ptr("@anna:domain"), []byte(`{"membership":"leave","reason":"x"}`)
		if m := build(t, v, tmpl).Redact(); m.Membership() != event.Leave || string(m.Content) != `{"membership":"leave"}` {
			t.Errorf("version %s: %s", v.ID, m.JSON)
		}
	}
}
