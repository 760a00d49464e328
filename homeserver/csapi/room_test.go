package csapi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"konsil/homeserver/room"
	"konsil/matrix/id"
)

type object = map[string]any

// at reads a value out of an answer, by keys and places.
func (a answer) at(path ...any) any {
	var v any
	if json.Unmarshal([]byte(a.body), &v) != nil {
		return nil
	}
	for _, step := range path {
		switch step := step.(type) {
		case string:
			o, _ := v.(object)
			v = o[step]
		case int:
			list, _ := v.([]any)
			if step >= len(list) {
				return nil
			}
			v = list[step]
		}
	}
	return v
}

// texts reads one field of each element of a list in the answer.
func (a answer) texts(list string, path ...any) []string {
	var found []string
	all, _ := a.at(list).([]any)
	for i := range all {
		found = append(found, fmt.Sprint(a.at(append([]any{list, i}, path...)...)))
	}
	return found
}

func inRoom(r id.RoomID) string { return "/_matrix/client/v3/rooms/" + string(r) }

// say sends a message and answers its event ID. A second passes before.
func (r *rig) say(in id.RoomID, who person, text string, more object) id.EventID {
	r.t.Helper()
	r.clock.Advance(time.Second)
	content := object{"msgtype": "m.text", "body": text}
	for k, v := range more {
		content[k] = v
	}
	return id.EventID(r.must("PUT", inRoom(in)+"/send/m.room.message/"+url.PathEscape(text), who.token, content).field("event_id"))
}

func TestMembershipOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris, clara := r.register("anna"), r.register("boris"), r.register("clara")
	made := r.must("POST", "/_matrix/client/v3/createRoom", anna.token, object{"preset": "public_chat", "room_alias_name": "visite", "name": "Visite"})
	in := id.RoomID(made.field("room_id"))
	alias := url.PathEscape("#visite:" + string(server))

	if got := r.must("POST", "/_matrix/client/v3/join/"+alias, boris.token, object{"reason": "on call", "de.ward": 7}); got.field("room_id") != string(in) {
		t.Errorf("join by alias: %s", got.body)
	}
	member := r.must("GET", inRoom(in)+"/state/m.room.member/"+string(boris.user), anna.token, nil)
	if member.field("reason") != "on call" || member.field("de.ward") != "7" || member.field("membership") != "join" {
		t.Errorf("the member event: %s", member.body)
	}
	if got := r.must("GET", "/_matrix/client/v3/joined_rooms", boris.token, nil); got.at("joined_rooms", 0) != string(in) {
		t.Errorf("joined rooms: %s", got.body)
	}
	joined := r.must("GET", inRoom(in)+"/joined_members", boris.token, nil)
	if joined.at("joined", string(anna.user)) == nil || joined.at("joined", string(clara.user)) != nil {
		t.Errorf("joined members: %s", joined.body)
	}
	r.refused(403, "M_FORBIDDEN", "GET", inRoom(in)+"/joined_members", clara.token, nil)

	r.refused(400, "M_MISSING_PARAM", "POST", inRoom(in)+"/kick", anna.token, object{})
	r.refused(403, "M_FORBIDDEN", "POST", inRoom(in)+"/kick", boris.token, object{"user_id": anna.user})
	r.must("POST", inRoom(in)+"/kick", anna.token, object{"user_id": boris.user, "reason": "shift is over"})
	r.must("POST", inRoom(in)+"/join", boris.token, object{})
	r.must("POST", inRoom(in)+"/ban", anna.token, object{"user_id": boris.user})
	r.refused(403, "M_FORBIDDEN", "POST", inRoom(in)+"/join", boris.token, object{})
	r.must("POST", inRoom(in)+"/unban", anna.token, object{"user_id": boris.user})
	r.must("POST", inRoom(in)+"/invite", anna.token, object{"user_id": boris.user})
	r.must("POST", inRoom(in)+"/leave", boris.token, object{})
	r.must("POST", inRoom(in)+"/forget", boris.token, object{})
	r.refused(403, "M_FORBIDDEN", "GET", inRoom(in)+"/messages?dir=b", boris.token, nil)
	if members := r.must("GET", inRoom(in)+"/members?not_membership=leave", anna.token, nil); len(members.at("chunk").([]any)) != 1 {
		t.Errorf("members: %s", members.body)
	}
	for path, code := range map[string]string{"nonsense": "M_INVALID_PARAM", "%23odd": "M_INVALID_PARAM"} {
		r.refused(400, code, "POST", "/_matrix/client/v3/join/"+path, boris.token, object{})
	}
	r.refused(404, "M_NOT_FOUND", "POST", "/_matrix/client/v3/join/"+url.PathEscape("#nobody:"+string(server)), boris.token, object{})
	r.refused(400, "M_BAD_JSON", "POST", "/_matrix/client/v3/join/"+alias, boris.token, "[]")
}

