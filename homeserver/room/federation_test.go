package room_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// pdu hands an event over as it would travel.
func (s *server) pdu(evID id.EventID) *event.PDU {
	s.t.Helper()
	ev := s.get(evID)
	got, err := event.Parse(ev.JSON, ev.Version)
	if err != nil {
		s.t.Fatalf("parse what was sent: %v", err)
	}
	return got
}

// travel parses events anew, as the other side does.
func travel(t testing.TB, evs []*room.Event) []*event.PDU {
	t.Helper()
	out := make([]*event.PDU, len(evs))
	for i, ev := range evs {
		got, err := event.Parse(ev.JSON, ev.Version)
		if err != nil {
			t.Fatalf("parse %s: %v", ev.Type, err)
		}
		out[i] = got
	}
	return out
}

// joinRemotely brings a user of s into a room of other.
func (s *server) joinRemotely(r id.RoomID, who id.UserID, other *server) {
	s.t.Helper()
	if err := s.tryJoinRemotely(r, who, other); err != nil {
		s.t.Fatalf("remote join: %v", err)
	}
}

func (s *server) tryJoinRemotely(r id.RoomID, who id.UserID, other *server) error {
	made, err := other.MakeJoin(ctx, s.name, r, who, roomver.Names())
	if err != nil {
		return err
	}
	v, _ := roomver.Get(made.Version)
	t, err := event.ParseTemplate(made.Event, v)
	if err != nil {
		return err
	}
	t.OriginServerTS = s.clock.Now().UnixMilli()
	if !v.HashedEventIDs() {
		if t.ID, err = id.NewEventID(rand.Reader, s.name); err != nil {
			return err
		}
	}
	join, err := event.Build(v, t, s.name, s.key)
	if err != nil {
		return err
	}
	answer, err := other.SendJoin(ctx, s.name, r, join)
	if err != nil {
		return err
	}
	return s.Import(ctx, room.JoinAnswer{Origin: other.name, Room: r, Join: travel(s.t, []*room.Event{answer.Event})[0],
		State: travel(s.t, answer.State), AuthChain: travel(s.t, answer.AuthChain)})
}

// receive hands an event of other to s.
func (s *server) receive(other *server, evID id.EventID) room.Receipt {
	s.t.Helper()
	got, err := s.Receive(ctx, other.name, other.pdu(evID))
	if err != nil {
		s.t.Fatalf("receive: %v", err)
	}
	return got
}

func (s *server) accepts(other *server, evIDs ...id.EventID) {
	s.t.Helper()
	for _, evID := range evIDs {
		if r := s.receive(other, evID); r.Outcome != room.AcceptedNow {
			s.t.Fatalf("outcome %d (%v), missing %v %v", r.Outcome, r.Reason, r.MissingPrev, r.MissingAuth)
		}
	}
}

