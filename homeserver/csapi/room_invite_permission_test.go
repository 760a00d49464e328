package csapi_test

import (
	"testing"

	"konsil/homeserver/room"
	"konsil/matrix/mxerr"
)

// Each way to invite somebody asks whether they want it. CS v1.18 #invite-permission
func TestBlockedInvites(t *testing.T) {
	r := newRig(t)
	anna, bob := r.register("anna"), r.register("bob")
	in := r.room(room.CreateRequest{Creator: bob.user})
	r.must("PUT", v3+"/user/"+string(anna.user)+"/account_data/m.invite_permission_config", anna.token, `{"default_action":"block"}`)
	invite := map[string]any{"user_id": anna.user}
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{"POST", "/rooms/" + string(in) + "/invite", invite},
		{"PUT", "/rooms/" + string(in) + "/state/m.room.member/" + string(anna.user), map[string]any{"membership": "invite"}},
		{"POST", "/createRoom", map[string]any{"invite": []any{anna.user}}},
	} {
		r.refused(403, mxerr.CodeInviteBlocked, c.method, v3+c.path, bob.token, c.body)
	}
	if m, err := r.rooms.Membership(t.Context(), in, anna.user); err != nil || m != "" {
		t.Errorf("membership %q, %v", m, err)
	}
	r.must("PUT", v3+"/user/"+string(anna.user)+"/account_data/m.invite_permission_config", anna.token, `{}`)
	r.must("POST", v3+"/rooms/"+string(in)+"/invite", bob.token, invite)
}
