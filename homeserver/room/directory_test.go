package room_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func TestCreateRoomWithEverything(t *testing.T) {
	for _, v := range []string{"1", "6", "10", "11", "12"} {
		t.Run("v"+v, func(t *testing.T) {
			s := newServer(t, "klinik.test")
			anna, bob := s.user("anna"), s.user("bob")
			made, err := s.Create(ctx, room.CreateRequest{
				Creator: anna, Version: v, Preset: "trusted_private_chat", Name: "Tumorboard", Topic: "Mittwochs", AliasName: "board",
				Visibility: "public", Invite: []id.UserID{bob, bob, "@dora:praxis.test"}, IsDirect: true,
				CreationContent:    json.RawMessage(`{"m.federate":true,"type":"m.space","room_version":"99","creator":"@eve:x"}`),
				InitialState:       []room.InitialState{{Type: event.TypeHistoryVisibility, Content: json.RawMessage(`{"history_visibility":"joined"}`)}},
				PowerLevelOverride: json.RawMessage(`{"ban":77}`),
			})
			if err != nil {
				t.Fatal(err)
			}
			state := func(typ, key string) map[string]any {
				t.Helper()
				ev, err := s.StateEvent(ctx, made.Room, typ, key)
				if err != nil || ev == nil {
					t.Fatalf("no %s: %v", typ, err)
				}
				var m map[string]any
				_ = json.Unmarshal(ev.Content, &m)
				return m
			}
			create := state(event.TypeCreate, "")
			if create["room_version"] != v || create["type"] != "m.space" || create["creator"] == "@eve:x" {
				t.Errorf("create %v", create)
			}
			levels := state(event.TypePowerLevels, "")
			if levels["ban"] != 77.0 {
				t.Errorf("levels %v", levels)
			}
			if v == "12" {
				if len(at(levels, "users").(map[string]any)) != 0 || len(create["additional_creators"].([]any)) != 2 {
					t.Errorf("creators: %v %v", levels, create)
				}
			} else if at(levels, "users", string(bob)) != 100.0 || at(levels, "users", string(anna)) != 100.0 {
				t.Errorf("levels %v", levels)
			}
			if state(event.TypeHistoryVisibility, "")["history_visibility"] != "joined" || state(event.TypeJoinRules, "")["join_rule"] != "invite" {
				t.Error("preset and initial state")
			}
			if state(event.TypeTopic, "")["topic"] != "Mittwochs" || state(event.TypeCanonicalAlias, "")["alias"] != "#board:klinik.test" {
				t.Error("topic or alias")
			}
			if invite := state(event.TypeMember, string(bob)); invite["membership"] != "invite" || invite["is_direct"] != true {
				t.Errorf("invite %v", invite)
			}
			if len(made.Remote) != 1 || made.Remote[0].Target != "@dora:praxis.test" || made.Remote[0].Room != made.Room {
				t.Errorf("remote invites %v", made.Remote)
			}
			if r, servers, err := s.ResolveAlias(ctx, made.Alias); err != nil || r != made.Room || len(servers) != 1 {
				t.Errorf("alias leads to %v %v %v", r, servers, err)
			}
			if ok, err := s.Published(ctx, made.Room); !ok || err != nil {
				t.Error("not published", err)
			}
			_, err = s.Create(ctx, room.CreateRequest{Creator: anna, AliasName: "board"})
			refused(t, "alias taken", err, mxerr.CodeRoomInUse)
		})
	}
}

func TestCreateRoomRefusals(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	for name, c := range map[string]struct {
		req  room.CreateRequest
		code string
	}{
		"version":       {room.CreateRequest{Version: "ahmed"}, mxerr.CodeUnsupportedRoomVersion},
		"preset":        {room.CreateRequest{Preset: "x"}, mxerr.CodeInvalidParam},
		"alias":         {room.CreateRequest{AliasName: "a\x00b"}, mxerr.CodeInvalidParam},
		"content":       {room.CreateRequest{CreationContent: json.RawMessage(`[]`)}, mxerr.CodeBadJSON},
		"creators":      {room.CreateRequest{Version: "12", CreationContent: json.RawMessage(`{"additional_creators":["nobody"]}`)}, mxerr.CodeInvalidParam},
		"initial state": {room.CreateRequest{InitialState: []room.InitialState{{Type: event.TypeMember, StateKey: "@eve:x", Content: json.RawMessage(`{}`)}}}, mxerr.CodeBadJSON},
		"levels":        {room.CreateRequest{PowerLevelOverride: json.RawMessage(`{"users":{"@anna:klinik.test":0}}`), Name: "x"}, mxerr.CodeInvalidRoomState},
	} {
		c.req.Creator = anna
		_, err := s.Create(ctx, c.req)
		refused(t, name, err, c.code)
	}
	if rooms, err := s.UserRooms(ctx, anna); err != nil || len(rooms) != 0 {
		t.Errorf("refused rooms are there: %v %v", rooms, err)
	}
}

