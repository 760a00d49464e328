package csapi_test

import (
	"encoding/json"
	"sync"
	"testing"

	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

const noticePath = "/_synapse/admin/v1/send_server_notice"

func noticeTo(user id.UserID, body string) map[string]any {
	return map[string]any{"user_id": user, "content": map[string]any{"msgtype": "m.text", "body": body}}
}

// noticeRoom finds the one room that a user is related to, and how.
func (r *rig) noticeRoom(user id.UserID) (id.RoomID, string) {
	r.t.Helper()
	rooms, err := r.rooms.UserRooms(r.t.Context(), user)
	if err != nil || len(rooms) != 1 {
		r.t.Fatalf("rooms of %s: %v, %v", user, rooms, err)
	}
	return rooms[0].Room, rooms[0].Membership
}

func TestServerNotice(t *testing.T) {
	r := newRig(t)
	root, anna := r.registerAdmin("root"), r.register("anna")
	r.refused(403, mxerr.CodeForbidden, "POST", noticePath, anna.token, noticeTo(anna.user, "x"))
	r.refused(401, mxerr.CodeMissingToken, "POST", noticePath, "", noticeTo(anna.user, "x"))
	r.refused(404, mxerr.CodeNotFound, "POST", noticePath, root.token, noticeTo("@nobody:klinik.test", "x"))
	r.refused(400, mxerr.CodeInvalidParam, "POST", noticePath, root.token, noticeTo("@anna:praxis.test", "x"))
	r.refused(400, mxerr.CodeMissingParam, "POST", noticePath, root.token, map[string]any{"user_id": anna.user})

	sent := r.must("POST", noticePath, root.token, noticeTo(anna.user, "maintenance at noon")).field("event_id")
	in, membership := r.noticeRoom(anna.user)
	if membership != "invite" {
		t.Fatalf("anna: %s", membership)
	}
	leave, join := v3+"/rooms/"+string(in)+"/leave", v3+"/rooms/"+string(in)+"/join"
	r.refused(403, mxerr.CodeCannotLeaveServerNoticeRoom, "POST", leave, anna.token, `{}`)
	r.must("POST", join, anna.token, `{}`)
	var ev struct {
		Sender  id.UserID
		Content struct{ Body string }
	}
	a := r.must("GET", v3+"/rooms/"+string(in)+"/event/"+sent, anna.token, nil)
	if err := json.Unmarshal([]byte(a.body), &ev); err != nil || ev.Sender != "@_server:klinik.test" || ev.Content.Body != "maintenance at noon" {
		t.Errorf("notice: %s", a.body)
	}
	if a := r.must("GET", v3+"/user/"+string(anna.user)+"/rooms/"+string(in)+"/tags", anna.token, nil); a.body != `{"tags":{"m.server_notice":{}}}` {
		t.Errorf("tags: %s", a.body)
	}
	r.refused(403, mxerr.CodeForbidden, "PUT", v3+"/rooms/"+string(in)+"/send/m.room.message/1", anna.token, `{"body":"an answer"}`)

	r.must("POST", leave, anna.token, `{}`)
	r.must("POST", noticePath, root.token, noticeTo(anna.user, "and again"))
	if again, membership := r.noticeRoom(anna.user); again != in || membership != "invite" {
		t.Errorf("after leaving: %s in %s, want an invite to %s", membership, again, in)
	}
}

func TestServerNoticeTwice(t *testing.T) {
	r := newRig(t)
	root, anna, bob := r.registerAdmin("root"), r.register("anna"), r.register("bob")
	send := func(txn string, to id.UserID) string {
		return r.must("PUT", noticePath+"/"+txn, root.token, noticeTo(to, "hello")).field("event_id")
	}
	first := send("1", anna.user)
	if again := send("1", anna.user); again != first {
		t.Errorf("the same transaction sent %s and %s", first, again)
	}
	if other := send("2", anna.user); other == first {
		t.Error("another transaction sent nothing")
	}
	if other := send("1", bob.user); other == first {
		t.Error("another user got nothing")
	}
}

// Two first notices at once must not leave a user with two rooms.
func TestServerNoticesAtOnce(t *testing.T) {
	r := newRig(t)
	root, anna := r.registerAdmin("root"), r.register("anna")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if a := r.do("POST", noticePath, root.token, noticeTo(anna.user, "hello")); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	all.Wait()
	r.noticeRoom(anna.user) // fails unless it is the only one
}

func TestServerNoticeUserIsReserved(t *testing.T) {
	r := newRig(t)
	r.refused(400, mxerr.CodeInvalidUsername, "POST", v3+"/register", "", map[string]any{
		"username": "_server", "password": "password", "auth": map[string]string{"type": "m.login.dummy"}})
	root, anna := r.registerAdmin("root"), r.register("anna")
	r.must("POST", noticePath, root.token, noticeTo(anna.user, "hello"))
	r.refused(403, mxerr.CodeForbidden, "POST", v3+"/login", "", map[string]any{
		"type": "m.login.password", "password": "", "identifier": map[string]any{"type": "m.id.user", "user": "_server"}})
}
