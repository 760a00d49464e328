package csapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"konsil/homeserver/room"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func TestProfiles(t *testing.T) {
	r := newRig(t)
	anna, bert := r.register("anna"), r.register("bert")
	profile := v3 + "/profile/" + string(anna.user)
	r.refused(404, mxerr.CodeNotFound, "GET", profile+"/displayname", "", nil)
	r.must("PUT", profile+"/displayname", anna.token, `{"displayname":"Berg, Anna"}`)
	r.must("PUT", profile+"/avatar_url", anna.token, `{"avatar_url":"mxc://klinik.test/x"}`)
	r.must("PUT", profile+"/m.tz", anna.token, `{"m.tz":"Europe/Berlin"}`)
	if a := r.must("GET", profile, "", nil); a.body != `{"avatar_url":"mxc://klinik.test/x","displayname":"Berg, Anna","m.tz":"Europe/Berlin"}` {
		t.Errorf("profile is %s", a.body)
	}
	if a := r.must("GET", profile+"/displayname", "", nil); a.body != `{"displayname":"Berg, Anna"}` {
		t.Errorf("displayname is %s", a.body)
	}
	r.must("DELETE", profile+"/m.tz", anna.token, nil)
	r.refused(404, mxerr.CodeNotFound, "GET", profile+"/m.tz", "", nil)
	r.refused(403, mxerr.CodeForbidden, "PUT", profile+"/displayname", bert.token, `{"displayname":"x"}`)
	r.refused(403, mxerr.CodeForbidden, "DELETE", profile+"/displayname", bert.token, nil)
	r.refused(400, mxerr.CodeMissingParam, "PUT", profile+"/displayname", anna.token, `{"name":"x"}`)
	r.refused(400, mxerr.CodeInvalidParam, "PUT", profile+"/displayname", anna.token, `{"displayname":1}`)
	r.refused(400, mxerr.CodeInvalidParam, "PUT", profile+"/custom", anna.token, `{"custom":1}`)
	r.refused(404, mxerr.CodeNotFound, "GET", v3+"/profile/@nobody:klinik.test", "", nil)
	r.refused(404, mxerr.CodeNotFound, "GET", v3+"/profile/@nobody:other.test", "", nil)
}

// A new name goes into the rooms, unless the client does not want that.
func TestProfileChangesReachRooms(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	ward := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat"})
	name := func() string {
		t.Helper()
		ev, err := r.rooms.StateEvent(t.Context(), ward, "m.room.member", string(anna.user))
		if err != nil {
			t.Fatal(err)
		}
		var content struct {
			Name string `json:"displayname"`
		}
		if err := json.Unmarshal(ev.Content, &content); err != nil {
			t.Fatal(err)
		}
		return content.Name
	}
	path := v3 + "/profile/" + string(anna.user) + "/displayname"
	r.must("PUT", path, anna.token, `{"displayname":"Anna"}`)
	if got := name(); got != "Anna" {
		t.Errorf("the room knows %q", got)
	}
	r.must("PUT", path+"?propagate_to=none", anna.token, `{"displayname":"Berg"}`)
	if got := name(); got != "Anna" {
		t.Errorf("the room knows %q", got)
	}
}

