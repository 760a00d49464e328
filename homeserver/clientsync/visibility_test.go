package clientsync_test

import (
	"strings"
	"testing"

	"konsil/matrix/id"
)

// TestB09HistoryVisibility is the matrix of history visibility and membership on all ways of a sync. What is not in the row
// must not be told. CS v1.16 #room-history-visibility
func TestB09HistoryVisibility(t *testing.T) {
	for visibility, want := range map[string]string{
		"world_readable": "before invited joined",
		"shared":         "before invited joined",
		"invited":        "invited joined",
		"joined":         "joined",
	} {
		t.Run(visibility, func(t *testing.T) {
			d := newDomain(t)
			alice, bob, eve := d.user("alice"), d.user("bob"), d.user("eve")
			in := alice.createWith(object{"preset": "private_chat", "initial_state": []object{
				{"type": "m.room.history_visibility", "state_key": "", "content": object{"history_visibility": visibility}}}})
			check := func(what string, v value, want string) {
				t.Helper()
				expect(t, what, said(v.joined(in))+said(v.left(in)), want)
			}
			wide := `{"room":{"include_leave":true,"timeline":{"limit":100}}}`
			bob.sync()
			alice.say(in, "before")
			check("a stranger", bob.sync("filter", wide), "")
			alice.member(in, "invite", bob)
			alice.say(in, "invited")
			invited := bob.look("filter", wide)
			check("invited", invited, "")
			expect(t, "secret in the invite", strings.Contains(words(invited.list("rooms", "invite", string(in), "invite_state", "events")), "invited"), false)
			start := bob.since
			bob.join(in)
			alice.say(in, "joined")
			check("entered, initial", bob.look("filter", wide), want)
			check("entered, incremental", bob.look("since", start, "filter", wide), want)
			check("entered, all state", bob.look("since", start, "filter", wide, "full_state", "true"), want)
			bob.sync()
			inside := bob.since
			alice.say(in, "parting")
			bob.member(in, "leave", nil)
			alice.say(in, "left")
			alice.state(in, "m.room.topic", "", object{"topic": "left"})
			check("left, incremental", bob.look("since", inside, "filter", wide), "parting")
			check("left, initial", bob.look("filter", wide), want+" parting")
			check("left, from before the join", bob.look("since", start, "filter", wide), want+" parting")
			for _, v := range []value{bob.look("filter", wide), bob.look("since", start, "filter", wide, "full_state", "true")} {
				if has(words(v.left(in).list("state", "events"))+" "+v.left(in).timeline(), "topic") {
					t.Error("state from after the leave")
				}
			}
			alice.member(in, "invite", bob)
			alice.say(in, "invited-again")
			bob.join(in)
			alice.say(in, "back")
			again := map[string]string{"world_readable": " parting left invited-again back", "shared": " parting left invited-again back",
				"invited": " parting invited-again back", "joined": " parting back"}[visibility]
			check("back, initial", bob.look("filter", wide), want+again)
			alice.member(in, "ban", bob)
			alice.say(in, "banned")
			check("banned", bob.look("filter", wide), want+again)
			check("banned, incremental", bob.look("since", inside, "filter", wide), strings.TrimSpace(again))
			check("never in", eve.look("filter", wide), "")
		})
	}
}

// said lists the messages of a timeline.
func said(r value) string {
	var all []string
	for _, ev := range r.list("timeline", "events") {
		if ev.text("type") == "m.room.message" {
			all = append(all, ev.text("content", "body"))
		}
	}
	return strings.Join(all, " ")
}

// TestB09StateIsForMembers: who declined an invite, or was refused, has never seen the state.
func TestB09StateIsForMembers(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	bob.sync()
	in := alice.createWith(object{"preset": "private_chat", "invite": []id.UserID{bob.user}})
	alice.state(in, "com.secret", "", object{"x": 1})
	alice.member(in, "kick", bob)
	for name, v := range map[string]value{
		"incremental": bob.look("since", bob.since),
		"full":        bob.look("since", bob.since, "full_state", "true"),
		"initial":     bob.look("filter", `{"room":{"include_leave":true}}`),
	} {
		r := v.left(in)
		expect(t, name+" timeline", r.timeline(), "bob:leave")
		expect(t, name+" state", len(r.list("state", "events")), 0)
		expect(t, name+" summary", r.at("summary").exists(), false)
	}
}
