package csapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"konsil/homeserver/room"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func TestReports(t *testing.T) {
	r := newRig(t)
	root, anna, bob := r.registerAdmin("root"), r.register("anna"), r.register("bob")
	in := r.room(room.CreateRequest{Creator: bob.user, Preset: "public_chat"})
	r.must("POST", v3+"/rooms/"+string(in)+"/join", anna.token, `{}`)
	said := r.must("PUT", v3+"/rooms/"+string(in)+"/send/m.room.message/1", bob.token, `{"body":"rude"}`).field("event_id")
	secret := r.room(room.CreateRequest{Creator: bob.user})
	hidden := r.must("PUT", v3+"/rooms/"+string(secret)+"/send/m.room.message/1", bob.token, `{"body":"rude"}`).field("event_id")
	reason := map[string]any{"reason": "this makes me sad\x00"}

	r.must("POST", v3+"/rooms/"+string(in)+"/report/"+said, anna.token, reason)
	r.must("POST", v3+"/rooms/"+string(in)+"/report", anna.token, reason)
	r.must("POST", v3+"/users/"+string(bob.user)+"/report", anna.token, reason)
	r.must("POST", v3+"/users/@carol:there.test/report", anna.token, `{}`)
	// What somebody can not see can not be told from what is not there.
	r.refused(404, mxerr.CodeNotFound, "POST", v3+"/rooms/"+string(secret)+"/report/"+hidden, anna.token, reason)
	r.refused(404, mxerr.CodeNotFound, "POST", v3+"/rooms/"+string(in)+"/report/"+hidden, anna.token, reason)
	r.refused(404, mxerr.CodeNotFound, "POST", v3+"/rooms/"+string(in)+"/report/$nothing", anna.token, reason)
	r.must("POST", v3+"/rooms/!nowhere:here.test/report", anna.token, reason)
	r.must("POST", v3+"/users/@nobody:klinik.test/report", anna.token, reason)
	r.refused(413, mxerr.CodeTooLarge, "POST", v3+"/rooms/"+string(in)+"/report", anna.token, map[string]any{"reason": strings.Repeat("x", 5000)})

	const list = "/_synapse/admin/v1/event_reports"
	r.refused(403, mxerr.CodeForbidden, "GET", list, anna.token, nil)
	type report struct {
		Reporter id.UserID  `json:"user_id"`
		Room     id.RoomID  `json:"room_id"`
		Event    id.EventID `json:"event_id"`
		Sender   id.UserID  `json:"sender"`
		Reason   string
	}
	var got struct {
		Reports []report `json:"event_reports"`
		Next    string   `json:"next_token"`
		Total   int
	}
	read := func(query string) {
		t.Helper()
		got.Reports, got.Next = nil, ""
		if err := json.Unmarshal([]byte(r.must("GET", list+query, root.token, nil).body), &got); err != nil {
			t.Fatal(err)
		}
	}
	read("?limit=3")
	if got.Total != 4 || len(got.Reports) != 3 || got.Next == "" || got.Reports[0] != (report{Reporter: anna.user, Sender: "@carol:there.test"}) {
		t.Errorf("the newest: %+v", got)
	}
	read("?from=" + got.Next)
	want := report{anna.user, in, id.EventID(said), bob.user, "this makes me sad\x00"}
	if len(got.Reports) != 1 || got.Reports[0] != want || got.Next != "" {
		t.Errorf("the oldest: %+v", got)
	}
}
