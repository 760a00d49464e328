package room_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

func refused(t *testing.T, what string, err error, code string) {
	t.Helper()
	if !mxerr.Is(err, code) {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func TestMembershipChanges(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna, bob, carl := s.user("anna"), s.user("bob"), s.user("carl")
	r := s.create(anna, func(c *room.CreateRequest) { c.Preset = "private_chat" })
	change := func(sender, target id.UserID) room.MembershipChange {
		return room.MembershipChange{Room: r, Sender: sender, Target: target, Reason: "because"}
	}
	expect := func(user id.UserID, want string) {
		t.Helper()
		if m, err := s.Membership(ctx, r, user); m != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", user, m, err, want)
		}
	}
	_, err := s.Join(ctx, change(bob, bob))
	refused(t, "join without invite", err, mxerr.CodeForbidden)
	_, err = s.Kick(ctx, change(anna, bob))
	refused(t, "kick of a stranger", err, mxerr.CodeForbidden)
	_, err = s.Leave(ctx, change(bob, bob))
	refused(t, "leave of a stranger", err, mxerr.CodeForbidden)
	_, err = s.Unban(ctx, change(anna, bob))
	refused(t, "unban of nobody banned", err, mxerr.CodeBadState)
	_, err = s.Invite(ctx, change(carl, bob))
	refused(t, "invite by a stranger", err, mxerr.CodeForbidden)

	must := func(fn func() (id.EventID, error)) id.EventID {
		t.Helper()
		ev, err := fn()
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	invite := must(func() (id.EventID, error) { return s.Invite(ctx, change(anna, bob)) })
	var content map[string]any
	_ = json.Unmarshal(s.get(invite).Content, &content)
	if content["displayname"] != "bob" || content["reason"] != "because" {
		t.Errorf("invite says %v", content)
	}
	first := must(func() (id.EventID, error) { return s.Join(ctx, change(bob, bob)) })
	if again := must(func() (id.EventID, error) { return s.Join(ctx, change(bob, bob)) }); again != first {
		t.Error("joining twice makes two events")
	}
	_, err = s.Kick(ctx, change(bob, anna))
	refused(t, "kick of the creator", err, mxerr.CodeForbidden)
	must(func() (id.EventID, error) { return s.Kick(ctx, change(anna, bob)) })
	expect(bob, "leave")
	if left := must(func() (id.EventID, error) { return s.Leave(ctx, change(bob, bob)) }); left == "" {
		t.Error("leaving twice")
	}
	must(func() (id.EventID, error) { return s.Ban(ctx, change(anna, bob)) })
	_, err = s.Invite(ctx, change(anna, bob))
	refused(t, "invite of a banned user", err, mxerr.CodeForbidden)
	must(func() (id.EventID, error) { return s.Unban(ctx, change(anna, bob)) })
	expect(bob, "leave")
	rooms, err := s.UserRooms(ctx, bob)
	if err != nil || len(rooms) != 1 || rooms[0].Membership != "leave" {
		t.Errorf("bob's rooms %+v, %v", rooms, err)
	}
	if err := s.Forget(ctx, r, anna); !mxerr.Is(err, mxerr.CodeUnknown) {
		t.Errorf("forget while joined: %v", err)
	}
	if err := s.Forget(ctx, r, bob); err != nil {
		t.Error(err)
	}
	if rooms, _ = s.UserRooms(ctx, bob); !rooms[0].Forgotten {
		t.Error("not forgotten")
	}
	_, err = s.Join(ctx, room.MembershipChange{Room: "!else:where.test", Sender: bob, Target: bob})
	if !errors.Is(err, room.ErrNotHere) {
		t.Errorf("join elsewhere: %v", err)
	}
}

func TestClientsCanNotChooseWhatAllowsTheirJoin(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna, bob := s.user("anna"), s.user("bob")
	r := s.create(anna)
	ev, err := s.Join(ctx, room.MembershipChange{Room: r, Sender: bob, Target: bob,
		Content: json.RawMessage(`{"membership":"ban","join_authorised_via_users_server":"@anna:klinik.test","custom":"kept"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(s.get(ev).Content); !strings.Contains(got, `"custom":"kept"`) || strings.Contains(got, "authorised") || !strings.Contains(got, `"join"`) {
		t.Errorf("content %s", got)
	}
}

func TestRestrictedJoins(t *testing.T) {
	for _, v := range roomver.All() {
		if !v.Restricted {
			continue
		}
		t.Run("v"+v.ID, func(t *testing.T) {
			s := newServer(t, "klinik.test")
			anna, bob, carl := s.user("anna"), s.user("bob"), s.user("carl")
			allowed := s.create(anna)
			rule := fmt.Sprintf(`{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":%q}]}`, allowed)
			r := s.create(anna, version(v.ID), func(c *room.CreateRequest) {
				c.InitialState = []room.InitialState{{Type: event.TypeJoinRules, Content: json.RawMessage(rule)}}
			})
			_, err := s.Join(ctx, room.MembershipChange{Room: r, Sender: bob, Target: bob})
			refused(t, "join from outside", err, mxerr.CodeForbidden)
			s.join(allowed, bob)
			ev := s.get(s.join(r, bob))
			if ev.AuthorisedVia() != anna {
				t.Errorf("authorised via %q", ev.AuthorisedVia())
			}
			// Over federation, with the joining user in the allowed room.
			b := newServer(t, "praxis.test")
			dora := b.user("dora")
			refused(t, "remote join from outside", b.tryJoinRemotely(r, dora, s), mxerr.CodeForbidden)
			b.joinRemotely(allowed, dora, s)
			b.joinRemotely(r, dora, s)
			sameState(t, r, s, b)
			// Somebody else on that server is let in by the server of who can invite.
			b.joinRemotely(allowed, b.user("emil"), s)
			_, err = b.Join(ctx, room.MembershipChange{Room: r, Sender: b.user("emil"), Target: b.user("emil")})
			if !errors.Is(err, room.ErrNotHere) {
				t.Errorf("join that nobody here may authorise: %v", err)
			}
			b.joinRemotely(r, b.user("emil"), s)
			sameState(t, r, s, b)
			// Nobody left who may invite.
			s.join(r, bob)
			if _, err := s.Leave(ctx, room.MembershipChange{Room: r, Sender: anna, Target: anna}); err != nil {
				t.Fatal(err)
			}
			_ = carl
		})
	}
}

func TestKnocking(t *testing.T) {
	for _, v := range []string{"7", "10", "11", "12"} {
		t.Run("v"+v, func(t *testing.T) {
			s, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
			anna, bob, dora := s.user("anna"), s.user("bob"), b.user("dora")
			r := s.create(anna, version(v), func(c *room.CreateRequest) {
				c.InitialState = []room.InitialState{{Type: event.TypeJoinRules, Content: json.RawMessage(`{"join_rule":"knock"}`)}}
			})
			if _, err := s.Knock(ctx, room.MembershipChange{Room: r, Sender: bob, Target: bob, Reason: "please"}); err != nil {
				t.Fatal(err)
			}
			if m, _ := s.Membership(ctx, r, bob); m != "knock" {
				t.Errorf("bob: %q", m)
			}
			made, err := s.MakeKnock(ctx, b.name, r, dora, roomver.Names())
			if err != nil {
				t.Fatal(err)
			}
			ver, _ := roomver.Get(made.Version)
			tpl, err := event.ParseTemplate(made.Event, ver)
			if err != nil {
				t.Fatal(err)
			}
			knock, err := event.Build(ver, tpl, b.name, b.key)
			if err != nil {
				t.Fatal(err)
			}
			stripped, err := s.SendKnock(ctx, b.name, r, knock)
			if err != nil || len(stripped) == 0 {
				t.Fatal(stripped, err)
			}
			if err := b.KnockSent(ctx, knock, stripped); err != nil {
				t.Fatal(err)
			}
			rooms, err := b.UserRooms(ctx, dora)
			if err != nil || len(rooms) != 1 || rooms[0].Membership != "knock" || !strings.Contains(string(rooms[0].Stripped), event.TypeJoinRules) {
				t.Errorf("dora's rooms %+v, %v", rooms, err)
			}
			if _, err := b.SendJoin(ctx, "x", r, knock); err == nil {
				t.Error("a knock passes for a join")
			}
			if _, err := s.MakeKnock(ctx, b.name, r, bob, nil); !mxerr.Is(err, mxerr.CodeForbidden) {
				t.Errorf("knock for another server's user: %v", err)
			}
		})
	}
}

// invite sends an invite over to the other server, as federation does.
func (s *server) invite(r id.RoomID, by, whom id.UserID, other *server) *event.PDU {
	s.t.Helper()
	pdu, stripped, err := s.PrepareInvite(ctx, room.MembershipChange{Room: r, Sender: by, Target: whom, IsDirect: true})
	if err != nil {
		s.t.Fatal(err)
	}
	there, err := event.Parse(pdu.JSON, pdu.Version)
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := other.SignInvite(ctx, there, stripped)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.FinishInvite(ctx, signed); err != nil {
		s.t.Fatal(err)
	}
	return signed
}

func TestInvitesOverFederation(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna, bob := a.user("anna"), b.user("bob")
	r := a.create(anna, func(c *room.CreateRequest) { c.Preset, c.Name = "private_chat", "Befund" })
	signed := a.invite(r, anna, bob, b)
	if m, _ := a.Membership(ctx, r, bob); m != "invite" {
		t.Errorf("at anna's: %q", m)
	}
	rooms, err := b.UserRooms(ctx, bob)
	if err != nil || len(rooms) != 1 || rooms[0].Membership != "invite" || !strings.Contains(string(rooms[0].Stripped), "Befund") || rooms[0].Pos == 0 {
		t.Fatalf("at bob's: %+v, %v", rooms, err)
	}
	if !json.Valid(rooms[0].Stripped) || !strings.Contains(string(rooms[0].Stripped), `"membership":"invite"`) {
		t.Errorf("stripped state %s", rooms[0].Stripped)
	}
	b.restart()
	b.joinRemotely(r, bob, a)
	sameState(t, r, a, b)
	if rooms, _ = b.UserRooms(ctx, bob); rooms[0].Membership != "join" || rooms[0].Stripped != nil {
		t.Errorf("after the join: %+v", rooms)
	}
	if ev := b.get(signed.ID); ev.ID != signed.ID {
		t.Error("the invite is lost")
	}
}

// TestInvitesShowWhoMadeTheRoom: the create event that comes with an invite reaches the client whole, if it is; forged parts of others
// do not.
func TestInvitesShowWhoMadeTheRoom(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna, bob := a.user("anna"), b.user("bob")
	r := a.create(anna, version("12"))
	create, err := a.StateEvent(ctx, r, event.TypeCreate, "")
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Replace(create.JSON, []byte(`"origin_server_ts":`), []byte(`"origin_server_ts":1`), 1)
	pdu, _, err := a.PrepareInvite(ctx, room.MembershipChange{Room: r, Sender: anna, Target: bob})
	if err != nil {
		t.Fatal(err)
	}
	for want, sent := range map[int]json.RawMessage{
		6: create.JSON, // content, event_id, origin_server_ts, sender, state_key, type
		4: forged,
	} {
		if _, err := b.SignInvite(ctx, pdu, []json.RawMessage{sent}); err != nil {
			t.Fatal(err)
		}
		rooms, err := b.UserRooms(ctx, bob)
		if err != nil {
			t.Fatal(err)
		}
		var stripped []map[string]any
		if err := json.Unmarshal(rooms[0].Stripped, &stripped); err != nil || len(stripped) != 2 || len(stripped[0]) != want {
			t.Errorf("stripped state %s, %v, want a create event of %d fields", rooms[0].Stripped, err, want)
		}
	}
}

func TestInvitesEnd(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna, bob := a.user("anna"), b.user("bob")
	status := func(want string) {
		t.Helper()
		rooms, err := b.UserRooms(ctx, bob)
		if err != nil || rooms[len(rooms)-1].Membership != want {
			t.Errorf("%+v, %v, want %s", rooms, err, want)
		}
	}
	r := a.create(anna, func(c *room.CreateRequest) { c.Preset = "private_chat" })
	a.invite(r, anna, bob, b)
	status("invite")
	if err := b.RejectLocally(ctx, r, bob); err != nil {
		t.Fatal(err)
	}
	status("leave")
	if err := b.RejectLocally(ctx, r, bob); !mxerr.Is(err, mxerr.CodeForbidden) {
		t.Errorf("rejected twice: %v", err)
	}
	// Rejected through the server.
	if _, err := a.Kick(ctx, room.MembershipChange{Room: r, Sender: anna, Target: bob}); err != nil {
		t.Fatal(err)
	}
	a.invite(r, anna, bob, b)
	status("invite")
	made, err := a.MakeLeave(ctx, b.name, r, bob)
	if err != nil {
		t.Fatal(err)
	}
	ver, _ := roomver.Get(made.Version)
	tpl, err := event.ParseTemplate(made.Event, ver)
	if err != nil {
		t.Fatal(err)
	}
	leave, err := event.Build(ver, tpl, b.name, b.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.SendLeave(ctx, b.name, r, leave); err != nil {
		t.Fatal(err)
	}
	if err := b.LeftRemotely(ctx, leave); err != nil {
		t.Fatal(err)
	}
	status("leave")
	// Taken back by who invited.
	a.invite(r, anna, bob, b)
	kick, err := a.Kick(ctx, room.MembershipChange{Room: r, Sender: anna, Target: bob})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Receive(ctx, "fremd.test", a.pdu(kick)); err != nil || got.Outcome != room.Reject {
		t.Errorf("taken back by a stranger: %+v, %v", got, err)
	}
	status("invite")
	if got := b.receive(a, kick); got.Outcome != room.AcceptedNow {
		t.Errorf("taken back: %+v", got)
	}
	status("leave")
}

func TestLeavingAndJoiningAgainOverFederation(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna, bob := a.user("anna"), b.user("bob")
	r := a.create(anna)
	b.joinRemotely(r, bob, a)
	left, err := b.Leave(ctx, room.MembershipChange{Room: r, Sender: bob, Target: bob})
	if err != nil {
		t.Fatal(err)
	}
	a.accepts(b, left)
	a.say(r, anna, "while away")
	a.set(r, anna, event.TypeTopic, "", `{"topic":"new"}`)
	if _, err := b.Join(ctx, room.MembershipChange{Room: r, Sender: bob, Target: bob}); !errors.Is(err, room.ErrNotHere) {
		t.Fatalf("join: %v", err)
	}
	for range 2 {
		b.joinRemotely(r, bob, a)
		sameState(t, r, a, b)
		b.restart()
	}
	b.accepts(a, a.say(r, anna, "back"))
	if got := b.timeline(r); got[len(got)-1] != "back" {
		t.Errorf("timeline %q", got)
	}
	page, err := b.Messages(ctx, room.PageRequest{Room: r, User: bob, Backward: true, Limit: 100})
	if err != nil || !page.Gap {
		t.Errorf("the gap is not told: %v", err)
	}
}

func TestProfilesReachAllRooms(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	var rooms []id.RoomID
	for range 3 {
		rooms = append(rooms, s.create(anna))
	}
	if err := s.ProfileChanged(ctx, anna, room.Profile{DisplayName: "Dr. Anna Berg", AvatarURL: "mxc://klinik.test/a"}); err != nil {
		t.Fatal(err)
	}
	for _, r := range rooms {
		members, err := s.JoinedMembers(ctx, r)
		if err != nil || members[anna] != (room.Profile{DisplayName: "Dr. Anna Berg", AvatarURL: "mxc://klinik.test/a"}) {
			t.Errorf("%+v, %v", members, err)
		}
	}
}
