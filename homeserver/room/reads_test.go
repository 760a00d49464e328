package room_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// client formats an event as one user's device gets it.
func (s *server) client(f room.Format, evID id.EventID) map[string]any {
	s.t.Helper()
	raw, err := s.ClientEvent(ctx, f, s.get(evID))
	if err != nil {
		s.t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		s.t.Fatalf("%v in %s", err, raw)
	}
	return m
}

func at(m map[string]any, path ...string) any {
	var v any = m
	for _, key := range path {
		o, _ := v.(map[string]any)
		v = o[key]
	}
	return v
}

func (s *server) relate(r id.RoomID, who id.UserID, rel string, parent id.EventID, body string) id.EventID {
	s.t.Helper()
	content := fmt.Sprintf(`{"body":%q,"m.new_content":{"body":%q},"m.relates_to":{"rel_type":%q,"event_id":%q}}`, body, body, rel, parent)
	ev, err := s.Send(ctx, room.Draft{Room: r, Sender: who, Type: event.TypeMessage, Content: json.RawMessage(content)})
	if err != nil {
		s.t.Fatal(err)
	}
	return ev
}

func TestUnsignedFields(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna, bob := s.user("anna"), s.user("bob")
	r := s.create(anna)
	before := s.say(r, anna, "before bob")
	s.join(r, bob)
	sent, err := s.Send(ctx, room.Draft{Room: r, Sender: anna, Type: event.TypeMessage, Content: text("x"), Device: "PHONE", TxnScope: "send", TxnID: "m1"})
	if err != nil {
		t.Fatal(err)
	}
	s.clock.Advance(5e9)
	own := s.client(room.Format{Viewer: room.Viewer{User: anna, Device: "PHONE"}}, sent)
	if at(own, "unsigned", "transaction_id") != "m1" || at(own, "unsigned", "age") != 5000.0 || own["room_id"] != string(r) || at(own, "unsigned", "membership") != "join" {
		t.Errorf("own device sees %v", own)
	}
	for _, v := range []room.Viewer{{User: anna, Device: "TABLET"}, {User: bob, Device: "PHONE"}} {
		if got := s.client(room.Format{Viewer: v, OmitRoomID: true}, sent); at(got, "unsigned", "transaction_id") != nil || got["room_id"] != nil {
			t.Errorf("others see %v", got)
		}
	}
	if got := s.client(room.Format{Viewer: room.Viewer{User: bob}}, before); at(got, "unsigned", "membership") != "leave" {
		t.Errorf("membership before the join: %v", got)
	}
	first := s.set(r, anna, event.TypeTopic, "", `{"topic":"one"}`)
	second := s.client(room.Format{}, s.set(r, anna, event.TypeTopic, "", `{"topic":"two"}`))
	if at(second, "unsigned", "prev_content", "topic") != "one" || at(second, "unsigned", "replaces_state") != string(first) || at(second, "unsigned", "prev_sender") != string(anna) {
		t.Errorf("state change %v", second)
	}
}

func TestRedactions(t *testing.T) {
	for _, v := range []string{"1", "3", "10", "11", "12"} {
		t.Run("v"+v, func(t *testing.T) {
			s := newServer(t, "klinik.test")
			anna, bob := s.user("anna"), s.user("bob")
			r := s.create(anna, version(v))
			s.join(r, bob)
			redact := func(who id.UserID, target id.EventID) (id.EventID, error) {
				return s.Send(ctx, room.Draft{Room: r, Sender: who, Type: event.TypeRedaction, Content: json.RawMessage(`{"reason":"oops"}`), Redacts: target})
			}
			theirs, own := s.say(r, anna, "of anna"), s.say(r, bob, "of bob")
			_, err := redact(bob, theirs)
			refused(t, "somebody else's message", err, mxerr.CodeForbidden)
			by, err := redact(bob, own)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got := s.client(room.Format{}, own)
				if len(at(got, "content").(map[string]any)) != 0 || at(got, "unsigned", "redacted_because", "event_id") != string(by) {
					t.Errorf("redacted: %v", got)
				}
				because := at(got, "unsigned", "redacted_because").(map[string]any)
				if because["redacts"] != string(own) && at(because, "content", "redacts") != string(own) {
					t.Errorf("the redaction names nothing: %v", because)
				}
				if ev := s.get(own); strings.Contains(string(ev.JSON), "of bob") || ev.ID != own {
					t.Errorf("stored %s", ev.JSON)
				}
				s.restart()
			}
			if _, err := redact(anna, own); err != nil {
				t.Errorf("redacted twice: %v", err)
			}
			if _, err := redact(anna, "$unknown:klinik.test"); err != nil {
				t.Errorf("a target that may still come: %v", err)
			}
		})
	}
}

