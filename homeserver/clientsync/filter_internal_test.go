package clientsync

import (
	"regexp"
	"strings"
	"testing"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// FuzzMatchType compares with the regular expression that says the same.
func FuzzMatchType(f *testing.F) {
	for _, seed := range [][2]string{{"m.room.*", "m.room.name"}, {"*", ""}, {"a*b*c", "aXbXc"}, {"a*a", "a"}, {"**", "x"}, {"", ""}, {"*é", "aé"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, typ string) {
		if len(pattern) > 100 || len(typ) > 300 {
			return
		}
		pattern, typ = strings.ToValidUTF8(pattern, ""), strings.ToValidUTF8(typ, "")
		var pieces []string
		for _, p := range strings.Split(pattern, "*") {
			pieces = append(pieces, regexp.QuoteMeta(p))
		}
		want := regexp.MustCompile(`(?s)\A` + strings.Join(pieces, `.*`) + `\z`).MatchString(typ)
		if got := matchType(pattern, typ); got != want {
			t.Errorf("%q matches %q: got %v, want %v", pattern, typ, got, want)
		}
	})
}

// FuzzFilter: what is taken for a filter can be used, and its limits hold (B6).
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"room":{"timeline":{"limit":1000000000,"types":["m.*"]}}}`, `{"room":{"state":{"lazy_load_members":true}}}`,
		`{"room":{"timeline":{"limit":-1,"contains_url":true,"org.matrix.msc3874.rel_types":["m.thread"]}}}`,
		`{"presence":"x"}`, `{"room":{"rooms":["!a:b"],"not_rooms":[]}}`, `[]`, `{"event_format":"federation"}`,
	} {
		f.Add([]byte(seed))
	}
	key := "k"
	ev := &room.Event{PDU: &event.PDU{Type: "m.room.topic", StateKey: &key, Sender: "@a:b", RoomID: "!a:b", Content: []byte(`{"url":"x"}`)}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		parsed, err := account.ParseFilter(raw)
		if err != nil {
			return
		}
		c := compile(parsed)
		if c.timeline.limit < 0 || c.timeline.limit > maxTimeline {
			t.Errorf("limit %d", c.timeline.limit)
		}
		for _, ef := range []*eventFilter{&c.timeline, &c.state, &c.ephemeral, &c.roomData} {
			all := *ef
			if all.all && !ef.picks(ev) {
				t.Error("a filter without conditions picks nothing")
			}
			// The short way for filters without conditions must not differ from the long one.
			if all.all = false; ef.all && !all.picks(ev) {
				t.Error("the long way gives another answer")
			}
		}
	})
}

// FuzzToken: only what we write is read, and it stays the same.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{"s0", "s1", "s9223372036854775807", "s-1", "s01", "t1_2", "", "s", "s1 ", "+1", "s+1", "s1e3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, given string) {
		if pos, ok := readToken(given); ok && (pos < 0 || token(pos) != given) {
			t.Errorf("%q was read as %d", given, pos)
		}
	})
}

func TestLazyMembersAreRememberedForOneLineOfSyncs(t *testing.T) {
	l := newLazyMembers()
	q := &query{Request: Request{User: "@a:b", Device: "D"}, filter: compile(account.Filter{}), initial: true}
	rooms := map[id.RoomID][]id.UserID{"!r": {"@x:b"}}
	l.told(q, 5, rooms)
	for since, want := range map[int64]bool{5: true, 4: false, 6: false} {
		next := &query{Request: q.Request, filter: q.filter, since: since}
		if got := l.known(next, "!r")["@x:b"]; got != want {
			t.Errorf("since %d: known %v, want %v", since, got, want)
		}
	}
	next := &query{Request: q.Request, filter: q.filter, since: 5}
	l.told(next, 9, map[id.RoomID][]id.UserID{"!r": {"@y:b"}})
	next.since = 9
	if known := l.known(next, "!r"); !known["@x:b"] || !known["@y:b"] {
		t.Errorf("after two syncs: %v", known)
	}
	other := &query{Request: Request{User: "@a:b", Device: "E"}, filter: q.filter, since: 9}
	if known := l.known(other, "!r"); len(known) != 0 {
		t.Errorf("another device knows %v", known)
	}
}
