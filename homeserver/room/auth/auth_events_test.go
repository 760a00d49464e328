package auth_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"konsil/homeserver/room/auth"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

func version(t testing.TB, name string) *roomver.Version {
	t.Helper()
	v, ok := roomver.Get(name)
	if !ok {
		t.Fatal("no version", name)
	}
	return v
}

func ptr(s string) *string { return &s }

func TestSelection(t *testing.T) {
	for _, c := range []struct {
		version, kind string
		key           *string
		content       string
		want          string // slots, the user after the slash
	}{
		{"11", event.TypeCreate, ptr(""), `{}`, ""},
		{"11", event.TypeMessage, nil, `{}`, "create power_levels member/@me:t"},
		{"12", event.TypeMessage, nil, `{}`, "power_levels member/@me:t"},
		{"11", event.TypeTopic, ptr(""), `{}`, "create power_levels member/@me:t"},
		{"11", event.TypeMember, ptr("@me:t"), `{"membership":"join"}`, "create power_levels member/@me:t join_rules"},
		{"11", event.TypeMember, ptr("@me:t"), `{"membership":"leave"}`, "create power_levels member/@me:t"},
		{"11", event.TypeMember, ptr("@you:t"), `{"membership":"ban"}`, "create power_levels member/@me:t member/@you:t"},
		{"11", event.TypeMember, ptr("@you:t"), `{"membership":"invite"}`, "create power_levels member/@me:t member/@you:t join_rules"},
		{"11", event.TypeMember, ptr("@me:t"), `{"membership":"knock"}`, "create power_levels member/@me:t join_rules"},
		{"11", event.TypeMember, ptr("@you:t"), `{"membership":"invite","third_party_invite":{"signed":{"token":"tok"}}}`,
			"create power_levels member/@me:t member/@you:t join_rules third_party_invite/tok"},
		{"11", event.TypeMember, ptr("@you:t"), `{"membership":"invite","third_party_invite":{"signed":{"token":7}}}`,
			"create power_levels member/@me:t member/@you:t join_rules"},
		{"8", event.TypeMember, ptr("@me:t"), `{"join_authorised_via_users_server":"@you:t","membership":"join"}`,
			"create power_levels member/@me:t join_rules member/@you:t"},
		{"7", event.TypeMember, ptr("@me:t"), `{"join_authorised_via_users_server":"@you:t","membership":"join"}`,
			"create power_levels member/@me:t join_rules"},
		{"11", event.TypeMember, ptr("@me:t"), `{"join_authorised_via_users_server":"@you:t","membership":"leave"}`,
			"create power_levels member/@me:t"},
		{"11", event.TypeMember, nil, `{"membership":"join"}`, "create power_levels member/@me:t"},
	} {
		var got []string
		for _, slot := range auth.Selection(version(t, c.version), c.kind, c.key, "@me:t", []byte(c.content)) {
			word := strings.TrimPrefix(slot.Type, "m.room.")
			if slot.StateKey != "" {
				word += "/" + slot.StateKey
			}
			got = append(got, word)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("v%s %s %s: got %v, want %s", c.version, c.kind, c.content, got, c.want)
		}
	}
}