// CS v1.16 #knocking-on-rooms
func TestKnockOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris := r.register("anna"), r.register("boris")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "private_chat"})
	r.refused(403, "M_FORBIDDEN", "POST", "/_matrix/client/v3/knock/"+string(in), boris.token, object{})
	r.must("PUT", inRoom(in)+"/state/m.room.join_rules/", anna.token, object{"join_rule": "knock"})
	r.must("POST", "/_matrix/client/v3/knock/"+string(in), boris.token, object{"reason": "may I?"})
	member := r.must("GET", inRoom(in)+"/state/m.room.member/"+string(boris.user), anna.token, nil)
	if member.field("membership") != "knock" || member.field("reason") != "may I?" {
		t.Errorf("%s", member.body)
	}
	r.must("POST", inRoom(in)+"/invite", anna.token, object{"user_id": boris.user})
	r.must("POST", inRoom(in)+"/join", boris.token, object{})
}

func TestDirectoryOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris := r.register("anna"), r.register("boris")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat", Name: "Cardiology"})
	other := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat", Name: "Radiology"})
	alias := "/_matrix/client/v3/directory/room/" + url.PathEscape("#heart:"+string(server))

	r.refused(404, "M_NOT_FOUND", "GET", alias, "", nil)
	r.refused(400, "M_MISSING_PARAM", "PUT", alias, anna.token, object{})
	r.refused(400, "M_INVALID_PARAM", "PUT", "/_matrix/client/v3/directory/room/"+url.PathEscape("#heart:praxis.test"), anna.token, object{"room_id": in})
	r.must("PUT", alias, anna.token, object{"room_id": in})
	r.refused(409, "M_UNKNOWN", "PUT", alias, anna.token, object{"room_id": other})
	if got := r.must("GET", alias, "", nil); got.field("room_id") != string(in) || got.at("servers", 0) != string(server) {
		t.Errorf("resolved: %s", got.body)
	}
	if got := r.must("GET", inRoom(in)+"/aliases", anna.token, nil); got.at("aliases", 0) != "#heart:"+string(server) {
		t.Errorf("aliases: %s", got.body)
	}
	r.must("PUT", inRoom(in)+"/state/m.room.canonical_alias/", anna.token, object{"alias": "#heart:" + string(server)})
	r.refused(400, "M_BAD_ALIAS", "PUT", inRoom(other)+"/state/m.room.canonical_alias/", anna.token, object{"alias": "#heart:" + string(server)})
	r.refused(400, "M_BAD_ALIAS", "PUT", inRoom(in)+"/state/m.room.canonical_alias/", anna.token, object{"alt_aliases": []string{"#none:" + string(server)}})
	r.refused(400, "M_INVALID_PARAM", "PUT", inRoom(in)+"/state/m.room.canonical_alias/", anna.token, object{"alias": "heart"})

	listed := "/_matrix/client/v3/directory/list/room/"
	if got := r.must("GET", listed+string(in), "", nil); got.field("visibility") != "private" {
		t.Errorf("visibility: %s", got.body)
	}
	r.refused(404, "M_NOT_FOUND", "GET", listed+"!none:klinik.test", "", nil)
	r.refused(403, "M_FORBIDDEN", "PUT", listed+string(in), boris.token, object{"visibility": "public"})
	r.refused(400, "M_INVALID_PARAM", "PUT", listed+string(in), anna.token, object{"visibility": "odd"})
	for _, each := range []id.RoomID{in, other} {
		r.must("PUT", listed+string(each), anna.token, object{"visibility": "public"})
	}
	first := r.must("GET", "/_matrix/client/v3/publicRooms?limit=1", "", nil)
	next := r.must("GET", "/_matrix/client/v3/publicRooms?limit=1&since="+url.QueryEscape(first.field("next_batch")), "", nil)
	names := append(first.texts("chunk", "name"), next.texts("chunk", "name")...)
	slices.Sort(names)
	if !slices.Equal(names, []string{"Cardiology", "Radiology"}) {
		t.Errorf("two pages list %v", names)
	}
	found := r.must("POST", "/_matrix/client/v3/publicRooms", anna.token, object{"filter": object{"generic_search_term": "cardio"}})
	if got := found.texts("chunk", "canonical_alias"); !slices.Equal(got, []string{"#heart:" + string(server)}) {
		t.Errorf("searched: %s", found.body)
	}
	r.refused(403, "M_FORBIDDEN", "DELETE", alias, boris.token, nil)
	r.must("DELETE", alias, anna.token, nil)
	r.refused(404, "M_NOT_FOUND", "GET", alias, "", nil)
}

func TestHistoryOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris := r.register("anna"), r.register("boris")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat"})
	r.must("POST", inRoom(in)+"/join", boris.token, object{})
	var said []id.EventID
	for _, text := range []string{"one", "two", "three", "four", "five"} {
		said = append(said, r.say(in, anna, text, nil))
	}
	bodies := func(a answer, list string) string { return strings.Join(a.texts(list, "content", "body"), " ") }

	page := r.must("GET", inRoom(in)+"/messages?dir=b&limit=2", boris.token, nil)
	if got := bodies(page, "chunk"); got != "five four" {
		t.Errorf("first page: %s", got)
	}
	second := r.must("GET", inRoom(in)+"/messages?dir=b&limit=2&from="+page.field("end"), boris.token, nil)
	if got := bodies(second, "chunk"); got != "three two" {
		t.Errorf("second page: %s", got)
	}
	back := r.must("GET", inRoom(in)+"/messages?dir=f&limit=9&from="+second.field("end")+"&to="+page.field("end"), boris.token, nil)
	if got := bodies(back, "chunk"); got != "two three" {
		t.Errorf("forward up to a token: %s", got)
	}
	lazy := r.must("GET", inRoom(in)+"/messages?dir=b&limit=1&filter="+url.QueryEscape(`{"lazy_load_members":true,"types":["m.room.message"]}`), boris.token, nil)
	if got := lazy.texts("state", "state_key"); !slices.Equal(got, []string{string(anna.user)}) {
		t.Errorf("members of the page: %v", got)
	}
	for query, code := range map[string]string{"dir=x": "M_INVALID_PARAM", "dir=b&from=nonsense": "M_INVALID_PARAM", "dir=b&filter=[]": "M_INVALID_PARAM", "dir=b&to=x": "M_INVALID_PARAM"} {
		r.refused(400, code, "GET", inRoom(in)+"/messages?"+query, boris.token, nil)
	}

	around := r.must("GET", inRoom(in)+"/context/"+string(said[2])+"?limit=2", boris.token, nil)
	if bodies(around, "events_before") != "two" || bodies(around, "events_after") != "four" || around.at("event", "content", "body") != "three" {
		t.Errorf("context: %s", around.body)
	}
	if got := around.texts("state", "type"); !slices.Contains(got, "m.room.create") {
		t.Errorf("state of the context: %v", got)
	}
	sparse := r.must("GET", inRoom(in)+"/context/"+string(said[2])+"?limit=0&filter="+url.QueryEscape(`{"lazy_load_members":true}`), boris.token, nil)
	for i, typ := range sparse.texts("state", "type") {
		if typ == "m.room.member" && sparse.at("state", i, "state_key") != string(anna.user) {
			t.Errorf("a member who said nothing there: %s", sparse.body)
		}
	}

	third := r.must("GET", inRoom(in)+"/event/"+string(said[2]), boris.token, nil)
	ts := int64(third.at("origin_server_ts").(float64))
	for dir, want := range map[string]id.EventID{"f": said[3], "b": said[2]} {
		near := r.must("GET", fmt.Sprintf("/_matrix/client/v1/rooms/%s/timestamp_to_event?dir=%s&ts=%d", in, dir, ts+1), boris.token, nil)
		if near.field("event_id") != string(want) {
			t.Errorf("nearest to the time, %s: %s", dir, near.body)
		}
	}
	r.refused(400, "M_MISSING_PARAM", "GET", "/_matrix/client/v1/rooms/"+string(in)+"/timestamp_to_event?dir=f", boris.token, nil)
	r.refused(400, "M_INVALID_PARAM", "GET", "/_matrix/client/v1/rooms/"+string(in)+"/timestamp_to_event?ts=1", boris.token, nil)
	r.refused(404, "M_NOT_FOUND", "GET", fmt.Sprintf("/_matrix/client/v1/rooms/%s/timestamp_to_event?dir=f&ts=%d", in, ts+1e9), boris.token, nil)
}