func TestAccountDataAndTags(t *testing.T) {
	r := newRig(t)
	anna, bert := r.register("anna"), r.register("bert")
	mine := v3 + "/user/" + string(anna.user)
	for _, path := range []string{mine + "/account_data/org.x", mine + "/rooms/!ward:klinik.test/account_data/org.x"} {
		r.refused(404, mxerr.CodeNotFound, "GET", path, anna.token, nil)
		r.must("PUT", path, anna.token, `{"a":[1,{"b":null}]}`)
		if a := r.must("GET", path, anna.token, nil); a.body != `{"a":[1,{"b":null}]}` {
			t.Errorf("account data is %s", a.body)
		}
		r.refused(403, mxerr.CodeForbidden, "GET", path, bert.token, nil)
		r.refused(403, mxerr.CodeForbidden, "PUT", path, bert.token, `{}`)
		unstable := strings.Replace(path, v3, "/_matrix/client/unstable/org.matrix.msc3391", 1)
		r.refused(403, mxerr.CodeForbidden, "DELETE", unstable, bert.token, nil)
		r.must("DELETE", unstable, anna.token, nil)
		r.refused(404, mxerr.CodeNotFound, "GET", path, anna.token, nil)
	}
	r.refused(405, mxerr.CodeBadJSON, "PUT", mine+"/account_data/m.push_rules", anna.token, `{"a":1}`)
	r.refused(405, mxerr.CodeBadJSON, "PUT", mine+"/rooms/!ward:klinik.test/account_data/m.fully_read", anna.token, `{"a":1}`)
	r.refused(400, mxerr.CodeInvalidParam, "PUT", mine+"/rooms/ward/account_data/x", anna.token, `{"a":1}`)

	tags := mine + "/rooms/!ward:klinik.test/tags"
	r.must("PUT", tags+"/m.favourite", anna.token, `{"order":0.25}`)
	if a := r.must("GET", tags, anna.token, nil); a.body != `{"tags":{"m.favourite":{"order":0.25}}}` {
		t.Errorf("tags are %s", a.body)
	}
	r.must("DELETE", tags+"/m.favourite", anna.token, nil)
	if a := r.must("GET", tags, anna.token, nil); a.body != `{"tags":{}}` {
		t.Errorf("tags are %s", a.body)
	}
	r.refused(403, mxerr.CodeForbidden, "GET", tags, bert.token, nil)

	filterID := r.must("POST", mine+"/filter", anna.token, `{"room":{"timeline":{"limit":1}}}`).field("filter_id")
	if a := r.must("GET", mine+"/filter/"+filterID, anna.token, nil); a.body != `{"room":{"timeline":{"limit":1}}}` {
		t.Errorf("filter is %s", a.body)
	}
	r.refused(404, mxerr.CodeNotFound, "GET", mine+"/filter/none", anna.token, nil)
	r.refused(400, mxerr.CodeBadJSON, "POST", mine+"/filter", anna.token, `{"room":1}`)
	r.refused(403, mxerr.CodeForbidden, "POST", mine+"/filter", bert.token, `{}`)
}

// A name that somebody uses in one room only is for that room's members, and the directory finds who may be known.
func TestUserDirectory(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) { userDirectory(t, openRig(t, url)) })
}

func userDirectory(t *testing.T, r *rig) {
	anna, bert, eve := r.register("user-1-anna"), r.register("user-2-bert"), r.register("user-3-eve")
	r.must("PUT", v3+"/profile/"+string(anna.user)+"/displayname", anna.token, `{"displayname":"Alice Cooper"}`)
	create := func(by person, req room.CreateRequest) id.RoomID {
		t.Helper()
		req.Creator = by.user
		return r.room(req)
	}
	create(anna, room.CreateRequest{Visibility: "public", Preset: "public_chat"})
	private := create(bert, room.CreateRequest{Preset: "private_chat", Invite: []id.UserID{anna.user}})
	if _, err := r.rooms.Join(t.Context(), room.MembershipChange{Room: private, Sender: anna.user, Target: anna.user}); err != nil {
		t.Fatal(err)
	}
	key := string(anna.user)
	if _, err := r.rooms.Send(t.Context(), room.Draft{Room: private, Sender: anna.user, Type: "m.room.member", StateKey: &key,
		Content: json.RawMessage(`{"membership":"join","displayname":"Freddy"}`)}); err != nil {
		t.Fatal(err)
	}
	search := func(by person, term string) string {
		t.Helper()
		return r.must("POST", v3+"/user_directory/search", by.token, map[string]any{"search_term": term}).body
	}
	found := `{"results":[{"user_id":"@user-1-anna:klinik.test","display_name":"Alice Cooper"}],"limited":false}`
	const none = `{"results":[],"limited":false}`
	for _, c := range []struct {
		by         person
		term, want string
	}{
		{eve, "Alice Cooper", found}, {eve, "cooper alice", found}, {eve, "@user", found}, {eve, "Freddy", none}, {eve, "bert", none},
		{bert, "alice", found}, {bert, "@user", found}, {bert, "%", none}, {bert, "a_ice", none}, {anna, "alice", none}, {eve, " ", none},
	} {
		if got := search(c.by, c.term); got != c.want {
			t.Errorf("%s finds by %q: %s, want %s", c.by.user, c.term, got, c.want)
		}
	}
	if a := r.must("POST", v3+"/user_directory/search", eve.token, `{"search_term":"alice","limit":0}`); a.body != `{"results":[],"limited":true}` {
		t.Errorf("with limit 0: %s", a.body)
	}
	r.refused(400, mxerr.CodeMissingParam, "POST", v3+"/user_directory/search", eve.token, `{}`)
}