// TestA11AuthEvents hands an event auth events that it must not have.
func TestA11AuthEvents(t *testing.T) {
	for _, versions := range []struct {
		list  []string
		top   string // number of the rule about auth events
		hash  bool
		rules map[string]string
	}{
		{list: []string{"1", "6", "11"}, top: "2", rules: map[string]string{"no create": "2.4"}},
		{list: []string{"12"}, top: "3", hash: true, rules: map[string]string{"no create": "ok", "create": "3.2", "unknown create": "2"}},
	} {
		for _, name := range versions.list {
			v := version(t, name)
			create := makeEvent(t, v, "$1", "alice", event.TypeCreate, ptr(""), fmt.Sprintf(`{"creator":"@alice:t","room_version":%q}`, name))
			if versions.hash {
				create.RoomID = "!1"
			}
			alice := makeEvent(t, v, "$alice", "alice", event.TypeMember, ptr("@alice:t"), `{"membership":"join"}`)
			levels := makeEvent(t, v, "$levels", "alice", event.TypePowerLevels, ptr(""), `{}`)
			rules := makeEvent(t, v, "$rules", "alice", event.TypeJoinRules, ptr(""), `{}`)
			message := makeEvent(t, v, "$said", "alice", event.TypeMessage, nil, `{}`)
			memberOnly := makeEvent(t, v, "$alice2", "alice", event.TypeMember, ptr("@alice:t"), `{"membership":"join"}`)
			elsewhere := makeEvent(t, v, "$levels2", "alice", event.TypePowerLevels, ptr(""), `{}`)
			elsewhere.RoomID = "!other:t"
			second := makeEvent(t, v, "$second", "alice", event.TypeCreate, ptr(""), `{"creator":"@alice:t"}`)
			second.RoomID = create.RoomID
			ev := makeEvent(t, v, "$new", "alice", event.TypeMessage, nil, `{}`)
			usual := []*event.PDU{create, levels, alice}
			if versions.hash {
				usual = usual[1:]
			}
			many := slices.Repeat([]*event.PDU{alice}, 10000)
			for _, c := range []struct {
				name, want string
				cited      []*event.PDU
				rejected   *event.PDU
				create     *event.PDU
			}{
				{"as it should be", "ok", usual, nil, create},
				{"no levels yet", "ok", slices.DeleteFunc(slices.Clone(usual), func(ev *event.PDU) bool { return ev == levels }), nil, create},
				{"no create", versions.top + ".4", []*event.PDU{levels, alice}, nil, create},
				{"create", "ok", []*event.PDU{create, alice}, nil, create},
				{"unknown create", "ok", usual, nil, nil},
				{"same event twice", versions.top + ".1", append(slices.Clone(usual), alice), nil, create},
				{"same slot twice", versions.top + ".1", append(slices.Clone(usual), memberOnly), nil, create},
				{"not selected", versions.top + ".2", append(slices.Clone(usual), rules), nil, create},
				{"no state event", versions.top + ".2", append(slices.Clone(usual), message), nil, create},
				{"itself", versions.top + ".2", append(slices.Clone(usual), ev), nil, create},
				{"rejected", versions.top + ".3", usual, levels, create},
				{"another create event", versions.top + ".3", []*event.PDU{second, alice}, nil, create},
				{"other room", versions.top + ".5", append(slices.Clone(usual[:len(usual)-2]), elsewhere, alice), nil, create},
				{"ten thousand", versions.top + ".2", many, nil, create},
			} {
				want := c.want
				if w, other := versions.rules[c.name]; other {
					want = w
				}
				if versions.hash && c.name == "another create event" {
					want = "3.2"
				}
				var cited []auth.Cited
				for _, e := range c.cited {
					cited = append(cited, auth.Cited{PDU: e, Rejected: e == c.rejected})
				}
				var room *auth.Create
				if c.create != nil {
					room = auth.ParseCreate(c.create)
				}
				if got := ruleOf(auth.CheckAuthEvents(ev, cited, room)); got != want {
					t.Errorf("v%s %s: got %s, want %s", name, c.name, got, want)
				}
			}
		}
	}
}

// TestA11SelfReference: an event that names itself in its own slot.
func TestA11SelfReference(t *testing.T) {
	for name, want := range map[string]string{"2": "2.2", "12": "3.2"} {
		v := version(t, name)
		create := makeEvent(t, v, "$1", "alice", event.TypeCreate, ptr(""), `{"creator":"@alice:t"}`)
		create.RoomID = map[bool]id.RoomID{true: "!1", false: "!room:t"}[v.HashedRoomID]
		self := makeEvent(t, v, "$self", "alice", event.TypeMember, ptr("@alice:t"), `{"membership":"join"}`)
		cited := []auth.Cited{{PDU: self}, {PDU: create}}
		if v.HashedRoomID {
			cited = cited[:1]
		}
		if got := ruleOf(auth.CheckAuthEvents(self, cited, auth.ParseCreate(create))); got != want {
			t.Errorf("v%s: got %s, want %s", name, got, want)
		}
	}
}

