package federation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (d *domain) membership(roomID id.RoomID, user id.UserID) string {
	d.t.Helper()
	m, err := d.rooms.Membership(ctx, roomID, user)
	if err != nil {
		d.t.Fatal(err)
	}
	return m
}

// listed is the membership in a user's own list of rooms, which also knows rooms we are not in.
func (d *domain) listed(roomID id.RoomID, user id.UserID) string {
	d.t.Helper()
	rooms, err := d.rooms.UserRooms(ctx, user)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, r := range rooms {
		if r.Room == roomID {
			return r.Membership
		}
	}
	return ""
}

func code(err error) string {
	e, _ := mxerr.As(err)
	if e == nil {
		return fmt.Sprint(err)
	}
	return fmt.Sprint(e.Status, " ", e.Code)
}

func TestTwoServersTalk(t *testing.T) {
	for _, version := range []string{"1", "2", "3", "6", "10", "11", "12"} {
		t.Run("v"+version, func(t *testing.T) {
			w := newWorld(t)
			one, two := w.server("one"), w.server("two")
			alice, bob := one.user("alice"), two.user("bob")
			roomID := one.create(alice, func(r *room.CreateRequest) { r.Version = version; r.Name = "Station 3" })
			before := one.say(roomID, alice, "before")
			two.join(roomID, bob, one.name)
			if m := two.membership(roomID, bob); m != "join" {
				t.Fatalf("bob is %q", m)
			}
			one.until("heard of the join", func() bool { return one.membership(roomID, bob) == "join" })
			first := one.say(roomID, alice, "hello")
			two.gets(first)
			second := two.say(roomID, bob, "hello yourself")
			one.gets(second)
			if two.has(before) {
				t.Error("history came uninvited")
			}
			name, err := two.rooms.StateEvent(ctx, roomID, event.TypeName, "")
			if err != nil || name == nil || string(name.Content) != `{"name":"Station 3"}` {
				t.Errorf("name %v, %v", name, err)
			}
			if _, err := two.rooms.Leave(ctx, room.MembershipChange{Room: roomID, Sender: bob, Target: bob}); err != nil {
				t.Fatal(err)
			}
			one.until("heard of the leave", func() bool { return one.membership(roomID, bob) == "leave" })
		})
	}
}

func TestThreeServersTalk(t *testing.T) {
	w := newWorld(t)
	one, two, three := w.server("one"), w.server("two"), w.server("three")
	alice, bob, carol := one.user("alice"), two.user("bob"), three.user("carol")
	roomID := one.create(alice)
	two.join(roomID, bob, one.name)
	three.join(roomID, carol, two.name) // through one that has joined itself
	one.until("heard of carol", func() bool { return one.membership(roomID, carol) == "join" })
	for i, d := range []*domain{one, two, three} {
		ev := d.say(roomID, []id.UserID{alice, bob, carol}[i], "hello")
		for _, other := range []*domain{one, two, three} {
			other.gets(ev)
		}
	}
}

// Servers that do not answer, or know nothing of the room, are passed over; what the client is told is the best reason.
func TestJoinsFailOver(t *testing.T) {
	w := newWorld(t)
	one, two, ignorant := w.server("one"), w.server("two"), w.stranger("ignorant")
	ignorant.handle("make_join", func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusNotFound)
		fmt.Fprint(rw, `{"errcode":"M_NOT_FOUND","error":"Unknown room"}`)
	})
	roomID := one.create(one.user("alice"))
	two.join(roomID, two.user("bob"), "gone.localhost:1", ignorant.name, one.name)

	private := one.create(one.user("alice"), func(r *room.CreateRequest) { r.Preset = "private_chat" })
	err := two.fed.Join(ctx, joinOf(two.user("bob"), private, ignorant.name, one.name))
	if code(err) != "403 M_FORBIDDEN" {
		t.Errorf("a room one is not invited to: %s", code(err))
	}
	if err := two.fed.Join(ctx, joinOf(two.user("bob"), "!nowhere:"+id.RoomID(one.name))); code(err) != "404 M_NOT_FOUND" {
		t.Errorf("an unknown room: %s", code(err))
	}
	if err := two.fed.Join(ctx, joinOf(two.user("bob"), "!nowhere:gone.localhost:1")); code(err) != "502 M_CONNECTION_FAILED" {
		t.Errorf("a server that is gone: %s", code(err))
	}
}

