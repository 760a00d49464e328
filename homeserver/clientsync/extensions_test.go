package clientsync_test

import (
	"strings"
	"testing"
)

func TestPresence(t *testing.T) {
	d := newDomain(t)
	alice, bob, carol := d.user("alice"), d.user("bob"), d.user("carol")
	in := alice.create()
	alice.sync()
	bob.sync()
	bob.join(in)
	users := func(v value) string {
		var all []string
		for _, ev := range v.list("presence", "events") {
			if ev.text("sender") != string(bob.user) {
				all = append(all, ev.text("sender"))
			}
		}
		return strings.Join(all, " ")
	}
	expect(t, "in the room entered", users(bob.sync()), string(alice.user))
	expect(t, "told once", users(bob.sync()), "")
	carol.sync() // comes online, but shares no room
	expect(t, "a stranger", users(bob.sync()), "")
	carol.join(in)
	expect(t, "who entered", users(bob.sync()), string(carol.user))
}

func TestDeviceLists(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in := alice.create()
	alice.sync()
	bob.join(in)
	v := alice.sync()
	expect(t, "who entered", v.at("device_lists", "changed").v, []any{string(bob.user)})
	bob.newDevice()
	expect(t, "new device", alice.sync().at("device_lists", "changed").v, []any{string(bob.user)})
	expect(t, "no news", alice.sync().at("device_lists").exists(), false)
	since := alice.since
	bob.member(in, "leave", nil)
	expect(t, "who left", alice.sync().at("device_lists", "left").v, []any{string(bob.user)})
	expect(t, "asked again", alice.look("since", since).at("device_lists", "left").v, []any{string(bob.user)})
}

func TestFullState(t *testing.T) {
	d := newDomain(t)
	alice := d.user("alice")
	in := alice.create()
	alice.sync()
	v := alice.look("since", alice.since, "full_state", "true")
	if state := words(v.joined(in).list("state", "events")); !has(state, "create") || !has(state, "alice:join") {
		t.Errorf("state: %s", state)
	}
	expect(t, "timeline", v.joined(in).timeline(), "")
	expect(t, "limited", v.joined(in).at("timeline", "limited").v, false)
}