func TestRedactionsOfOtherServers(t *testing.T) {
	a, b, r := twoServers(t, "11")
	anna, bob := a.user("anna"), b.user("bob")
	msg := b.say(r, bob, "regretted")
	redaction, err := b.Send(ctx, room.Draft{Room: r, Sender: bob, Type: event.TypeRedaction, Content: json.RawMessage(`{}`), Redacts: msg})
	if err != nil {
		t.Fatal(err)
	}
	// b hands out the redacted copy by now; a gets the redaction on top of it.
	a.accepts(b, msg, redaction)
	if ev := a.get(msg); !ev.Redacted() || len(ev.Content) > 2 {
		t.Errorf("%s", ev.JSON)
	}
	// One that may not: bob's server redacts anna's message without the level.
	hers := a.say(r, anna, "stays")
	b.accepts(a, hers)
	pdu := forge(t, b, a, r, hers, event.TypeRedaction, nil, fmt.Sprintf(`{"redacts":%q}`, hers), bob)
	if got, err := a.Receive(ctx, b.name, pdu); err != nil || got.Outcome != room.AcceptedNow {
		t.Fatal(got, err)
	}
	if a.get(hers).Redacted() {
		t.Error("a redaction without the level has an effect")
	}
}

func TestRedactionBeforeItsTarget(t *testing.T) {
	a, b, r := twoServers(t, "11")
	bob := b.user("bob")
	base := b.say(r, bob, "base")
	a.accepts(b, base)
	target := forge(t, b, b, r, base, event.TypeMessage, nil, `{"body":"late"}`, bob)
	redaction := forge(t, b, b, r, base, event.TypeRedaction, nil, fmt.Sprintf(`{"redacts":%q}`, target.ID), bob)
	for _, pdu := range []*event.PDU{redaction, target} {
		if got, err := a.Receive(ctx, b.name, pdu); err != nil || got.Outcome != room.AcceptedNow {
			t.Fatal(got, err)
		}
	}
	if ev := a.get(target.ID); !ev.Redacted() || strings.Contains(string(ev.JSON), "late") {
		t.Errorf("stored %s", ev.JSON)
	}
	a.restart()
	if !a.get(target.ID).Redacted() {
		t.Error("not redacted after the restart")
	}
}

func TestPagesMeetWithoutGapOrOverlap(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	r := s.create(anna)
	for i := range 25 {
		s.say(r, anna, fmt.Sprint(i))
	}
	all := s.timeline(r)
	for _, backward := range []bool{true, false} {
		var got []string
		var from *room.Token
		for range 50 {
			page, err := s.Messages(ctx, room.PageRequest{Room: r, User: anna, From: from, Backward: backward, Limit: 4})
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range page.Events {
				var c struct{ Body string }
				_ = json.Unmarshal(ev.Content, &c)
				if c.Body == "" {
					c.Body = ev.Type
				}
				got = append(got, c.Body)
			}
			if page.End == nil {
				break
			}
			again, err := room.ParseToken(page.End.String())
			if err != nil {
				t.Fatal(err)
			}
			from = &again
		}
		if backward {
			slices.Reverse(got)
		}
		if !slices.Equal(got, all) {
			t.Errorf("backward %v: %q, want %q", backward, got, all)
		}
	}
	filter := room.EventFilter{Types: []string{"m.room.*"}, NotTypes: []string{"m.room.message"}}
	page, err := s.Messages(ctx, room.PageRequest{Room: r, User: anna, Backward: true, Limit: 100, Filter: filter})
	if err != nil || len(page.Events) != len(all)-25 {
		t.Errorf("%d events pass the filter, %v", len(page.Events), err)
	}
}