// Clients repeat a join that takes long; it is made once.
func TestConcurrentJoinsAreOne(t *testing.T) {
	w := newWorld(t)
	one, two := w.server("one"), w.server("two")
	roomID := one.create(one.user("alice"))
	done := make(chan error)
	for range 4 {
		go func() { done <- two.fed.Join(ctx, joinOf(two.user("bob"), roomID, one.name)) }()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := one.requests("send_join"); n != 1 {
		t.Errorf("joined %d times", n)
	}
}

// invited lets one of one's users invite somebody of another server.
func (d *domain) invites(roomID id.RoomID, sender, target id.UserID) error {
	_, err := d.fed.Invite(ctx, room.MembershipChange{Room: roomID, Sender: sender, Target: target})
	return err
}

func TestInvitesAreTakenAndRejected(t *testing.T) {
	for _, version := range []string{"2", "10", "12"} {
		t.Run("v"+version, func(t *testing.T) {
			w := newWorld(t)
			one, two := w.server("one"), w.server("two")
			alice, bob := one.user("alice"), two.user("bob")
			private := func(r *room.CreateRequest) { r.Preset, r.Version, r.Name = "private_chat", version, "Visite" }
			taken, rejected, rescinded := one.create(alice, private), one.create(alice, private), one.create(alice, private)
			for _, roomID := range []id.RoomID{taken, rejected, rescinded} {
				if err := one.invites(roomID, alice, bob); err != nil {
					t.Fatal(err)
				}
				if m := two.listed(roomID, bob); m != "invite" {
					t.Fatalf("bob is %q", m)
				}
			}
			if rooms, err := two.rooms.UserRooms(ctx, bob); err != nil || !bytes.Contains(rooms[0].Stripped, []byte(`"origin_server_ts"`)) {
				t.Errorf("the create event is not whole (MSC4311): %s, %v", rooms[0].Stripped, err)
			}
			two.join(taken, bob) // no via: the inviter is asked
			one.until("heard of the join", func() bool { return one.membership(taken, bob) == "join" })

			if err := two.fed.Leave(ctx, room.MembershipChange{Room: rejected, Sender: bob, Target: bob}, nil); err != nil {
				t.Fatal(err)
			}
			if m := two.listed(rejected, bob); m != "leave" {
				t.Errorf("after rejecting, bob is %q here", m)
			}
			one.until("heard of the rejection", func() bool { return one.membership(rejected, bob) == "leave" })
			// Once more: invited again, rejected again.
			if err := one.invites(rejected, alice, bob); err != nil {
				t.Fatal(err)
			}
			if m := two.listed(rejected, bob); m != "invite" {
				t.Errorf("invited again, bob is %q", m)
			}

			if _, err := one.rooms.Kick(ctx, room.MembershipChange{Room: rescinded, Sender: alice, Target: bob}); err != nil {
				t.Fatal(err)
			}
			two.until("heard that the invite is taken back", func() bool { return two.listed(rescinded, bob) == "leave" })
		})
	}
}

// What a server is told of a room through its queue comes before a handshake that was begun later: a leave that arrives after
// the next join would take the user out again.
func TestHandshakesWaitForOlderEvents(t *testing.T) {
	w := newWorld(t)
	one, two := w.server("one"), w.server("two")
	alice, bob := one.user("alice"), two.user("bob")
	roomID := one.create(alice)
	two.join(roomID, bob, one.name)
	if _, err := two.rooms.Leave(ctx, room.MembershipChange{Room: roomID, Sender: bob, Target: bob}); err != nil {
		t.Fatal(err)
	}
	api, overtaken := *one.api.Load(), make(chan struct{})
	var once sync.Once
	var slow http.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch kindOf(r.URL.Path) {
		case "send":
			select {
			case <-overtaken:
			case <-time.After(300 * time.Millisecond): // long for a request on loopback
			}
		case "make_join":
			if one.membership(roomID, bob) != "leave" {
				t.Error("the join overtakes the leave")
			}
			once.Do(func() { close(overtaken) })
		}
		api.ServeHTTP(rw, r)
	})
	one.api.Store(&slow)
	two.join(roomID, bob, one.name)
	if m := one.membership(roomID, bob); m != "join" {
		t.Errorf("bob is %q there", m)
	}
	// Who takes nothing is not waited for.
	var failing http.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if kindOf(r.URL.Path) == "send" {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		api.ServeHTTP(rw, r)
	})
	one.api.Store(&failing)
	two.say(roomID, bob, "not taken")
	two.join(roomID, two.user("carol"), one.name)
}

