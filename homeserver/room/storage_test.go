package room_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/db/dbtest"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// snapshotSize is what the states of a room take.
func (s *server) snapshotSize(r id.RoomID) int64 {
	s.t.Helper()
	info, err := s.Room(ctx, r)
	if err != nil {
		s.t.Fatal(err)
	}
	var size int64
	err = s.store.Read(ctx, func(tx *store.Tx) (err error) {
		size, err = tx.SnapshotSize(ctx, info.NID)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return size
}

func TestStatesTakeLessThanTheirEvents(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	r := s.create(anna)
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < 640; i += 32 {
				s.join(r, s.user(fmt.Sprint("member", i)))
			}
		}()
	}
	wg.Wait()
	for i := range 100 {
		s.set(r, anna, event.TypeTopic, "", fmt.Sprintf(`{"topic":"%d"}`, i))
	}
	var events int64
	evs, err := s.EventsAfter(ctx, 0, s.store.Position(), 10000)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range evs {
		events += int64(len(ev.JSON))
	}
	if size := s.snapshotSize(r); size > 2*events {
		t.Errorf("states take %d bytes beside %d of events", size, events)
	}
}

func TestUnneededStatesAreCollected(t *testing.T) {
	a, b, r := twoServers(t, "11")
	anna, bob := a.user("anna"), b.user("bob")
	// Forks leave merged states behind that only the room itself needed.
	for i := range 5 {
		x := a.say(r, anna, fmt.Sprint("a", i))
		y := b.say(r, bob, fmt.Sprint("b", i))
		a.accepts(b, y)
		b.accepts(a, x)
	}
	a.set(r, anna, event.TypeTopic, "", `{"topic":"x"}`)
	before := a.snapshotSize(r)
	if _, err := a.CollectSnapshots(ctx, r); err != nil {
		t.Fatal(err)
	}
	if after := a.snapshotSize(r); after > before {
		t.Errorf("%d bytes after, %d before", after, before)
	}
	a.restart()
	evs, err := a.EventsAfter(ctx, 0, a.store.Position(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range evs {
		if _, err := a.StateAfter(ctx, ev); err != nil {
			t.Errorf("state after %s is gone: %v", ev.Type, err)
		}
	}
	a.say(r, anna, "goes on")
	sameOrderOnRestart(t, a, r)
}

func sameOrderOnRestart(t *testing.T, s *server, r id.RoomID) {
	t.Helper()
	before := fmt.Sprint(s.timeline(r))
	s.restart()
	if after := fmt.Sprint(s.timeline(r)); after != before {
		t.Errorf("timeline %s, was %s", after, before)
	}
}

// TestEngineOnEachDatabase walks through the engine's statements on both engines.
func TestEngineOnEachDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		a, b := openServer(t, "klinik.test", url), newServer(t, "praxis.test")
		anna, bob, dora := a.user("anna"), a.user("bob"), b.user("dora")
		r := a.create(anna, func(q *room.CreateRequest) { q.Name, q.AliasName, q.Visibility = "Visite", "visite", "public" })
		a.join(r, bob)
		b.joinRemotely(r, dora, a)
		root := a.say(r, anna, "root")
		reply := a.relate(r, bob, "m.thread", root, "reply")
		b.accepts(a, root, reply)
		a.accepts(b, b.say(r, dora, "from outside"))
		if _, err := a.Send(ctx, room.Draft{Room: r, Sender: bob, Type: event.TypeRedaction, Redacts: reply, Content: []byte(`{}`), Device: "D", TxnID: "1"}); err != nil {
			t.Fatal(err)
		}
		a.restart()
		if again, err := a.Send(ctx, room.Draft{Room: r, Sender: bob, Type: event.TypeRedaction, Redacts: reply, Content: []byte(`{}`), Device: "D", TxnID: "1"}); err != nil || again == "" {
			t.Fatal(again, err)
		}
		evs, _, err := a.Timeline(ctx, r, 0, a.store.Position(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.ClientEvents(ctx, room.Format{Viewer: room.Viewer{User: bob, Device: "D"}, Bundle: true}, evs); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"messages":  second(a.Messages(ctx, room.PageRequest{Room: r, User: bob, Backward: true, Limit: 5})),
			"forward":   second(a.Messages(ctx, room.PageRequest{Room: r, User: bob, Limit: 5})),
			"context":   second(a.Context(ctx, bob, r, root, 4, room.EventFilter{})),
			"relations": second(a.Relations(ctx, room.RelationRequest{Room: r, User: bob, Event: root, Recurse: true, Limit: 5})),
			"threads":   second(a.Threads(ctx, bob, r, true, nil, 5)),
			"time":      second(a.TimestampToEvent(ctx, bob, r, 0, true)),
			"members":   second(a.MembersForUser(ctx, bob, r, &room.Token{Sync: true, Pos: 5}, "", "leave")),
			"public":    second(a.PublicRooms(ctx, room.PublicRoomsRequest{})),
			"sharing":   second(a.ServersSharing(ctx, anna)),
			"heroes":    second(a.Heroes(ctx, r, anna, 5)),
			"changed":   second(a.RoomsChangedSince(ctx, []id.RoomID{r}, 1)),
			"backfill":  second(a.BackfillFor(ctx, b.name, r, []id.EventID{root}, 5)),
			"collect":   second(a.CollectSnapshots(ctx, r)),
			"forget":    leaveAndForget(a, r, bob),
			"upgrade":   second(a.Upgrade(ctx, anna, r, "12", nil)),
		} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func leaveAndForget(s *server, r id.RoomID, user id.UserID) error {
	if _, err := s.Leave(context.Background(), room.MembershipChange{Room: r, Sender: user, Target: user}); err != nil {
		return err
	}
	return s.Forget(ctx, r, user)
}

func second[T any](_ T, err error) error { return err }
