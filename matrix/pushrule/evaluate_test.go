package pushrule_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"konsil/matrix/pushrule"
)

const bob = "@bob:hs"

// event makes an event of a content; fields with a dot name go beside it.
func event(kind, content string, stateKey *string, members int) *pushrule.Event {
	extra := ""
	if stateKey != nil {
		extra = fmt.Sprintf(`"state_key":%q,`, *stateKey)
	}
	raw := fmt.Sprintf(`{"content":%s,"room_id":"!r:hs","sender":"@alice:hs",%s"type":%q}`, content, extra, kind)
	return pushrule.NewEvent(pushrule.Facts{
		JSON: []byte(raw), Type: kind, RoomID: "!r:hs", Sender: "@alice:hs", StateKey: stateKey, Members: members,
		SenderMay: func(kind string) bool { return kind == "room" },
	})
}

func describe(o *pushrule.Outcome) string {
	switch {
	case o == nil:
		return "none"
	case !o.Notify:
		return "silent"
	case o.Highlight:
		return "highlight"
	case len(o.Actions) > 1:
		return "sound"
	}
	return "notify"
}

func ptr(s string) *string { return &s }

// TestDefaultRules is the table of the predefined rules. CS v1.16 #predefined-rules
func TestDefaultRules(t *testing.T) {
	for _, c := range []struct {
		name, kind, content string
		stateKey            *string
		members             int
		want                string
	}{
		{"message", "m.room.message", `{"body":"hi","msgtype":"m.text"}`, nil, 3, "notify"},
		{"message to two", "m.room.message", `{"body":"hi","msgtype":"m.text"}`, nil, 2, "sound"},
		{"encrypted", "m.room.encrypted", `{"algorithm":"x"}`, nil, 3, "notify"},
		{"encrypted to two", "m.room.encrypted", `{}`, nil, 2, "sound"},
		{"notice", "m.room.message", `{"body":"hi bob","msgtype":"m.notice"}`, nil, 2, "silent"},
		{"unknown type", "com.example", `{"body":"hi"}`, nil, 2, "none"},
		{"invite for me", "m.room.member", `{"membership":"invite"}`, ptr(bob), 2, "sound"},
		{"invite for another", "m.room.member", `{"membership":"invite"}`, ptr("@x:hs"), 2, "silent"},
		{"join", "m.room.member", `{"membership":"join"}`, ptr(bob), 2, "silent"},
		{"mention", "m.room.message", `{"body":"x","m.mentions":{"user_ids":["@bob:hs"]}}`, nil, 9, "highlight"},
		{"mention of another", "m.room.message", `{"body":"bob","m.mentions":{"user_ids":["@carol:hs"]}}`, nil, 9, "notify"},
		{"mentions of a wrong type", "m.room.message", `{"body":"bob","m.mentions":{"user_ids":"@bob:hs"}}`, nil, 9, "notify"},
		{"room mention", "m.room.message", `{"body":"x","m.mentions":{"room":true}}`, nil, 9, "highlight"},
		{"room mention as text", "m.room.message", `{"body":"x","m.mentions":{"room":"true"}}`, nil, 9, "notify"},
		{"local part in the body", "m.room.message", `{"body":"Hello @bob:hs!"}`, nil, 9, "highlight"},
		{"part of a word", "m.room.message", `{"body":"Hello bobby"}`, nil, 9, "notify"},
		{"display name in the body", "m.room.message", `{"body":"ask Dr. Bob Meier, please"}`, nil, 9, "highlight"},
		{"@room in the body", "m.room.message", `{"body":"hi @room"}`, nil, 9, "highlight"},
		{"tombstone", "m.room.tombstone", `{"body":"gone"}`, ptr(""), 9, "highlight"},
		{"tombstone that is no state", "m.room.tombstone", `{}`, nil, 9, "none"},
		{"reaction", "m.reaction", `{"m.relates_to":{"rel_type":"m.annotation"}}`, nil, 2, "silent"},
		{"server ACL", "m.room.server_acl", `{}`, ptr(""), 2, "silent"},
		{"edit", "m.room.message", `{"body":"* bob","m.mentions":{},"m.relates_to":{"rel_type":"m.replace"}}`, nil, 2, "silent"},
		{"call", "m.call.invite", `{}`, nil, 2, "sound"},
		{"poll to two", "org.matrix.msc3381.poll.start", `{}`, nil, 2, "sound"},
		{"poll", "org.matrix.msc3381.poll.start", `{}`, nil, 3, "notify"},
		{"poll response", "org.matrix.msc3381.poll.response", `{}`, nil, 2, "silent"},
		{"end of poll", "org.matrix.msc3381.poll.end", `{}`, nil, 3, "notify"},
		{"body that is no text", "m.room.message", `{"body":7}`, nil, 3, "notify"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := (&pushrule.Set{}).Compile(bob)
			if got := describe(rules.Evaluate(event(c.kind, c.content, c.stateKey, c.members), "Dr. Bob Meier")); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func actions(words ...string) []json.RawMessage {
	list := []json.RawMessage{}
	for _, w := range words {
		if !strings.HasPrefix(w, "{") {
			w = fmt.Sprintf("%q", w)
		}
		list = append(list, json.RawMessage(w))
	}
	return list
}

func conditions(list ...string) []json.RawMessage {
	var raw []json.RawMessage
	for _, c := range list {
		raw = append(raw, json.RawMessage(c))
	}
	return raw
}

func put(t *testing.T, s *pushrule.Set, kind pushrule.Kind, id, pattern string, conds, acts []json.RawMessage) *pushrule.Set {
	t.Helper()
	next, err := s.Put(kind, pushrule.NewRule(kind, id, &pattern, conds, acts), "", "")
	if err != nil {
		t.Fatalf("put %s: %v", id, err)
	}
	return next
}

func TestOwnRules(t *testing.T) {
	message := func() *pushrule.Event { return event("m.room.message", `{"body":"time for tea","n":5}`, nil, 3) }
	highlight := `{"set_tweak":"highlight"}`
	empty := &pushrule.Set{}
	evaluate := func(s *pushrule.Set, e *pushrule.Event) string { return describe(s.Compile(bob).Evaluate(e, "")) }

	room := put(t, empty, pushrule.Room, "!r:hs", "", nil, actions())
	if got := evaluate(room, message()); got != "silent" {
		t.Errorf("room rule: %s", got)
	}
	sender := put(t, room, pushrule.Sender, "@alice:hs", "", nil, actions("notify", highlight))
	if got := evaluate(sender, message()); got != "silent" {
		t.Errorf("a room rule comes before a sender rule: %s", got)
	}
	content := put(t, sender, pushrule.Content, "tea", "te?", nil, actions("notify", highlight))
	if got := evaluate(content, message()); got != "highlight" {
		t.Errorf("a content rule comes before a room rule: %s", got)
	}
	for cond, want := range map[string]string{
		`{"kind":"event_property_is","key":"content.n","value":5}`:         "silent",
		`{"kind":"event_property_is","key":"content.n","value":"5"}`:       "highlight",
		`{"kind":"event_property_is","key":"content.x","value":null}`:      "highlight",
		`{"kind":"event_match","key":"sender","pattern":"@ALICE:*"}`:       "silent",
		`{"kind":"event_match","key":"content.n","pattern":"*"}`:           "highlight",
		`{"kind":"room_member_count","is":">2"}`:                           "silent",
		`{"kind":"room_member_count","is":"<3"}`:                           "highlight",
		`{"kind":"room_member_count","is":">=3"}`:                          "silent",
		`{"kind":"com.example.unknown"}`:                                   "highlight",
		`{"kind":"sender_notification_permission","key":"room"}`:           "silent",
		`{"kind":"sender_notification_permission","key":"other"}`:          "highlight",
		`{"kind":"event_match","key":"state_key","pattern":"*"}`:           "highlight",
		`{"kind":"event_match","key":"room_id","pattern":"!r:hs"}`:         "silent",
		`{"kind":"event_property_contains","key":"content.n","value":5}`:   "highlight",
		`{"kind":"event_match","key":"content\\.body","pattern":"*"}`:      "highlight",
		`{"kind":"event_property_is","key":"content.body","value":"time"}`: "highlight",
	} {
		s := put(t, content, pushrule.Override, "mine", "", conditions(cond), actions())
		if got := evaluate(s, message()); got != want {
			t.Errorf("%s: got %s, want %s", cond, got, want)
		}
	}
	underride := put(t, empty, pushrule.Underride, "all", "", nil, actions("notify"))
	if got := evaluate(underride, event("com.example", `{}`, nil, 3)); got != "notify" {
		t.Errorf("underride rule: %s", got)
	}
	off, err := content.SetEnabled(pushrule.Content, "tea", false)
	if err != nil {
		t.Fatal(err)
	}
	if got := evaluate(off, message()); got != "silent" {
		t.Errorf("disabled rule: %s", got)
	}
	master, err := content.SetEnabled(pushrule.Override, ".m.rule.master", true)
	if err != nil {
		t.Fatal(err)
	}
	if got := evaluate(master, message()); got != "silent" {
		t.Errorf("master rule: %s", got)
	}
	loud, err := empty.SetActions(pushrule.Underride, ".m.rule.message", actions("notify", highlight))
	if err != nil {
		t.Fatal(err)
	}
	if got := evaluate(loud, message()); got != "highlight" {
		t.Errorf("default rule with other actions: %s", got)
	}
	deaf, err := loud.SetEnabled(pushrule.Underride, ".m.rule.message", false)
	if err != nil {
		t.Fatal(err)
	}
	if got := evaluate(deaf, message()); got != "none" {
		t.Errorf("disabled default rule: %s", got)
	}
	dont := put(t, empty, pushrule.Room, "!r:hs", "", nil, actions("dont_notify"))
	if got := evaluate(dont, message()); got != "silent" {
		t.Errorf("dont_notify: %s", got)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	plain := (&pushrule.Set{}).Compile(bob)
	busy := &pushrule.Set{}
	for i := range 20 {
		busy, _ = busy.Put(pushrule.Content, pushrule.NewRule(pushrule.Content, fmt.Sprint(i), ptr(fmt.Sprintf("word%d*x", i)), nil, actions("notify")), "", "")
	}
	own := busy.Compile(bob)
	text := `{"body":"` + strings.Repeat("some words ", 12) + `","msgtype":"m.text"}`
	b.Run("prepare", func(b *testing.B) {
		for b.Loop() {
			event("m.room.message", text, nil, 300)
		}
	})
	for name, content := range map[string]string{"text": text, "mentions": `{"body":"hi","m.mentions":{},"msgtype":"m.text"}`} {
		e := event("m.room.message", content, nil, 300)
		b.Run("default rules/"+name, func(b *testing.B) {
			for b.Loop() {
				plain.Evaluate(e, "Dr. Bob Meier")
			}
		})
		b.Run("20 own rules/"+name, func(b *testing.B) {
			for b.Loop() {
				own.Evaluate(e, "Dr. Bob Meier")
			}
		})
	}
}