// Only who invited can take an invite back while we can not check the room's rules.
func TestInvitesAreTakenBackByTheInviterOnly(t *testing.T) {
	w := newWorld(t)
	one, two := w.server("one"), w.server("two")
	alice, eve, bob := one.user("alice"), one.user("eve"), two.user("bob")
	roomID := one.create(alice, func(r *room.CreateRequest) { r.Preset = "private_chat"; r.Invite = []id.UserID{eve} })
	if _, err := one.rooms.Join(ctx, room.MembershipChange{Room: roomID, Sender: eve, Target: eve}); err != nil {
		t.Fatal(err)
	}
	common := one.create(alice)
	two.join(common, bob, one.name)
	if err := one.invites(roomID, eve, bob); err != nil {
		t.Fatal(err)
	}
	if _, err := one.rooms.Kick(ctx, room.MembershipChange{Room: roomID, Sender: alice, Target: bob}); err != nil {
		t.Fatal(err)
	}
	two.gets(one.say(common, alice, "sent after the kick"))
	if m := two.listed(roomID, bob); m != "invite" {
		t.Errorf("bob is %q", m)
	}
}

// A22: what is no proper invite of a user of ours is not signed.
func TestA22BadInvitesAreNotSigned(t *testing.T) {
	w := newWorld(t)
	us, other := w.server("us"), w.stranger("other")
	bob := us.user("bob")
	for name, c := range map[string]struct {
		change func(t *event.Template)
		raw    string // replaces the body's invite_room_state
		vers   string
	}{
		"a join":                   {change: func(t *event.Template) { t.Content = []byte(`{"membership":"join"}`) }},
		"another type":             {change: func(t *event.Template) { t.Type = "m.room.topic" }},
		"a user of another server": {change: func(t *event.Template) { k := "@x:else.test"; t.StateKey = &k }},
		"a sender of another":      {change: func(t *event.Template) { t.Sender = "@x:else.test" }},
		"another room":             {change: func(t *event.Template) { t.RoomID = "!another:x.test" }},
		"a version nobody knows":   {vers: "99"},
		"garbage as state (v12)":   {raw: `[{"type":5}]`, vers: "12"},
		"no create event (v12)":    {raw: `[]`, vers: "12"},
		"stripped events (v12)":    {raw: `[{"type":"m.room.create","state_key":"","sender":"@a:b.test","content":{}}]`, vers: "12"},
		"state that is not a list": {raw: `{}`},
		"state of numbers is fine": {raw: `[1,null,{"type":"m.room.name","state_key":"","sender":"@a:b.test","content":{"name":"x"}}]`},
		"a proper one":             {},
	} {
		t.Run(name, func(t *testing.T) {
			roomID := id.RoomID("!room:" + string(other.name))
			version := "11"
			if c.vers == "12" {
				version, roomID = "12", "!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			}
			key := string(bob)
			tmpl := event.Template{RoomID: roomID, Sender: other.user("eve"), Type: event.TypeMember, StateKey: &key,
				Content: []byte(`{"membership":"invite"}`), PrevEvents: []id.EventID{id.EventID(many(1)[0])}, AuthEvents: []id.EventID{id.EventID(many(1)[0])}, Depth: 3, OriginServerTS: 1}
			if c.change != nil {
				c.change(&tmpl)
			}
			ev := other.buildIn(version, tmpl)
			if c.vers != "" {
				version = c.vers
			}
			state := c.raw
			if state == "" {
				state = "[]"
			}
			body := fmt.Sprintf(`{"room_version":%q,"event":%s,"invite_room_state":%s}`, version, ev.JSON, state)
			status, answer := other.signedRaw(us.name, "PUT", "/_matrix/federation/v2/invite/"+string(roomID)+"/"+string(ev.ID), []byte(body))
			good := c.change == nil && c.vers == "" && state != "{}"
			if good != (status == 200) || !good && status != 400 && status != 403 {
				t.Errorf("status %d: %s", status, answer)
			}
		})
	}
	rooms, err := us.rooms.UserRooms(ctx, bob)
	if err != nil || len(rooms) != 1 {
		t.Fatalf("bob's rooms: %v, %v", rooms, err)
	}
	var stripped []map[string]any
	if err := json.Unmarshal(rooms[0].Stripped, &stripped); err != nil {
		t.Errorf("stripped state is no list of objects: %s", rooms[0].Stripped)
	}
}

func TestKnocking(t *testing.T) {
	w := newWorld(t)
	one, two := w.server("one"), w.server("two")
	alice, bob := one.user("alice"), two.user("bob")
	roomID := one.create(alice, func(r *room.CreateRequest) {
		r.Preset = "private_chat"
		r.InitialState = []room.InitialState{{Type: event.TypeJoinRules, Content: json.RawMessage(`{"join_rule":"knock"}`)}}
	})
	if err := two.fed.Knock(ctx, joinOf(bob, roomID, one.name)); err != nil {
		t.Fatal(err)
	}
	one.until("heard the knock", func() bool { return one.membership(roomID, bob) == "knock" })
	if m := two.listed(roomID, bob); m != "knock" {
		t.Errorf("bob is %q here", m)
	}
	if err := one.invites(roomID, alice, bob); err != nil {
		t.Fatal(err)
	}
	two.join(roomID, bob, one.name)
	// Taken back, over the same way as an invite is rejected.
	carol := two.user("carol")
	second := one.create(alice, func(r *room.CreateRequest) {
		r.Preset = "private_chat"
		r.InitialState = []room.InitialState{{Type: event.TypeJoinRules, Content: json.RawMessage(`{"join_rule":"knock"}`)}}
	})
	if err := two.fed.Knock(ctx, joinOf(carol, second, one.name)); err != nil {
		t.Fatal(err)
	}
	if err := two.fed.Leave(ctx, room.MembershipChange{Room: second, Sender: carol, Target: carol}, []id.ServerName{one.name}); err != nil {
		t.Fatal(err)
	}
	one.until("heard that it is taken back", func() bool { return one.membership(second, carol) == "leave" })
	if err := two.fed.Knock(ctx, joinOf(bob, one.create(alice), one.name)); code(err) != "403 M_FORBIDDEN" {
		t.Errorf("knock on a public room: %s", code(err))
	}
}

// A restricted room lets in who is in the other room; a member of the resident vouches, and all servers can check that.
func TestRestrictedRooms(t *testing.T) {
	w := newWorld(t)
	one, two := w.server("one"), w.server("two")
	alice, bob, carol := one.user("alice"), two.user("bob"), two.user("carol")
	ward := one.create(alice)
	rules := fmt.Sprintf(`{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":%q}]}`, ward)
	inner := one.create(alice, func(r *room.CreateRequest) {
		r.Preset = "private_chat"
		r.InitialState = []room.InitialState{{Type: event.TypeJoinRules, Content: json.RawMessage(rules)}}
	})
	if err := two.fed.Join(ctx, joinOf(bob, inner, one.name)); code(err) != "403 M_FORBIDDEN" {
		t.Errorf("without the other room: %s", code(err))
	}
	two.join(ward, bob, one.name)
	one.until("heard of the join", func() bool { return one.membership(ward, bob) == "join" })
	two.join(inner, bob, one.name)
	join, err := two.rooms.StateEvent(ctx, inner, event.TypeMember, string(bob))
	if err != nil || join == nil {
		t.Fatal(err)
	}
	if via := join.AuthorisedVia(); via != alice || !slices.Contains(join.Signers(), one.name) || !slices.Contains(join.Signers(), two.name) {
		t.Errorf("vouched by %q, signed by %v", via, join.Signers())
	}
	if err := two.fed.Join(ctx, joinOf(carol, inner, one.name)); code(err) != "403 M_FORBIDDEN" {
		t.Errorf("carol: %s", code(err))
	}
}

func TestHistoryIsBackfilled(t *testing.T) {
	w := newWorld(t)
	one, two := w.server("one"), w.server("two")
	alice, bob := one.user("alice"), two.user("bob")
	roomID := one.create(alice)
	var past []id.EventID
	for i := range 30 {
		past = append(past, one.say(roomID, alice, fmt.Sprint("past ", i)))
	}
	two.join(roomID, bob, one.name)
	for range 10 {
		info, err := two.rooms.Room(ctx, roomID)
		if err != nil {
			t.Fatal(err)
		}
		n, err := two.fed.Backfill(ctx, roomID, info.Missing, 20)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	for i, ev := range past {
		if !two.has(ev) {
			t.Fatalf("event %d of the past is missing", i)
		}
	}
	create, err := two.rooms.StateEvent(ctx, roomID, event.TypeCreate, "")
	if err != nil || !two.has(create.ID) {
		t.Errorf("the history does not reach the beginning: %v", err)
	}
	if n, err := two.fed.Backfill(ctx, roomID, nil, 20); n != 0 || err != nil {
		t.Errorf("at the beginning: %d, %v", n, err)
	}
}

func TestEventsOfThePastByTime(t *testing.T) {
	w := newWorld(t)
	one, two := w.server("one"), w.server("two")
	alice, bob := one.user("alice"), two.user("bob")
	roomID := one.create(alice)
	past := one.say(roomID, alice, "long ago")
	ev, err := one.rooms.Event(ctx, past)
	if err != nil {
		t.Fatal(err)
	}
	one.say(roomID, alice, "later")
	two.join(roomID, bob, one.name)
	found, err := two.fed.TimestampToEvent(ctx, roomID, ev.OriginServerTS, true)
	if err != nil {
		t.Fatal(err)
	}
	if found.OriginServerTS < ev.OriginServerTS || !two.has(found.ID) {
		t.Errorf("found %+v", found)
	}
}

func TestAliasesAndDirectories(t *testing.T) {
	w := newWorld(t)
	one, two := w.server("one"), w.server("two")
	alice := one.user("alice")
	roomID := one.create(alice)
	alias := id.RoomAlias("#ward:" + string(one.name))
	if err := one.rooms.CreateAlias(ctx, alice, alias, roomID); err != nil {
		t.Fatal(err)
	}
	found, servers, err := two.fed.ResolveAlias(ctx, alias)
	if err != nil || found != roomID || !slices.Contains(servers, one.name) {
		t.Errorf("%s %v %v", found, servers, err)
	}
	if _, _, err := two.fed.ResolveAlias(ctx, "#none:"+id.RoomAlias(one.name)); code(err) != "404 M_NOT_FOUND" {
		t.Errorf("unknown alias: %s", code(err))
	}
	rooms, err := two.fed.PublicRooms(ctx, one.name, json.RawMessage(`{}`))
	if err != nil || len(rooms) == 0 {
		t.Errorf("public rooms %s, %v", rooms, err)
	}
	space, err := two.fed.Hierarchy(ctx, roomID, []id.ServerName{one.name}, false)
	if err != nil || len(space.Room) == 0 {
		t.Errorf("hierarchy %+v, %v", space, err)
	}
}

// A server gets nothing of what was said before it joined, also when a restart makes us say it again.
func TestNothingFromBeforeTheJoinIsSent(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	first, late := w.stranger("first").receives(), w.stranger("late").receives()
	alice := us.user("alice")
	roomID := us.create(alice)
	first.joins(us, roomID)
	us.say(roomID, alice, "before")
	late.joins(us, roomID)
	us.restart() // the cursor is saved each second; what came since is gone through again
	us.say(roomID, alice, "after")
	us.until("sent", func() bool { return contains(late.got(), "after") })
	if contains(late.got(), "before") || len(late.got()) != 1 {
		t.Errorf("the late one got %v", late.got())
	}
}