// The state that auth events make allows what the room allows.
func TestAuthEventState(t *testing.T) {
	for _, name := range []string{"11", "12"} {
		v := version(t, name)
		create := makeEvent(t, v, "$1", "alice", event.TypeCreate, ptr(""), `{}`)
		room := auth.ParseCreate(create)
		alice := makeEvent(t, v, "$alice", "alice", event.TypeMember, ptr("@alice:t"), `{"membership":"join"}`)
		cited := []auth.Cited{{PDU: create}, {PDU: alice}}
		if v.HashedRoomID {
			cited = cited[1:]
		}
		ev := makeEvent(t, v, "$said", "alice", event.TypeMessage, nil, `{}`)
		if err := auth.Authorize(ev, auth.AuthEventState(cited, room)); err != nil {
			t.Errorf("v%s: %v", name, err)
		}
		if got := ruleOf(auth.Authorize(ev, auth.AuthEventState(cited[:len(cited)-1], room))); got != map[string]string{"11": "5", "12": "6"}[name] {
			t.Errorf("v%s: without the member event: %s", name, got)
		}
	}
}

// TestA13CreateEvents tries to begin rooms in ways that are not allowed.
func TestA13CreateEvents(t *testing.T) {
	for _, c := range []struct {
		name, versions, content string
		change                  func(ev *event.PDU)
		want                    string
	}{
		{"as it should be", "1 2 6 10", `{"creator":"@alice:t"}`, nil, "ok"},
		{"as it should be", "11 12", `{}`, nil, "ok"},
		{"with prev events", "1 6 11 12", `{"creator":"@alice:t"}`, func(ev *event.PDU) { ev.PrevEvents = []id.EventID{"$x"} }, "1.1"},
		{"of another server's room", "1 6 11", `{"creator":"@alice:t"}`, func(ev *event.PDU) { ev.RoomID = "!room:u" }, "1.2"},
		{"of a room without server", "1 6 11", `{"creator":"@alice:t"}`, func(ev *event.PDU) { ev.RoomID = "!room" }, "1.2"},
		{"unknown version", "1 11 12", `{"creator":"@alice:t","room_version":"99"}`, nil, "1.3"},
		{"version is a number", "1 11 12", `{"creator":"@alice:t","room_version":11}`, nil, "1.3"},
		{"no creator", "1 6 10", `{}`, nil, "1.4"},
		{"with room_id", "12", `{}`, func(ev *event.PDU) {
			ev.JSON = []byte(strings.Replace(string(ev.JSON), `"sender"`, `"room_id":"!1","sender"`, 1))
		}, "1.2"},
		{"room ID is not its hash", "12", `{}`, func(ev *event.PDU) { ev.RoomID = "!other" }, "1.2"},
		{"further creators", "12", `{"additional_creators":["@bob:u","@Kurt:t"]}`, nil, "ok"},
		{"further creators are a word", "12", `{"additional_creators":"@bob:u"}`, nil, "1.4"},
		{"a creator is a number", "12", `{"additional_creators":["@bob:u",7]}`, nil, "1.4"},
		{"a creator is no user", "12", `{"additional_creators":["@bob:u","bob"]}`, nil, "1.4"},
		{"a creator's server is none", "12", `{"additional_creators":["@bob:u$$"]}`, nil, "1.4"},
		{"further creators mean nothing yet", "11", `{"additional_creators":7}`, nil, "ok"},
	} {
		for name := range strings.FieldsSeq(c.versions) {
			ev := makeEvent(t, version(t, name), "$1", "alice", event.TypeCreate, ptr(""), c.content)
			if ev.Version.HashedRoomID {
				ev.RoomID = "!1"
			}
			if c.change != nil {
				c.change(ev)
			}
			if got := ruleOf(auth.Authorize(ev, auth.NewEventState(nil, func(id.Slot) *event.PDU { return nil }))); got != c.want {
				t.Errorf("v%s %s: got %s, want %s", name, c.name, got, c.want)
			}
		}
	}
}

