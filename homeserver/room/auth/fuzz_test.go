package auth_test

import (
	"encoding/json"
	"testing"

	"konsil/homeserver/room/auth"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// allowedContent brings foreign content into the form in which events carry it; what has none does not get that far.
func allowedContent(v *roomver.Version, content []byte) (string, bool) {
	mode := canonical.Lenient
	if v.StrictJSON {
		mode = canonical.Strict
	}
	out, err := canonical.Append(nil, content, mode)
	return string(out), err == nil && canonical.IsObject(out) && json.Valid(out)
}

// FuzzPowerLevels: whatever a content says, all versions give a verdict, and levels that were accepted can be read.
func FuzzPowerLevels(f *testing.F) {
	for _, seed := range []string{
		`{"users":{"@a:t":50}}`, `{"users":{"@a:t":"50"}}`, `{"ban":null}`, `{"events":{"a":1.5}}`, `{"users":[]}`, `{"kick":1e999}`,
		`{"notifications":7}`, `{"users_default":"-9223372036854775808"}`, `{"invite":" + 1"}`, `{"state_default":{"a":[]}}`, `[]`, `{"redact":-0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, v := range roomver.All() {
			content, ok := allowedContent(v, raw)
			if !ok {
				continue
			}
			r := newRoom(t, v.ID, nil)
			if auth.Authorize(r.event("alice", event.TypePowerLevels, ptr(""), content), r) != nil {
				continue
			}
			pl, err := auth.ParsePowerLevels(v, []byte(content), r.Create())
			if err != nil {
				t.Fatalf("v%s accepts %s, which can not be read: %v", v, content, err)
			}
			if !v.PrivilegedCreators && pl.UserLevel("@alice:t") > 100 {
				t.Fatalf("v%s: alice raised herself by %s", v, content)
			}
		}
	})
}

// FuzzMember: any m.room.member content gets a verdict, and no content makes a stranger of a closed room a member.
func FuzzMember(f *testing.F) {
	for _, seed := range []string{
		`{"membership":"join"}`, `{"membership":["join"]}`, `{"membership":"invite","third_party_invite":{"signed":{"mxid":"@dave:t","token":"tok","signatures":{"a":{"ed25519:1":"x"}}}}}`,
		`{"membership":"invite","third_party_invite":[]}`, `{"join_authorised_via_users_server":"@bob:t","membership":"join"}`,
		`{"join_authorised_via_users_server":{},"membership":"join"}`, `{"membership":"knock"}`, `{"mem\u0062ership":"ban"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, name := range []string{"1", "7", "11", "12"} {
			v, _ := roomver.Get(name)
			content, ok := allowedContent(v, raw)
			if !ok {
				continue
			}
			r := newRoom(t, name, []string{"rule=invite", "3pid"})
			if err := auth.Authorize(r.event("dave", event.TypeMember, ptr("@dave:t"), content), r); err == nil {
				t.Fatalf("v%s: a stranger gets in by %s", name, content)
			}
			ev := r.event("bob", event.TypeMember, ptr("@dave:t"), content)
			_ = auth.Authorize(ev, r)
			if m := auth.ParseMember(ev.Content); m.Membership != auth.ParseMembership(ev.Membership()) {
				t.Fatalf("membership of %s read as %d and as %q", content, m.Membership, ev.Membership())
			}
			_ = auth.Selection(v, ev.Type, ev.StateKey, ev.Sender, ev.Content)
			_ = auth.RequiredSigners(ev)
		}
	})
}

// FuzzContents: parsers that never fail do not panic either.
func FuzzContents(f *testing.F) {
	for _, seed := range []string{
		`{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"!a:t"},[],{}]}`, `{"allow":{"a":1},"join_rule":null}`,
		`{"history_visibility":{}}`, `{"public_key":"","public_keys":[{"public_key":"AAAA"},7]}`, `{"additional_creators":[[]],"m.federate":7}`, `{`, `"`, ``,
	} {
		f.Add([]byte(seed))
	}
	v, _ := roomver.Get("12")
	f.Fuzz(func(t *testing.T, raw []byte) {
		_ = auth.ParseJoinRules(raw)
		_ = auth.ParseHistoryVisibility(raw)
		_ = auth.ParseMember(raw)
		ev := &event.PDU{Version: v, Content: raw, JSON: raw, Sender: "@a:t", RoomID: "!1", ID: "$1", StateKey: ptr("")}
		_ = auth.ParseThirdPartyInvite(ev)
		create := auth.ParseCreate(ev)
		_, _ = auth.ParsePowerLevels(v, raw, create)
		ev.Type = event.TypeCreate
		_ = auth.Authorize(ev, auth.NewEventState(create, func(id.Slot) *event.PDU { return nil }))
	})
}

// levelled is a state whose levels are parsed, as the engine keeps it.
type levelled struct {
	*auth.EventState
	levels *auth.PowerLevels
}

func (l levelled) PowerLevels() *auth.PowerLevels { return l.levels }
func (l levelled) Membership(id.UserID) auth.Membership {
	return auth.Joined
}

// Budget: about a microsecond for a message, however many users the levels name.
func BenchmarkAuthorizeMessage(b *testing.B) {
	for _, users := range []int{5, 1000} {
		b.Run(map[int]string{5: "5 users", 1000: "1000 users"}[users], func(b *testing.B) {
			v, _ := roomver.Get("11")
			create := auth.ParseCreate(makeEvent(b, v, "$1", "alice", event.TypeCreate, ptr(""), `{}`))
			levels, err := auth.ParsePowerLevels(v, largeLevels(users), create)
			if err != nil {
				b.Fatal(err)
			}
			st := levelled{auth.NewEventState(create, func(id.Slot) *event.PDU { return nil }), levels}
			ev := makeEvent(b, v, "$2", "alice", event.TypeMessage, nil, `{"body":"Guten Tag","msgtype":"m.text"}`)
			b.ReportAllocs()
			for b.Loop() {
				if err := auth.Authorize(ev, st); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParsePowerLevels(b *testing.B) {
	v, _ := roomver.Get("11")
	create := auth.ParseCreate(makeEvent(b, v, "$1", "alice", event.TypeCreate, ptr(""), `{}`))
	raw := largeLevels(1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := auth.ParsePowerLevels(v, raw, create); err != nil {
			b.Fatal(err)
		}
	}
}