// CS v1.16 #forming-relationships-between-events, #threading
func TestRelationsOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris := r.register("anna"), r.register("boris")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat"})
	r.must("POST", inRoom(in)+"/join", boris.token, object{})
	root := r.say(in, anna, "root", nil)
	relates := func(rel string, to id.EventID) object {
		return object{"m.relates_to": object{"rel_type": rel, "event_id": to}}
	}
	r.say(in, boris, "reply", relates("m.thread", root))
	r.say(in, anna, "second reply", relates("m.thread", root))
	reference := r.say(in, boris, "reference", relates("m.reference", root))
	r.say(in, boris, "about the reference", relates("m.reference", reference))

	related := "/_matrix/client/v1/rooms/" + string(in) + "/relations/" + string(root)
	bodies := func(a answer) string { return strings.Join(a.texts("chunk", "content", "body"), ", ") }
	for path, want := range map[string]string{
		related:                              "reference, second reply, reply",
		related + "?dir=f":                   "reply, second reply, reference",
		related + "/m.thread":                "second reply, reply",
		related + "/m.thread/m.room.message": "second reply, reply",
		related + "/m.thread/m.sticker":      "",
		related + "?recurse=true":            "about the reference, reference, second reply, reply",
	} {
		if got := bodies(r.must("GET", path, anna.token, nil)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	page := r.must("GET", related+"?limit=2", anna.token, nil)
	rest := r.must("GET", related+"?limit=2&from="+page.field("next_batch"), anna.token, nil)
	if bodies(rest) != "reply" || rest.field("next_batch") != "" {
		t.Errorf("second page: %s", rest.body)
	}
	if depth := r.must("GET", related+"?recurse=true", anna.token, nil).at("recursion_depth"); depth == nil {
		t.Error("no recursion_depth")
	}
	r.refused(400, "M_INVALID_PARAM", "GET", related+"?from=x", anna.token, nil)

	threads := r.must("GET", "/_matrix/client/v1/rooms/"+string(in)+"/threads", boris.token, nil)
	if got := threads.texts("chunk", "event_id"); !slices.Equal(got, []string{string(root)}) {
		t.Errorf("threads: %s", threads.body)
	}
	other := r.say(in, anna, "another root", nil)
	r.say(in, anna, "to myself", relates("m.thread", other))
	mine := r.must("GET", "/_matrix/client/v1/rooms/"+string(in)+"/threads?include=participated", boris.token, nil)
	if got := mine.texts("chunk", "event_id"); !slices.Equal(got, []string{string(root)}) {
		t.Errorf("threads with boris: %s", mine.body)
	}
}

func TestStateAndRedactionOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris := r.register("anna"), r.register("boris")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat", Name: "Visite"})
	r.must("POST", inRoom(in)+"/join", boris.token, object{})
	state := r.must("GET", inRoom(in)+"/state", boris.token, nil)
	if !strings.HasPrefix(state.body, "[") || !strings.Contains(state.body, `"name":"Visite"`) {
		t.Errorf("state: %s", state.body)
	}
	if got := r.must("GET", inRoom(in)+"/state/m.room.name", boris.token, nil); got.body != `{"name":"Visite"}` {
		t.Errorf("content: %s", got.body)
	}
	if got := r.must("GET", inRoom(in)+"/state/m.room.name?format=event", boris.token, nil); got.field("sender") != string(anna.user) {
		t.Errorf("event: %s", got.body)
	}
	r.refused(404, "M_NOT_FOUND", "GET", inRoom(in)+"/state/m.room.topic/", boris.token, nil)

	said := r.say(in, anna, "what one regrets", nil)
	r.refused(403, "M_FORBIDDEN", "PUT", inRoom(in)+"/redact/"+string(said)+"/1", boris.token, object{})
	first := r.must("PUT", inRoom(in)+"/redact/"+string(said)+"/2", anna.token, object{"reason": "wrong room"})
	again := r.must("PUT", inRoom(in)+"/redact/"+string(said)+"/2", anna.token, object{"reason": "wrong room"})
	if first.field("event_id") != again.field("event_id") {
		t.Error("a repeated redaction is another event")
	}
	seen := r.must("GET", inRoom(in)+"/event/"+string(said), boris.token, nil)
	if strings.Contains(seen.body, "regrets") || seen.at("unsigned", "redacted_because", "content", "reason") != "wrong room" {
		t.Errorf("redacted: %s", seen.body)
	}
}