func TestParseCreate(t *testing.T) {
	parse := func(version_, content string) *auth.Create {
		return auth.ParseCreate(makeEvent(t, version(t, version_), "$1", "alice", event.TypeCreate, ptr(""), content))
	}
	for _, c := range []struct {
		version, content string
		creators         []id.UserID
		federate         bool
	}{
		{"10", `{"creator":"@bob:t"}`, []id.UserID{"@bob:t"}, true},
		{"10", `{"creator":7,"m.federate":false}`, []id.UserID{""}, false},
		{"11", `{"creator":"@bob:t","m.federate":"no"}`, []id.UserID{"@alice:t"}, true},
		{"12", `{"additional_creators":["@bob:t","@bob:t","@alice:t",7]}`, []id.UserID{"@alice:t", "@bob:t"}, true},
	} {
		create := parse(c.version, c.content)
		if diff := cmp.Diff(c.creators, create.Creators); diff != "" || create.Federate != c.federate {
			t.Errorf("v%s %s: federate %t, creators %s", c.version, c.content, create.Federate, diff)
		}
	}
	if parse("11", `{}`).IsCreator("@alice:t") || !parse("12", `{}`).IsCreator("@alice:t") || parse("12", `{}`).IsCreator("@bob:t") {
		t.Error("creators are above all levels in version 12, and nobody else is")
	}
}

func TestRequiredSigners(t *testing.T) {
	for _, c := range []struct {
		version, sender, key, content string
		want                          []id.ServerName
	}{
		{"11", "alice", "@alice:t", `{"membership":"join"}`, []id.ServerName{"t"}},
		{"11", "alice:u", "@alice:u", `{"join_authorised_via_users_server":"@bob:t","membership":"join"}`, []id.ServerName{"u", "t"}},
		{"7", "alice:u", "@alice:u", `{"join_authorised_via_users_server":"@bob:t","membership":"join"}`, []id.ServerName{"u"}},
		{"11", "alice", "@bob:u", `{"membership":"invite","third_party_invite":{}}`, nil},
		{"11", "alice", "@bob:u", `{"membership":"join","third_party_invite":{}}`, []id.ServerName{"t"}},
		{"2", "alice", "@alice:t", `{"membership":"join"}`, []id.ServerName{"t", "elsewhere"}},
	} {
		ev := makeEvent(t, version(t, c.version), "$1", c.sender, event.TypeMember, &c.key, c.content)
		if c.version == "2" {
			ev.ID = "$1:elsewhere"
		}
		if diff := cmp.Diff(c.want, auth.RequiredSigners(ev)); diff != "" {
			t.Errorf("v%s %s: %s", c.version, c.content, diff)
		}
	}
}

func TestMayRedact(t *testing.T) {
	for _, name := range []string{"1", "2", "3", "11", "12"} {
		v := version(t, name)
		create := auth.ParseCreate(makeEvent(t, v, "$1", "alice", event.TypeCreate, ptr(""), `{"creator":"@alice:t"}`))
		levels, err := auth.ParsePowerLevels(v, []byte(`{"redact":60,"users":{"@mona:m":60}}`), create)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			sender, target string
			otherRoom      bool
			want           bool
		}{
			{"carol", "carol", false, true},
			{"carol", "dave", false, true}, // same server: its business
			{"carol", "dave:u", false, false},
			{"mona:m", "dave:u", false, true},
			{"mona:m", "dave:u", true, false},
			{"carol", "carol", true, false},
		} {
			redaction := makeEvent(t, v, "$r", c.sender, event.TypeRedaction, nil, `{}`)
			target := makeEvent(t, v, "$e", c.target, event.TypeMessage, nil, `{}`)
			if c.otherRoom {
				target.RoomID = "!other:t"
			}
			if err := auth.MayRedact(redaction, target, levels); (err == nil) != c.want {
				t.Errorf("v%s %s redacts %s: %v, want %t", name, c.sender, c.target, err, c.want)
			}
		}
	}
}

func TestJoinRules(t *testing.T) {
	for content, want := range map[string]auth.JoinRules{
		`{}`:                      {Rule: auth.RuleInvite},
		`{"join_rule":7}`:         {},
		`{"join_rule":"public"}`:  {Rule: auth.RulePublic},
		`{"join_rule":"private"}`: {Rule: auth.RulePrivate},
		`[]`:                      {Rule: auth.RuleInvite},
		`{"allow":[{"room_id":"!a:t","type":"m.room_membership"},{"room_id":"!b:t","type":"x"},{"room_id":7,"type":"m.room_membership"},7,{"room_id":"!c","type":"m.room_membership"}],"join_rule":"restricted"}`: {
			Rule: auth.RuleRestricted, Allow: []id.RoomID{"!a:t", "!c"}},
	} {
		if diff := cmp.Diff(want, auth.ParseJoinRules([]byte(content))); diff != "" {
			t.Errorf("%s: %s", content, diff)
		}
	}
}

