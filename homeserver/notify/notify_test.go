package notify_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"konsil/homeserver/notify"
	"konsil/matrix/id"
)

const anna, bob, ward, office = id.UserID("@anna:x"), id.UserID("@bob:x"), id.RoomID("!ward:x"), id.RoomID("!office:x")

// woken reports whether a waiter has a hint, without waiting.
func woken(w *notify.Waiter) bool {
	select {
	case <-w.C():
		return true
	default:
		return false
	}
}

func TestWakesWhoIsConcerned(t *testing.T) {
	for name, c := range map[string]struct {
		change notify.Change
		want   bool
	}{
		"the user":       {notify.Change{Users: []id.UserID{anna}}, true},
		"another user":   {notify.Change{Users: []id.UserID{bob}}, false},
		"the room":       {notify.Change{Rooms: []id.RoomID{ward}}, true},
		"another room":   {notify.Change{Rooms: []id.RoomID{office}}, false},
		"nobody":         {notify.Change{}, false},
		"joining a room": {notify.Change{Joins: []notify.RoomUser{{Room: office, User: anna, Joined: true}}}, true},
	} {
		n := notify.New()
		w := n.Register(notify.Interest{User: anna, Rooms: []id.RoomID{ward}})
		n.Wake(c.change)
		if got := woken(w); got != c.want {
			t.Errorf("%s: woken %v", name, got)
		}
		w.Close()
		n.Wake(c.change)
		if woken(w) {
			t.Errorf("%s: woken after Close", name)
		}
		if w.Close(); n.Waiting() != 0 {
			t.Errorf("%s: %d still wait", name, n.Waiting())
		}
	}
}

func TestWaitersFollowMemberships(t *testing.T) {
	n := notify.New()
	w := n.Register(notify.Interest{User: anna})
	defer w.Close()
	n.Wake(notify.Change{Joins: []notify.RoomUser{{Room: ward, User: anna, Joined: true}}})
	woken(w)
	n.Wake(notify.Change{Rooms: []id.RoomID{ward}})
	if !woken(w) {
		t.Error("not woken for the new room")
	}
	n.Wake(notify.Change{Joins: []notify.RoomUser{{Room: ward, User: anna}}})
	if !woken(w) {
		t.Error("not told of the end")
	}
	n.Wake(notify.Change{Rooms: []id.RoomID{ward}})
	if woken(w) {
		t.Error("woken for a room that was left")
	}
}

func TestHintsAddUp(t *testing.T) {
	n := notify.New()
	w := n.Register(notify.Interest{User: anna})
	defer w.Close()
	n.Wake(notify.Change{Pos: 9, Users: []id.UserID{anna}, Kind: notify.ToDevice})
	n.Wake(notify.Change{Pos: 7, Users: []id.UserID{anna}})
	pos, kinds, err := w.Next(context.Background())
	if err != nil || pos != 9 || kinds != notify.ToDevice|notify.Events {
		t.Errorf("position %d, kinds %b, %v", pos, kinds, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := w.Next(ctx); err == nil {
		t.Error("a hint that nobody gave")
	}
}

func TestFollowersHearTheirKinds(t *testing.T) {
	n := notify.New()
	sender, search := n.Follow("federation", notify.Events|notify.Outgoing), n.Follow("search", 0)
	if n.Follow("federation", notify.Outgoing) != sender {
		t.Error("two channels for one follower")
	}
	n.Wake(notify.Change{Kind: notify.Presence})
	if len(sender) != 0 || len(search) != 1 {
		t.Errorf("presence: %d and %d hints", len(sender), len(search))
	}
	n.Wake(notify.Change{Kind: notify.Outgoing})
	n.Wake(notify.Change{Kind: notify.Outgoing})
	if len(sender) != 1 {
		t.Errorf("%d hints", len(sender))
	}
}

func TestNobodySleepsThroughAChange(t *testing.T) {
	n := notify.New()
	var wg sync.WaitGroup
	for range 8 {
		w := n.Register(notify.Interest{User: anna})
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer w.Close()
			for pos := int64(0); pos < 100; {
				var err error
				if pos, _, err = w.Next(context.Background()); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	for pos := range int64(101) {
		n.Wake(notify.Change{Pos: pos, Users: []id.UserID{anna}})
	}
	wg.Wait()
}

func TestListenersOutlastTheirWaits(t *testing.T) {
	n := notify.New()
	in := notify.Interest{User: anna, Rooms: []id.RoomID{ward}, Version: 7}
	n.Register(in).Close()
	n.Wake(notify.Change{Joins: []notify.RoomUser{{Room: office, User: anna, Joined: true}}}) // between two waits
	w := n.Register(in)
	defer w.Close()
	for _, room := range []id.RoomID{ward, office} {
		if n.Wake(notify.Change{Rooms: []id.RoomID{room}}); !woken(w) {
			t.Errorf("not woken for %s", room)
		}
	}
	again := n.Register(notify.Interest{User: anna, Rooms: []id.RoomID{ward, "!new:x"}, Version: 8})
	defer again.Close()
	if n.Wake(notify.Change{Rooms: []id.RoomID{"!new:x"}}); !woken(again) {
		t.Error("rooms of a new version are not followed")
	}
}

func TestForgetsWhoStaysAway(t *testing.T) {
	n := notify.New()
	for i := range 1000 {
		user := id.UserID("@user" + strconv.Itoa(i) + ":x")
		n.Register(notify.Interest{User: user, Rooms: []id.RoomID{ward}, Version: 1}).Close()
	}
	if kept := n.Resting(); kept > 64 {
		t.Errorf("%d listeners are kept", kept)
	}
	w := n.Register(notify.Interest{User: "@user0:x", Rooms: []id.RoomID{ward}, Version: 1})
	defer w.Close()
	if n.Wake(notify.Change{Rooms: []id.RoomID{ward}}); !woken(w) {
		t.Error("who was forgotten is not woken")
	}
}
