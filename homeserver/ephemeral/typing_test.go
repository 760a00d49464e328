package ephemeral_test

import (
	"testing"
	"time"

	"konsil/homeserver/notify"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func TestTypingIsSeenAndEnds(t *testing.T) {
	w := sqliteWorld(t)
	w.run()
	room := w.room(anna, kurt)
	before := w.Store.Position()
	waiter := w.Notify.Register(notify.Interest{User: kurt, Rooms: []id.RoomID{room}})
	defer waiter.Close()

	tell, err := w.SetTyping(t.Context(), room, anna, true, 10*time.Second)
	must(t, err)
	check(t, tell, true)
	pos, _, err := waiter.Next(t.Context())
	must(t, err)
	check(t, pos > before && pos <= w.Store.Position(), true)
	const annaTypes, nobodyTypes = `{"content":{"user_ids":["@anna:here.test"]},"type":"m.typing"}`, `{"content":{"user_ids":[]},"type":"m.typing"}`
	check(t, string(w.Typing(room, before)), annaTypes)
	check(t, w.Typing(room, pos), nil2())
	check(t, w.TypingRooms(before), map[id.RoomID]int64{room: pos})

	// Typing on tells nobody anything new.
	tell, err = w.SetTyping(t.Context(), room, anna, true, 10*time.Second)
	must(t, err)
	check(t, tell, false)
	check(t, w.Typing(room, pos), nil2())

	w.clock.WaitTimers(1)
	w.clock.Advance(11 * time.Second)
	stopped, _, err := waiter.Next(t.Context())
	must(t, err)
	check(t, string(w.Typing(room, pos)), nobodyTypes)
	check(t, w.Typing(room, stopped), nil2())
}

// nil2 is a nil of the type that Typing gives.
func nil2() []byte { return nil }

func TestTypingCanBeStopped(t *testing.T) {
	w := sqliteWorld(t)
	room := w.room(anna, kurt)
	tell := func(user id.UserID, typing bool) bool {
		t.Helper()
		tell, err := w.SetTyping(t.Context(), room, user, typing, 0)
		must(t, err)
		return tell
	}
	check(t, []bool{tell(anna, true), tell(kurt, true), tell(anna, false), tell(anna, false)}, []bool{true, true, true, false})
	check(t, string(w.Typing(room, 0)), `{"content":{"user_ids":["@kurt:here.test"]},"type":"m.typing"}`)
	_, err := w.SetTyping(t.Context(), room, "@eve:here.test", true, 0)
	wantCode(t, err, mxerr.CodeForbidden)
	_, err = w.SetTyping(t.Context(), "!none:here.test", anna, true, 0)
	if err == nil {
		t.Error("typing in a room that does not exist")
	}
}

// A24: typing of users that are not the sender's or not in the room is dropped.
func TestA24Typing(t *testing.T) {
	w := sqliteWorld(t)
	room := w.room(anna)
	w.joinRemote(room)
	receive := func(origin id.ServerName, edu string) {
		t.Helper()
		must(t, w.ReceiveTyping(t.Context(), origin, []byte(edu)))
	}
	for _, edu := range []string{
		`{}`, `[]`, `{"room_id":"` + string(room) + `","user_id":"@bob:there.test"}`,
		`{"room_id":"` + string(room) + `","user_id":"@eve:there.test","typing":true}`,
		`{"room_id":"` + string(room) + `","user_id":"@anna:here.test","typing":true}`,
		`{"room_id":"nonsense","user_id":"@bob:there.test","typing":true}`,
		`{"room_id":"!other:there.test","user_id":"@bob:there.test","typing":true}`,
	} {
		receive(there, edu)
	}
	good := `{"room_id":"` + string(room) + `","user_id":"@bob:there.test","typing":true}`
	receive("third.test", good)
	check(t, w.Typing(room, 0), nil2())
	receive(there, good)
	check(t, string(w.Typing(room, 0)), `{"content":{"user_ids":["@bob:there.test"]},"type":"m.typing"}`)
}