// CS v1.16 #room-upgrades
func TestUpgradeOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris := r.register("anna"), r.register("boris")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat", Name: "Visite", Version: "10"})
	r.must("POST", inRoom(in)+"/join", boris.token, object{})
	r.refused(400, "M_MISSING_PARAM", "POST", inRoom(in)+"/upgrade", anna.token, object{"new_version": " "})
	r.refused(400, "M_UNSUPPORTED_ROOM_VERSION", "POST", inRoom(in)+"/upgrade", anna.token, object{"new_version": "seven"})
	r.refused(403, "M_FORBIDDEN", "POST", inRoom(in)+"/upgrade", boris.token, object{"new_version": "11"})
	next := id.RoomID(r.must("POST", inRoom(in)+"/upgrade", anna.token, object{"new_version": "11"}).field("replacement_room"))
	if got := r.must("GET", inRoom(in)+"/state/m.room.tombstone", boris.token, nil); got.field("replacement_room") != string(next) {
		t.Errorf("tombstone: %s", got.body)
	}
	create := r.must("GET", inRoom(next)+"/state/m.room.create", anna.token, nil)
	if create.at("predecessor", "room_id") != string(in) || create.field("room_version") != "11" {
		t.Errorf("create: %s", create.body)
	}
}

// CS v1.16 #spaces
func TestSpacesOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris := r.register("anna"), r.register("boris")
	open := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat", Name: "Ward"})
	closed := r.room(room.CreateRequest{Creator: anna.user, Preset: "private_chat", Name: "Secret"})
	space := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat", Name: "House", CreationContent: json.RawMessage(`{"type":"m.space"}`)})
	for child, suggested := range map[id.RoomID]bool{open: true, closed: false} {
		r.must("PUT", inRoom(space)+"/state/m.space.child/"+string(child), anna.token, object{"via": []id.ServerName{server}, "suggested": suggested})
	}
	tour := "/_matrix/client/v1/rooms/" + string(space) + "/hierarchy"
	names := func(who person, query string) []string {
		got := r.must("GET", tour+query, who.token, nil).texts("rooms", "name")
		slices.Sort(got)
		return got
	}
	if got := names(anna, ""); !slices.Equal(got, []string{"House", "Secret", "Ward"}) {
		t.Errorf("anna sees %v", got)
	}
	if got := names(boris, ""); !slices.Equal(got, []string{"House", "Ward"}) {
		t.Errorf("boris sees %v", got)
	}
	if got := names(anna, "?suggested_only=true"); !slices.Equal(got, []string{"House", "Ward"}) {
		t.Errorf("suggested: %v", got)
	}
	if got := names(anna, "?max_depth=0"); !slices.Equal(got, []string{"House"}) {
		t.Errorf("without children: %v", got)
	}
	page := r.must("GET", tour+"?limit=1", anna.token, nil)
	rest := r.must("GET", tour+"?limit=9&from="+url.QueryEscape(page.field("next_batch")), anna.token, nil)
	if all := append(page.texts("rooms", "room_id"), rest.texts("rooms", "room_id")...); len(all) != 3 || len(slices.Compact(slices.Sorted(slices.Values(all)))) != 3 {
		t.Errorf("pages: %v", all)
	}
	r.refused(400, "M_INVALID_PARAM", "GET", tour+"?from=nonsense", anna.token, nil)

	summary := "/_matrix/client/v1/room_summary/"
	if got := r.must("GET", summary+string(open), boris.token, nil); got.field("name") != "Ward" || got.field("room_version") == "" {
		t.Errorf("summary: %s", got.body)
	}
	if got := r.must("GET", summary+string(closed), anna.token, nil); got.field("membership") != "join" {
		t.Errorf("summary of one's own room: %s", got.body)
	}
	r.refused(404, "M_NOT_FOUND", "GET", summary+string(closed), boris.token, nil)
}