func TestUpgrades(t *testing.T) {
	for _, c := range []struct{ from, to string }{{"1", "11"}, {"6", "12"}, {"10", "11"}, {"11", "12"}, {"12", "12"}, {"12", "11"}} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			s := newServer(t, "klinik.test")
			anna, bob, eve := s.user("anna"), s.user("bob"), s.user("eve")
			old := s.create(anna, version(c.from), func(q *room.CreateRequest) { q.Name, q.AliasName, q.Visibility = "Visite", "visite", "public" })
			s.join(old, bob)
			if _, err := s.Ban(ctx, room.MembershipChange{Room: old, Sender: anna, Target: eve}); err != nil {
				t.Fatal(err)
			}
			_, err := s.Upgrade(ctx, bob, old, c.to, nil)
			refused(t, "without the level", err, mxerr.CodeForbidden)
			next, err := s.Upgrade(ctx, anna, old, c.to, nil)
			if err != nil {
				t.Fatal(err)
			}
			tombstone, err := s.StateEvent(ctx, old, event.TypeTombstone, "")
			if err != nil || tombstone == nil || at(s.client(room.Format{}, tombstone.ID), "content", "replacement_room") != string(next) {
				t.Errorf("tombstone %v, %v", tombstone, err)
			}
			create, err := s.StateEvent(ctx, next, event.TypeCreate, "")
			if err != nil || at(s.client(room.Format{}, create.ID), "content", "predecessor", "room_id") != string(old) {
				t.Errorf("predecessor: %v", err)
			}
			name, err := s.StateEvent(ctx, next, event.TypeName, "")
			if err != nil || name == nil {
				t.Error("the name is lost", err)
			}
			if m, _ := s.Membership(ctx, next, eve); m != "ban" {
				t.Errorf("eve: %q", m)
			}
			if r, _, err := s.ResolveAlias(ctx, "#visite:klinik.test"); r != next || err != nil {
				t.Errorf("alias leads to %v, %v", r, err)
			}
			was, _ := s.Published(ctx, old)
			is, _ := s.Published(ctx, next)
			if was || !is {
				t.Error("the directory shows the old room")
			}
			_, err = s.Send(ctx, room.Draft{Room: old, Sender: bob, Type: event.TypeMessage, Content: text("x")})
			refused(t, "talking in the old room", err, mxerr.CodeForbidden)
		})
	}
}

func TestPublicRooms(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	for i := range 5 {
		r := s.create(anna, func(q *room.CreateRequest) { q.Name, q.Visibility = fmt.Sprint("Raum ", i), "public" })
		for n := range i {
			s.join(r, s.user(fmt.Sprint("m", n)))
		}
	}
	s.create(anna)
	page, err := s.PublicRooms(ctx, room.PublicRoomsRequest{Limit: 2})
	if err != nil || page.Total != 5 || len(page.Chunk) != 2 || page.Chunk[0].Name != "Raum 4" || page.Chunk[0].JoinedMembers != 5 || page.Chunk[0].JoinRule != "public" {
		t.Fatalf("%+v, %v", page, err)
	}
	page, err = s.PublicRooms(ctx, room.PublicRoomsRequest{Limit: 3, Since: page.Next})
	if err != nil || len(page.Chunk) != 3 || page.Next != "" || page.Prev == "" {
		t.Errorf("%+v, %v", page, err)
	}
	page, err = s.PublicRooms(ctx, room.PublicRoomsRequest{Search: "RAUM 3"})
	if err != nil || len(page.Chunk) != 1 {
		t.Errorf("search %+v, %v", page, err)
	}
	space := "m.space"
	if page, err = s.PublicRooms(ctx, room.PublicRoomsRequest{RoomTypes: []*string{&space}}); err != nil || len(page.Chunk) != 0 {
		t.Errorf("spaces %+v, %v", page, err)
	}
	_, err = s.PublicRooms(ctx, room.PublicRoomsRequest{Since: "-1"})
	refused(t, "forged token", err, mxerr.CodeInvalidParam)
}