// sameState compares the current state of two servers.
func sameState(t *testing.T, r id.RoomID, a, b *server) {
	t.Helper()
	list := func(s *server) []string {
		evs, err := s.CurrentState(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, ev := range evs {
			out = append(out, fmt.Sprintf("%s|%s|%s", ev.Type, *ev.StateKey, ev.ID))
		}
		slices.Sort(out)
		return out
	}
	x, y := list(a), list(b)
	if !slices.Equal(x, y) {
		t.Errorf("states differ:\n%q\n%q", x, y)
	}
	rows := func(s *server) int {
		m, err := s.MemberCounts(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return m["join"]
	}
	if rows(a) != rows(b) {
		t.Errorf("joined members: %d and %d", rows(a), rows(b))
	}
}

func TestTwoServersTalkInAllVersions(t *testing.T) {
	for _, v := range roomver.All() {
		t.Run("v"+v.ID, func(t *testing.T) {
			a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
			anna, bob := a.user("anna"), b.user("bob")
			r := a.create(anna, version(v.ID))
			a.say(r, anna, "before")
			b.joinRemotely(r, bob, a)
			sameState(t, r, a, b)
			b.accepts(a, a.say(r, anna, "one"))
			a.accepts(b, b.say(r, bob, "two"))
			b.accepts(a, a.set(r, anna, event.TypeTopic, "", `{"topic":"x"}`))
			sameState(t, r, a, b)
			b.restart()
			b.accepts(a, a.say(r, anna, "three"))
			if got := b.timeline(r); got[len(got)-1] != "three" {
				t.Errorf("timeline %q", got)
			}
			if r := b.receive(a, a.say(r, anna, "four")); r.Outcome != room.AcceptedNow {
				t.Error(r)
			}
			info, err := b.Room(ctx, r)
			if err != nil || len(info.Missing) != 1 {
				t.Errorf("missing %v, %v: want what was before the join", info.Missing, err)
			}
		})
	}
}

func TestForksMeetAgain(t *testing.T) {
	for _, v := range []string{"1", "2", "6", "11", "12"} {
		t.Run("v"+v, func(t *testing.T) {
			a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
			anna, bob := a.user("anna"), b.user("bob")
			r := a.create(anna, version(v), func(c *room.CreateRequest) {
				c.PowerLevelOverride = json.RawMessage(`{"events":{},"state_default":0}`)
			})
			b.joinRemotely(r, bob, a)
			// Both change the topic and somebody joins on each side, neither hears of the other.
			var fromA, fromB []id.EventID
			fromA = append(fromA, a.set(r, anna, event.TypeTopic, "", `{"topic":"a"}`), a.join(r, a.user("carl")), a.say(r, anna, "a1"))
			b.clock.Advance(5e9)
			fromB = append(fromB, b.set(r, bob, event.TypeTopic, "", `{"topic":"b"}`), b.join(r, b.user("dora")), b.say(r, bob, "b1"))
			b.accepts(a, fromA...)
			a.accepts(b, fromB...)
			sameState(t, r, a, b)
			info, err := a.Room(ctx, r)
			if err != nil || len(info.Extremities) != 2 {
				t.Errorf("extremities %v, %v", info.Extremities, err)
			}
			b.accepts(a, a.say(r, anna, "merged"))
			if info, _ = b.Room(ctx, r); len(info.Extremities) != 1 {
				t.Errorf("extremities %v after the merge", info.Extremities)
			}
			a.restart()
			b.restart()
			sameState(t, r, a, b)
		})
	}
}

func TestLateEventsWaitForWhatTheyFollow(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna := a.user("anna")
	r := a.create(anna)
	b.joinRemotely(r, b.user("bob"), a)
	one, two := a.say(r, anna, "one"), a.say(r, anna, "two")
	got := b.receive(a, two)
	if got.Outcome != room.Deferred || !slices.Equal(got.MissingPrev, []id.EventID{one}) {
		t.Fatalf("%+v", got)
	}
	b.accepts(a, one, two)
	if r := b.receive(a, one); r.Outcome != room.KnownAlready {
		t.Errorf("again: %+v", r)
	}
}

func TestGapIsBridgedByStateAndFilledByBackfill(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna := a.user("anna")
	r := a.create(anna)
	b.joinRemotely(r, b.user("bob"), a)
	var lost []id.EventID
	for i := range 5 {
		lost = append(lost, a.say(r, anna, fmt.Sprint("lost ", i)))
	}
	topic := a.set(r, anna, event.TypeTopic, "", `{"topic":"while away"}`)
	last := a.say(r, anna, "last")
	state, chain, err := a.StateFor(ctx, b.name, r, last)
	if err != nil {
		t.Fatal(err)
	}
	if missing, err := b.Outliers(ctx, r, travel(t, append(chain, state...))); err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	var ids []id.EventID
	for _, ev := range state {
		ids = append(ids, ev.ID)
	}
	got, err := b.ReceiveWithState(ctx, a.name, a.pdu(last), ids)
	if err != nil || got.Outcome != room.AcceptedNow {
		t.Fatalf("%+v, %v", got, err)
	}
	sameState(t, r, a, b)
	info, _ := b.Room(ctx, r)
	if !slices.Contains(info.Missing, topic) {
		t.Fatalf("missing %v", info.Missing)
	}
	page, err := b.Messages(ctx, room.PageRequest{Room: r, User: b.user("bob"), Backward: true, Limit: 10})
	if err != nil || !page.Gap || !slices.Contains(page.Missing, topic) {
		t.Errorf("page %+v, %v", page, err)
	}
	older, err := a.BackfillFor(ctx, b.name, r, []id.EventID{topic}, 6)
	if err != nil {
		t.Fatal(err)
	}
	oldest := older[len(older)-1]
	state, chain, err = a.StateFor(ctx, b.name, r, oldest.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Outliers(ctx, r, travel(t, append(chain, state...))); err != nil {
		t.Fatal(err)
	}
	ids = nil
	for _, ev := range state {
		ids = append(ids, ev.ID)
	}
	n, err := b.Backfilled(ctx, r, travel(t, older), map[id.EventID][]id.EventID{oldest.ID: ids})
	if err != nil || n != len(older) {
		t.Fatalf("backfilled %d of %d, %v", n, len(older), err)
	}
	page, err = b.Messages(ctx, room.PageRequest{Room: r, User: b.user("bob"), Backward: true, Limit: 7})
	if err != nil {
		t.Fatal(err)
	}
	var have []id.EventID
	for _, ev := range page.Events {
		have = append(have, ev.ID)
	}
	want := append([]id.EventID{last, topic}, reversed(lost)...)
	if !slices.Equal(have, want) {
		t.Errorf("history\n%v, want\n%v", have, want)
	}
}

func TestMissingEventsAreServedOldestFirst(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna := a.user("anna")
	r := a.create(anna)
	b.joinRemotely(r, b.user("bob"), a)
	first := a.say(r, anna, "0")
	b.accepts(a, first)
	var sent []id.EventID
	for i := range 5 {
		sent = append(sent, a.say(r, anna, fmt.Sprint(i+1)))
	}
	evs, err := a.MissingEventsFor(ctx, b.name, r, []id.EventID{first}, []id.EventID{sent[4]}, 10, 0)
	if err != nil || len(evs) != 4 {
		t.Fatalf("%d events, %v", len(evs), err)
	}
	for i, ev := range evs {
		if ev.ID != sent[i] {
			t.Errorf("event %d is not the one sent then", i)
		}
	}
}

func TestRejectedAndSoftFailedEventsAreNotShown(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna, bob := a.user("anna"), b.user("bob")
	r := a.create(anna)
	b.joinRemotely(r, bob, a)
	// bob is banned, and his server, which has not heard of it, sends on.
	ban, err := a.Ban(ctx, room.MembershipChange{Room: r, Sender: anna, Target: bob})
	if err != nil {
		t.Fatal(err)
	}
	late := b.say(r, bob, "too late")
	got := a.receive(b, late)
	if got.Outcome != room.SoftFail {
		t.Fatalf("%+v", got)
	}
	if ev := a.get(late); ev.Status != store.SoftFailed || ev.InTimeline() {
		t.Errorf("stored as %+v", ev.EventMeta)
	}
	if slices.Contains(a.timeline(r), "too late") {
		t.Error("a soft-failed event is in the timeline")
	}
	if _, err := a.EventOf(ctx, anna, r, late); err != room.ErrUnknownEvent {
		t.Errorf("read it: %v", err)
	}
	// An event of his that stands after the ban is rejected.
	pdu := forge(t, b, a, r, ban, event.TypeMessage, nil, `{"body":"x"}`, bob)
	forged, err := a.Receive(ctx, b.name, pdu)
	if err != nil || forged.Outcome != room.Reject || a.get(pdu.ID).Status != store.Rejected {
		t.Errorf("%+v, %v", forged, err)
	}
	if _, _, err := a.StateFor(ctx, a.name, r, pdu.ID); err != room.ErrUnknownEvent {
		t.Errorf("a rejected event is served: %v", err)
	}
	a.say(r, anna, "room goes on")
	if info, _ := a.Room(ctx, r); len(info.Extremities) != 1 {
		t.Errorf("extremities %v", info.Extremities)
	}
}

// forge builds an event in the name of a user of by, after an event that to has, with the auth events of the state there.
func forge(t *testing.T, by, to *server, r id.RoomID, after id.EventID, typ string, key *string, content string, sender id.UserID) *event.PDU {
	t.Helper()
	prev := to.get(after)
	st, err := to.StateAfter(ctx, prev)
	if err != nil {
		t.Fatal(err)
	}
	tpl := event.Template{RoomID: r, Sender: sender, Type: typ, StateKey: key, Content: []byte(content), PrevEvents: []id.EventID{after},
		Depth: prev.Depth + 1, OriginServerTS: prev.OriginServerTS}
	for _, ev := range st {
		switch {
		case ev.Type == event.TypeCreate && !ev.Version.HashedRoomID, ev.Type == event.TypePowerLevels,
			ev.Type == event.TypeMember && *ev.StateKey == string(sender),
			typ == event.TypeMember && ev.Type == event.TypeJoinRules:
			tpl.AuthEvents = append(tpl.AuthEvents, ev.ID)
		}
	}
	pdu, err := event.Build(prev.Version, tpl, by.name, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return pdu
}

func reversed[T any](list []T) []T {
	out := slices.Clone(list)
	slices.Reverse(out)
	return out
}

// TestAnInviteSurvivesAnOlderUnban: the unban before an invite may arrive after it, for the two take different ways.
func TestAnInviteSurvivesAnOlderUnban(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna, bob := a.user("anna"), b.user("bob")
	r := a.create(anna)
	b.joinRemotely(r, bob, a)
	move := func(change func(context.Context, room.MembershipChange) (id.EventID, error)) id.EventID {
		t.Helper()
		ev, err := change(ctx, room.MembershipChange{Room: r, Sender: anna, Target: bob})
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	b.accepts(a, move(a.Ban))
	unban := move(a.Unban)
	a.invite(r, anna, bob, b)
	if got := b.receive(a, unban); got.Event != nil {
		t.Errorf("the unban counts: %+v", got)
	}
	if now, err := b.UserRoom(ctx, bob, r); err != nil || now.Membership != "invite" {
		t.Errorf("bob's room: %+v, %v", now, err)
	}
	if got := b.receive(a, move(a.Kick)); got.Outcome != room.AcceptedNow {
		t.Errorf("taken back: %+v", got)
	}
}

// TestWhatWasDoneLastIsServedAfterLeaving: the leave of our last user may reach another server before what we did just before it.
func TestWhatWasDoneLastIsServedAfterLeaving(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna, bob := a.user("anna"), b.user("bob")
	r := a.create(anna)
	b.joinRemotely(r, bob, a)
	last := b.say(r, bob, "last words")
	leave, err := b.Leave(ctx, room.MembershipChange{Room: r, Sender: bob, Target: bob})
	if err != nil {
		t.Fatal(err)
	}
	if got := a.receive(b, leave); got.Outcome != room.Deferred {
		t.Fatalf("%+v", got)
	}
	info, err := a.Room(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	missing, err := b.MissingEventsFor(ctx, a.name, r, info.Extremities, []id.EventID{leave}, 10, 0)
	if err != nil || len(missing) != 1 || missing[0].ID != last {
		t.Fatalf("missing %v, %v", missing, err)
	}
	a.accepts(b, last, leave)
	if _, err := b.MissingEventsFor(ctx, "fremd.test", r, info.Extremities, []id.EventID{leave}, 10, 0); !errors.Is(err, room.ErrUnknownEvent) {
		t.Errorf("a stranger: %v", err)
	}
}