func TestHistoryVisibility(t *testing.T) {
	for _, word := range []string{"world_readable", "shared", "invited", "joined"} {
		if got := auth.ParseHistoryVisibility([]byte(`{"history_visibility":"` + word + `"}`)).String(); got != word {
			t.Errorf("%s became %s", word, got)
		}
	}
	for _, content := range []string{`{}`, `{"history_visibility":7}`, `{"history_visibility":"everybody"}`, `null`} {
		if auth.ParseHistoryVisibility([]byte(content)) != auth.VisibleShared {
			t.Errorf("%s is not shared", content)
		}
	}
}

func TestLevels(t *testing.T) {
	create := func(name string) *auth.Create {
		return auth.ParseCreate(makeEvent(t, version(t, name), "$1", "alice", event.TypeCreate, ptr(""), `{"creator":"@alice:t"}`))
	}
	none := auth.LevelsOf(create("11"), nil)
	got := []int64{none.UserLevel("@alice:t"), none.UserLevel("@bob:t"), none.EventLevel("m.x"), none.StateLevel("m.x"), none.Invite(), none.Kick(), none.Ban(), none.Redact(), none.Notification("room")}
	if diff := cmp.Diff([]int64{100, 0, 0, 50, 0, 50, 50, 50, 50}, got); diff != "" {
		t.Error("defaults without the event:", diff)
	}
	raw := `{"ban":1,"events":{"m.x":6},"events_default":4,"invite":2,"kick":3,"notifications":{"room":7},"redact":8,"state_default":5,"users":{"@bob:t":9},"users_default":10}`
	pl, err := auth.ParsePowerLevels(version(t, "11"), []byte(raw), create("11"))
	if err != nil {
		t.Fatal(err)
	}
	got = []int64{pl.Ban(), pl.Invite(), pl.Kick(), pl.EventLevel("m.y"), pl.StateLevel("m.y"), pl.EventLevel("m.x"), pl.Notification("room"), pl.Redact(), pl.UserLevel("@bob:t"), pl.UserLevel("@alice:t"), pl.StateLevel("m.x"), pl.UsersDefault(), pl.Notification("x")}
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 6, 10, 50}, got); diff != "" {
		t.Error("levels of the event:", diff)
	}
	if got := auth.LevelsOf(create("12"), pl).UserLevel("@bob:t"); got != 9 {
		t.Error("the event's levels do not hold:", got)
	}
	if got := auth.LevelsOf(create("12"), nil).UserLevel("@alice:t"); got != auth.CreatorLevel {
		t.Error("creator has", got)
	}
	named := make(map[id.UserID]int64)
	pl.Users(func(user id.UserID, level int64) { named[user] = level })
	if diff := cmp.Diff(map[id.UserID]int64{"@bob:t": 9}, named); diff != "" {
		t.Error("users:", diff)
	}
}

// An accepted event that can not be read gives nobody power.
func TestUnreadableLevelsAreClosed(t *testing.T) {
	v := version(t, "11")
	create := auth.ParseCreate(makeEvent(t, v, "$1", "alice", event.TypeCreate, ptr(""), `{}`))
	pl := auth.LevelsFrom(makeEvent(t, v, "$2", "alice", event.TypePowerLevels, ptr(""), `{"ban":"x","users":{"@alice:t":100}}`), create)
	if pl.UserLevel("@alice:t") >= pl.Ban() || pl.UserLevel("@alice:t") >= pl.EventLevel("m.room.message") {
		t.Error("somebody has power")
	}
}

func largeLevels(users int) json.RawMessage {
	levels := map[string]int{}
	for i := range users {
		levels[fmt.Sprintf("@user%04d:example.org", i)] = i % 100
	}
	levels["@alice:t"] = 100
	raw, _ := json.Marshal(map[string]any{"users": levels, "events": map[string]int{"m.room.name": 50}})
	return raw
}