func TestB07ForgedTokens(t *testing.T) {
	for _, bad := range []string{"", "s", "t", "s-1", "sx", "t1", "t1_", "t_1", "t1_x", "t1_1_-1", "t1_1_1_-1", "t1_1_1_1_1", "x1_1", "s99999999999999999999", strings.Repeat("s1", 50)} {
		if tok, err := room.ParseToken(bad); !mxerr.Is(err, mxerr.CodeInvalidParam) {
			t.Errorf("%q gives %+v, %v", bad, tok, err)
		}
	}
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	r := s.create(anna)
	for _, odd := range []string{"s9999999", "t99999_5", "t-5_-5", "t0_0", "t9_9_9_9"} {
		tok, err := room.ParseToken(odd)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Messages(ctx, room.PageRequest{Room: r, User: anna, From: &tok, Backward: true, Limit: 5}); err != nil {
			t.Errorf("%s: %v", odd, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	for _, seed := range []string{"s1", "t5_-7", "s1_2_3", "t1_2_0_4", "t_", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := room.ParseToken(s)
		if err != nil {
			return
		}
		if again, err := room.ParseToken(tok.String()); err != nil || again != tok {
			t.Errorf("%q → %v → %v, %v", s, tok, again, err)
		}
	})
}

func TestContextStandsAroundTheEvent(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	r := s.create(anna)
	var sent []id.EventID
	for i := range 9 {
		sent = append(sent, s.say(r, anna, fmt.Sprint(i)))
	}
	s.set(r, anna, event.TypeTopic, "", `{"topic":"later"}`)
	c, err := s.Context(ctx, anna, r, sent[4], 4, room.EventFilter{})
	if err != nil || len(c.Before) != 2 || len(c.After) != 2 || c.Before[0].ID != sent[3] || c.After[0].ID != sent[5] {
		t.Fatalf("%+v %v", c, err)
	}
	for _, ev := range c.State {
		if ev.Type == event.TypeTopic {
			t.Error("the state is of later")
		}
	}
	older, err := s.Messages(ctx, room.PageRequest{Room: r, User: anna, From: &c.Start, Backward: true, Limit: 1})
	if err != nil || older.Events[0].ID != sent[1] {
		t.Errorf("before the start: %v", err)
	}
	newer, err := s.Messages(ctx, room.PageRequest{Room: r, User: anna, From: &c.End, Limit: 1})
	if err != nil || newer.Events[0].ID != sent[7] {
		t.Errorf("after the end: %v", err)
	}
}

func TestRelationsThreadsAndBundles(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna, bob := s.user("anna"), s.user("bob")
	r := s.create(anna)
	s.join(r, bob)
	root, plain := s.say(r, anna, "root"), s.say(r, anna, "plain")
	var replies []id.EventID
	for i := range 3 {
		replies = append(replies, s.relate(r, bob, "m.thread", root, fmt.Sprint("reply ", i)))
	}
	s.relate(r, bob, "m.replace", root, "not bob's to edit")
	s.relate(r, anna, "m.replace", root, "first edit")
	edit := s.relate(r, anna, "m.replace", root, "second edit")
	ref := s.relate(r, anna, "m.reference", plain, "see above")
	got := s.client(room.Format{Viewer: room.Viewer{User: anna}, Bundle: true}, root)
	if at(got, "unsigned", "m.relations", "m.replace", "event_id") != string(edit) {
		t.Errorf("edit: %v", got)
	}
	thread := at(got, "unsigned", "m.relations", "m.thread").(map[string]any)
	if thread["count"] != 3.0 || thread["current_user_participated"] != true || at(thread, "latest_event", "event_id") != string(replies[2]) {
		t.Errorf("thread: %v", thread)
	}
	chunk, _ := at(s.client(room.Format{Bundle: true, Viewer: room.Viewer{User: anna}}, plain), "unsigned", "m.relations", "m.reference", "chunk").([]any)
	if len(chunk) != 1 || chunk[0].(map[string]any)["event_id"] != string(ref) {
		t.Errorf("references: %v", chunk)
	}
	var found []id.EventID
	var from *room.Token
	for range 5 {
		page, err := s.Relations(ctx, room.RelationRequest{Room: r, User: bob, Event: root, RelType: "m.thread", From: from, Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range page.Events {
			found = append(found, ev.ID)
		}
		if from = page.Next; from == nil {
			break
		}
	}
	if !slices.Equal(found, reversed(replies)) {
		t.Errorf("thread pages %v, want %v", found, replies)
	}
	if _, err := s.Relations(ctx, room.RelationRequest{Room: r, User: s.user("eve"), Event: root, Limit: 5}); err != room.ErrUnknownEvent {
		t.Errorf("a stranger reads relations: %v", err)
	}
	threads, err := s.Threads(ctx, anna, r, false, nil, 5)
	if err != nil || len(threads.Events) != 1 || threads.Events[0].ID != root {
		t.Errorf("threads %+v, %v", threads, err)
	}
	// A redacted reply is none.
	if _, err := s.Send(ctx, room.Draft{Room: r, Sender: anna, Type: event.TypeRedaction, Content: json.RawMessage(`{}`), Redacts: replies[2]}); err != nil {
		t.Fatal(err)
	}
	got = s.client(room.Format{Viewer: room.Viewer{User: anna}, Bundle: true}, root)
	if at(got, "unsigned", "m.relations", "m.thread", "count") != 2.0 {
		t.Errorf("after the redaction: %v", got)
	}
}

func TestStateAtPositions(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	r := s.create(anna)
	positions := map[int64]string{}
	for i := range 40 { // enough for chains of snapshots
		topic := fmt.Sprintf(`{"topic":"%d"}`, i)
		ev := s.get(s.set(r, anna, event.TypeTopic, "", topic))
		positions[ev.Pos] = topic
		s.join(r, s.user(fmt.Sprint("m", i)))
	}
	check := func() {
		t.Helper()
		for pos, topic := range positions {
			evs, err := s.SlotsAt(ctx, r, pos, []id.Slot{{Type: event.TypeTopic}})
			if err != nil || len(evs) != 1 || string(evs[0].Content) != topic {
				t.Errorf("at %d: %v, %v", pos, evs, err)
			}
			all, err := s.StateAt(ctx, r, pos)
			if err != nil || !slices.ContainsFunc(all, func(ev *room.Event) bool { return string(ev.Content) == topic }) {
				t.Errorf("whole state at %d lacks the topic, %v", pos, err)
			}
		}
	}
	check()
	s.restart()
	check()
	members, err := s.Members(ctx, r, 0, "join", "")
	if err != nil || len(members) != 41 {
		t.Errorf("%d members, %v", len(members), err)
	}
	changes, err := s.StateChanges(ctx, r, 0, s.store.Position())
	if err != nil || len(changes) < 45 {
		t.Errorf("%d changes, %v", len(changes), err)
	}
	pos := s.store.Position()
	name := s.set(r, anna, event.TypeName, "", `{"name":"n"}`)
	if changes, err = s.StateChanges(ctx, r, pos, s.store.Position()); err != nil || len(changes) != 1 || changes[0].ID != name {
		t.Errorf("changes since %v, %v", changes, err)
	}
}

func TestRoomsChangedSince(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	a, b := s.create(anna), s.create(anna)
	pos := s.store.Position()
	s.say(b, anna, "x")
	check := func() {
		t.Helper()
		got, err := s.RoomsChangedSince(ctx, []id.RoomID{a, b}, pos)
		if err != nil || !slices.Equal(got, []id.RoomID{b}) {
			t.Errorf("changed %v, %v", got, err)
		}
	}
	check()
	s.restart()
	check()
}
