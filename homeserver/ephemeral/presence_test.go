package ephemeral_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"konsil/homeserver/ephemeral"
	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (w *world) presenceOf(asker, user id.UserID) string {
	w.t.Helper()
	got, err := w.GetPresence(w.t.Context(), asker, user)
	must(w.t, err)
	return string(got)
}

// seen lists the presence changes a user sees after a position.
func (w *world) seen(user id.UserID, after int64) []string {
	w.t.Helper()
	var all []store.Presence
	must(w.t, w.Store.Read(w.t.Context(), func(tx *store.Tx) (err error) {
		all, err = tx.Presences(w.t.Context(), user, after, w.Store.Position())
		return err
	}))
	var got []string
	for _, p := range all {
		got = append(got, string(p.User)+" "+p.State)
	}
	return got
}

func TestPresenceIsSharedWithRoomMembers(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.room(anna, kurt)
		before := w.Store.Position()
		status := "in theatre"
		must(t, w.SetPresence(t.Context(), anna, ephemeral.Online, &status))
		w.clock.Advance(3 * time.Second)
		const online = `{"presence":"online","last_active_ago":3000,"status_msg":"in theatre","currently_active":true}`
		check(t, w.presenceOf(kurt, anna), online)
		check(t, w.seen(kurt, before), []string{"@anna:here.test online"})
		check(t, len(w.seen("@eve:here.test", before)), 0)
		_, err := w.GetPresence(t.Context(), "@eve:here.test", anna)
		wantCode(t, err, mxerr.CodeForbidden)
		check(t, w.presenceOf(kurt, kurt), `{"presence":"offline"}`)
		wantCode(t, w.SetPresence(t.Context(), anna, "busy", nil), mxerr.CodeInvalidParam)
		long := strings.Repeat("x", 513)
		wantCode(t, w.SetPresence(t.Context(), anna, "online", &long), mxerr.CodeTooLarge)
	})
}

func TestSyncMakesOnline(t *testing.T) {
	w := sqliteWorld(t)
	w.run()
	w.room(anna, kurt)
	waiter := w.Notify.Register(notify.Interest{User: anna})
	defer waiter.Close()
	states := func() []string { return w.seen(anna, 0) }
	sync := func(set string) func() {
		t.Helper()
		done, err := w.Syncing(t.Context(), anna, set)
		must(t, err)
		return done
	}
	sync(ephemeral.Offline)() // polls in the background show nobody
	check(t, len(states()), 0)
	done := sync("")
	check(t, states(), []string{"@anna:here.test online"})
	sync(ephemeral.Unavailable)()
	check(t, states(), []string{"@anna:here.test unavailable"})
	sync("")()
	check(t, states(), []string{"@anna:here.test online"})
	// Who says "unavailable" stays it while their clients sync.
	must(t, w.SetPresence(t.Context(), anna, ephemeral.Unavailable, nil))
	sync("")()
	check(t, states(), []string{"@anna:here.test unavailable"})
	w.Active(t.Context(), anna)
	check(t, states(), []string{"@anna:here.test unavailable"})

	// The last sync ends, and half a minute later they are gone.
	done()
	drain(waiter)
	w.clock.WaitTimers(1)
	w.clock.Advance(31 * time.Second)
	_, _, err := waiter.Next(t.Context())
	must(t, err)
	check(t, states(), []string{"@anna:here.test offline"})
}

func drain(w *notify.Waiter) {
	select {
	case <-w.C():
	default:
	}
}

func TestIdleBecomesUnavailable(t *testing.T) {
	w := sqliteWorld(t)
	w.run()
	w.room(anna)
	waiter := w.Notify.Register(notify.Interest{User: anna})
	defer waiter.Close()
	done, err := w.Syncing(t.Context(), anna, "")
	must(t, err)
	defer done()
	drain(waiter)
	// The keeper may still be on its way to the timer that counts, so time goes on until it has spoken.
	for spoken := false; !spoken; {
		w.clock.WaitTimers(1)
		w.clock.Advance(31 * time.Second)
		select {
		case <-waiter.C():
			spoken = true
		case <-time.After(time.Millisecond):
		}
	}
	check(t, w.seen(anna, 0), []string{"@anna:here.test unavailable"})
	w.Active(t.Context(), anna)
	check(t, w.seen(anna, 0), []string{"@anna:here.test online"})
}

// A24: presence of users that are not the sender's or share no room is dropped.
func TestA24Presence(t *testing.T) {
	w := sqliteWorld(t)
	receive := func(origin id.ServerName, user id.UserID, more string) {
		t.Helper()
		must(t, w.ReceivePresence(t.Context(), origin, []byte(fmt.Sprintf(
			`{"push":[{"user_id":%q,"presence":"online","last_active_ago":5000%s}]}`, user, more))))
	}
	room := w.room(anna)
	receive(there, bob, "")
	check(t, len(w.seen(anna, 0)), 0)
	w.joinRemote(room)
	receive("third.test", bob, "")
	receive(there, anna, "")
	receive(there, "@eve:there.test", "")
	must(t, w.ReceivePresence(t.Context(), there, []byte(`{"push":[{"user_id":"@bob:there.test","presence":"dancing"},7]}`)))
	check(t, len(w.seen(anna, 0)), 0)
	receive(there, bob, `,"status_msg":"there","currently_active":true`)
	check(t, w.presenceOf(anna, bob), `{"presence":"online","last_active_ago":5000,"status_msg":"there","currently_active":true}`)
}

func TestPresenceIsOffByDefault(t *testing.T) {
	w := sqliteWorld(t)
	w.room(anna)
	cfg := w.Config
	cfg.Presence = false
	off := ephemeral.New(cfg)
	must(t, off.SetPresence(t.Context(), anna, ephemeral.Online, nil))
	done, err := off.Syncing(t.Context(), anna, "")
	must(t, err)
	done()
	off.Active(t.Context(), anna)
	must(t, off.ReceivePresence(t.Context(), there, []byte(`{"push":[{"user_id":"@bob:there.test","presence":"online","last_active_ago":1}]}`)))
	check(t, len(w.seen(anna, 0)), 0)
}
