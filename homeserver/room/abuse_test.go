package room_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// twoServers has a room of a's anna with b's bob in it.
func twoServers(t *testing.T, v string) (a, b *server, r id.RoomID) {
	t.Helper()
	a, b = newServer(t, "klinik.test"), newServer(t, "praxis.test")
	r = a.create(a.user("anna"), version(v))
	b.joinRemotely(r, b.user("bob"), a)
	return a, b, r
}

// build makes an event of b's with every field free.
func (s *server) build(tpl event.Template, like *event.PDU) *event.PDU {
	s.t.Helper()
	pdu, err := event.Build(like.Version, tpl, s.name, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return pdu
}

// last is a message of b's bob that a would accept, to be spoilt.
func lastOf(t *testing.T, a, b *server, r id.RoomID) (event.Template, *event.PDU) {
	t.Helper()
	good := b.get(b.say(r, b.user("bob"), "good"))
	if got := a.receive(b, good.ID); got.Outcome != room.AcceptedNow {
		t.Fatal(got)
	}
	return event.Template{RoomID: r, Sender: good.Sender, Type: event.TypeMessage, Content: []byte(`{"body":"bad"}`),
		PrevEvents: []id.EventID{good.ID}, AuthEvents: good.AuthEvents, Depth: good.Depth + 1, OriginServerTS: good.OriginServerTS}, good.PDU
}

// unharmed checks that the room still works and shows nothing bad.
func unharmed(t *testing.T, a, b *server, r id.RoomID) {
	t.Helper()
	a.say(r, a.user("anna"), "still fine")
	if slices.Contains(a.timeline(r), "bad") {
		t.Error("the bad event is shown")
	}
	info, err := a.Room(ctx, r)
	if err != nil || len(info.Extremities) != 1 {
		t.Errorf("extremities %v, %v", info.Extremities, err)
	}
}

func TestA02OneBadEventAmongManyHurtsNobody(t *testing.T) {
	a, b, r := twoServers(t, "11")
	bob := b.user("bob")
	var pdus []*event.PDU
	for i := range 20 {
		pdus = append(pdus, b.pdu(b.say(r, bob, fmt.Sprint(i))))
	}
	other := a.create(a.user("anna"))
	spoilt := event.Template{RoomID: other, Sender: bob, Type: event.TypeMessage, Content: []byte(`{"body":"bad"}`),
		PrevEvents: pdus[3].PrevEvents, AuthEvents: pdus[3].AuthEvents, Depth: 9}
	pdus = slices.Insert(pdus, 7, b.build(spoilt, pdus[3]))
	receipts, err := a.ReceiveAll(ctx, b.name, r, pdus)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range receipts {
		if want := room.AcceptedNow; i == 7 && got.Outcome != room.Reject || i != 7 && got.Outcome != want {
			t.Errorf("event %d: %+v", i, got)
		}
	}
	unharmed(t, a, b, r)
}

func TestA09DepthsLie(t *testing.T) {
	a, b, r := twoServers(t, "11")
	for _, depth := range []int64{event.MaxDepth(a.get(a.say(r, a.user("anna"), "x")).Version), 1, 0} {
		// b follows what a said, so that there is one line.
		tpl, like := lastOf(t, a, b, r)
		tpl.Depth, tpl.Content = depth, []byte(`{"body":"odd"}`)
		pdu := b.build(tpl, like)
		if got, err := a.Receive(ctx, b.name, pdu); err != nil || got.Outcome != room.AcceptedNow {
			t.Fatalf("depth %d: %+v %v", depth, got, err)
		}
		say := a.say(r, a.user("anna"), "after")
		page, err := a.Messages(ctx, room.PageRequest{Room: r, User: a.user("anna"), Backward: true, Limit: 2})
		if err != nil || page.Events[0].ID != say || page.Events[1].ID != pdu.ID {
			t.Errorf("depth %d: history is out of order", depth)
		}
		if next := a.get(say); next.Depth < 1 || next.Depth > event.MaxDepth(next.Version) {
			t.Errorf("next depth %d", next.Depth)
		}
		b.accepts(a) // nothing: b goes on on its own branch
	}
}

func TestA11AuthEvents(t *testing.T) {
	for _, v := range []string{"6", "11", "12"} {
		a, b, r := twoServers(t, v)
		anna := a.user("anna")
		other := a.create(anna, version(v))
		otherState, err := a.CurrentState(ctx, other)
		if err != nil {
			t.Fatal(err)
		}
		message := a.say(r, anna, "no state")
		topic := a.set(r, anna, event.TypeTopic, "", `{"topic":"irrelevant"}`)
		rename := a.join(r, a.user("carl"))
		rejected := forge(t, b, a, r, rename, event.TypePowerLevels, new(string), `{"users":{}}`, b.user("bob"))
		if got, err := a.Receive(ctx, b.name, rejected); err != nil || got.Outcome != room.Reject {
			t.Fatal(got, err)
		}
		for name, spoil := range map[string]func(auth []id.EventID) []id.EventID{
			"other room":       func(l []id.EventID) []id.EventID { return append(l[:len(l)-1:len(l)-1], otherState[1].ID) },
			"twice":            func(l []id.EventID) []id.EventID { return append(l[:len(l):len(l)], l[0]) },
			"none":             func([]id.EventID) []id.EventID { return nil },
			"rejected":         func(l []id.EventID) []id.EventID { return append(l[:len(l):len(l)], rejected.ID) },
			"no state event":   func(l []id.EventID) []id.EventID { return append(l[:len(l):len(l)], message) },
			"irrelevant state": func(l []id.EventID) []id.EventID { return append(l[:len(l):len(l)], topic) },
		} {
			t.Run("v"+v+" "+name, func(t *testing.T) {
				tpl, like := lastOf(t, a, b, r)
				tpl.AuthEvents = spoil(tpl.AuthEvents)
				pdu := b.build(tpl, like)
				got, err := a.Receive(ctx, b.name, pdu)
				if err != nil || got.Outcome != room.Reject {
					t.Errorf("%+v, %v", got, err)
				}
				a.say(r, anna, "goes on")
				if slices.Contains(a.timeline(r), "bad") {
					t.Error("the bad event is shown")
				}
			})
		}
	}
}

func TestA12PrevEvents(t *testing.T) {
	a, b, r := twoServers(t, "11")
	tpl, like := lastOf(t, a, b, r)
	tpl.PrevEvents = nil
	if got, err := a.Receive(ctx, b.name, b.build(tpl, like)); err != nil || got.Outcome != room.Reject {
		t.Errorf("none: %+v, %v", got, err)
	}
	tpl.PrevEvents = nil
	for i := range 20 {
		tpl.PrevEvents = append(tpl.PrevEvents, id.EventID("$"+strings.Repeat(string(rune('a'+i)), 43)))
	}
	if got, err := a.Receive(ctx, b.name, b.build(tpl, like)); err != nil || got.Outcome != room.Deferred || len(got.MissingPrev) != 20 {
		t.Errorf("unknown: %+v, %v", got, err)
	}
	foreign := a.create(a.user("anna"))
	tpl.PrevEvents = []id.EventID{a.say(foreign, a.user("anna"), "elsewhere")}
	if got, err := a.Receive(ctx, b.name, b.build(tpl, like)); err != nil || got.Outcome != room.Reject {
		t.Errorf("of another room: %+v, %v", got, err)
	}
	unharmed(t, a, b, r)
}

func TestA13SecondCreateEvent(t *testing.T) {
	for _, v := range []string{"1", "6", "11", "12"} {
		t.Run("v"+v, func(t *testing.T) {
			a, b, r := twoServers(t, v)
			create, err := b.StateEvent(ctx, r, event.TypeCreate, "")
			if err != nil {
				t.Fatal(err)
			}
			key := ""
			for _, prev := range [][]id.EventID{nil, {b.say(r, b.user("bob"), "x")}} {
				tpl := event.Template{RoomID: r, Sender: a.user("anna"), Type: event.TypeCreate, StateKey: &key, PrevEvents: prev,
					Content: []byte(`{"creator":"@anna:klinik.test","room_version":"` + v + `","more":1}`), Depth: 1}
				if create.Version.HashedRoomID {
					tpl.RoomID = ""
				}
				if !create.Version.HashedEventIDs() {
					tpl.ID = id.EventID(fmt.Sprintf("$second%d:klinik.test", len(prev)))
				}
				second := a.build(tpl, create.PDU)
				got, err := b.Receive(ctx, a.name, second)
				if err != nil || got.Outcome != room.Reject || got.Event != nil {
					t.Errorf("%+v, %v", got, err)
				}
				if _, err := b.Outliers(ctx, r, []*event.PDU{second}); err != nil {
					t.Error(err)
				}
				if ev, err := b.Event(ctx, second.ID); err == nil && ev.Status != store.Rejected {
					t.Errorf("stored as %d", ev.Status)
				}
			}
			if now, _ := b.StateEvent(ctx, r, event.TypeCreate, ""); now.ID != create.ID {
				t.Error("the room has another create event")
			}
		})
	}
}

func TestA20UnknownAndForbiddenLookAlike(t *testing.T) {
	a, b, r := twoServers(t, "11")
	anna := a.user("anna")
	mine := a.say(r, anna, "in the room")
	private := a.create(anna)
	foreign := a.say(private, anna, "not theirs")
	stranger := id.ServerName("fremd.test")
	unknown := id.EventID("$" + strings.Repeat("u", 43))
	for name, ask := range map[string]struct {
		from id.ServerName
		room id.RoomID
		ev   id.EventID
	}{
		"unknown event":     {b.name, r, unknown},
		"of another room":   {b.name, r, foreign},
		"room not joined":   {b.name, private, foreign},
		"server not joined": {stranger, r, mine},
		"unknown room":      {b.name, "!nowhere:klinik.test", mine},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := a.StateFor(ctx, ask.from, ask.room, ask.ev)
			alike(t, "state", err)
			_, err = a.AuthChainFor(ctx, ask.from, ask.room, ask.ev)
			alike(t, "event_auth", err)
			_, err = a.BackfillFor(ctx, ask.from, ask.room, []id.EventID{ask.ev}, 10)
			alike(t, "backfill", err)
			if name != "unknown room" {
				_, err = a.EventFor(ctx, ask.from, ask.ev)
				alike(t, "event", err)
			}
			evs, err := a.MissingEventsFor(ctx, ask.from, ask.room, nil, []id.EventID{ask.ev}, 10, 0)
			if err == nil && len(evs) == 0 {
				return // an event that is not there has nothing before it
			}
			alike(t, "get_missing_events", err)
		})
	}
	a.set(r, anna, event.TypeServerACL, "", `{"allow":["*"],"deny":["PRAXIS.test"]}`)
	_, err := a.EventFor(ctx, b.name, mine)
	alike(t, "denied server", err)
	if ok, err := a.ServerAllowed(ctx, r, b.name); ok || err != nil {
		t.Error("the server is let in", err)
	}
}

func alike(t *testing.T, what string, err error) {
	t.Helper()
	if err != room.ErrUnknownEvent {
		t.Errorf("%s: %v", what, err)
	}
}