func TestAliases(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna, bob := s.user("anna"), s.user("bob")
	r := s.create(anna)
	s.join(r, bob)
	alias := id.RoomAlias("#a:klinik.test")
	if err := s.CreateAlias(ctx, anna, alias, r); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateAlias(ctx, bob, alias, r); err == nil {
		t.Error("taken twice")
	}
	refused(t, "another server's", s.CreateAlias(ctx, anna, "#a:x", r), mxerr.CodeInvalidParam)
	s.set(r, anna, event.TypeCanonicalAlias, "", `{"alias":"#a:klinik.test","alt_aliases":["#a:klinik.test","#b:x"]}`)
	refused(t, "delete by bob", s.DeleteAlias(ctx, bob, alias, false), mxerr.CodeForbidden)
	if err := s.DeleteAlias(ctx, anna, alias, false); err != nil {
		t.Fatal(err)
	}
	ev, err := s.StateEvent(ctx, r, event.TypeCanonicalAlias, "")
	if err != nil || string(ev.Content) != `{"alt_aliases":["#b:x"]}` {
		t.Errorf("canonical alias %s, %v", ev.Content, err)
	}
	_, _, err = s.ResolveAlias(ctx, alias)
	refused(t, "gone", err, mxerr.CodeNotFound)
}

func TestSummariesOfSpaces(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna, eve := s.user("anna"), s.user("eve")
	space := s.create(anna, func(q *room.CreateRequest) { q.CreationContent = json.RawMessage(`{"type":"m.space"}`) })
	private := s.create(anna, func(q *room.CreateRequest) { q.Preset = "private_chat" })
	s.set(space, anna, event.TypeSpaceChild, "!c:x", `{"via":["x"],"order":"b"}`)
	s.set(space, anna, event.TypeSpaceChild, "!b:x", `{"via":["x"],"order":"a"}`)
	s.set(space, anna, event.TypeSpaceChild, "!z:x", `{"via":["x"]}`)
	s.set(space, anna, event.TypeSpaceChild, "!gone:x", `{}`)
	d, err := s.SummaryForUser(ctx, eve, space)
	if err != nil || len(d.Children) != 3 || *d.Children[0].StateKey != "!b:x" || *d.Children[2].StateKey != "!z:x" || d.RoomType != "m.space" {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := s.SummaryForUser(ctx, eve, private); err != room.ErrUnknownRoom {
		t.Errorf("a private room is told: %v", err)
	}
	if d, err := s.SummaryForUser(ctx, anna, private); err != nil || d.Membership != "join" {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := s.SummaryForServer(ctx, "praxis.test", private); err != room.ErrUnknownRoom {
		t.Errorf("a private room is told to a server: %v", err)
	}
}

func TestCanonicalAliasesMustLeadToTheRoom(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	r, other := s.create(anna), s.create(anna)
	if err := s.CreateAlias(ctx, anna, "#other:klinik.test", other); err != nil {
		t.Fatal(err)
	}
	key := ""
	send := func(typ, content string) error {
		_, err := s.Send(ctx, room.Draft{Room: r, Sender: anna, Type: typ, StateKey: &key, Content: json.RawMessage(content)})
		return err
	}
	refused(t, "missing", send(event.TypeCanonicalAlias, `{"alias":"#none:klinik.test"}`), mxerr.CodeBadAlias)
	refused(t, "of another room", send(event.TypeCanonicalAlias, `{"alt_aliases":["#other:klinik.test"]}`), mxerr.CodeBadAlias)
	refused(t, "no alias", send(event.TypeCanonicalAlias, `{"alias":"%x:klinik.test"}`), mxerr.CodeInvalidParam)
	refused(t, "a second create event", send(event.TypeCreate, `{"x":1}`), mxerr.CodeBadJSON)
	if err := s.CreateAlias(ctx, anna, "#good:klinik.test", r); err != nil {
		t.Fatal(err)
	}
	if err := send(event.TypeCanonicalAlias, `{"alias":"#good:klinik.test"}`); err != nil {
		t.Error(err)
	}
}

func TestForgottenRoomsCanNotBeRead(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna, bob := s.user("anna"), s.user("bob")
	r := s.create(anna)
	s.join(r, bob)
	if err := leaveAndForget(s, r, bob); err != nil {
		t.Fatal(err)
	}
	_, err := s.Messages(ctx, room.PageRequest{Room: r, User: bob, Backward: true, Limit: 5})
	refused(t, "messages", err, mxerr.CodeForbidden)
	_, err = s.StateForUser(ctx, bob, r)
	refused(t, "state", err, mxerr.CodeForbidden)
	s.join(r, bob)
	if _, err = s.Messages(ctx, room.PageRequest{Room: r, User: bob, Backward: true, Limit: 5}); err != nil {
		t.Error(err)
	}
}
