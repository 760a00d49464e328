package csapi_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"konsil/homeserver/room"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/sign"
)

// deviceKeys are identity keys without signatures.
func (p person) deviceKeys() map[string]any {
	return map[string]any{"user_id": p.user, "device_id": p.device, "algorithms": []string{"m.megolm.v1.aes-sha2"},
		"keys": map[string]string{"ed25519:" + string(p.device): "abc"}, "signatures": map[string]any{}}
}

func TestKeysOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, kurt := r.register("anna"), r.register("kurt")
	const v3 = "/_matrix/client/v3/keys/"
	got := r.must("POST", v3+"upload", anna.token, map[string]any{"device_keys": anna.deviceKeys(),
		"one_time_keys": map[string]any{"signed_curve25519:A": map[string]string{"key": "a"}},
		"fallback_keys": map[string]any{"signed_curve25519:F": map[string]any{"key": "f", "fallback": true}}})
	want(t, got.body, `{"one_time_key_counts":{"signed_curve25519":1}}`)
	want(t, r.must("POST", v3+"upload", anna.token, map[string]any{}).body, `{"one_time_key_counts":{"signed_curve25519":1}}`)

	got = r.must("POST", v3+"query", kurt.token, map[string]any{"device_keys": map[string]any{string(anna.user): []string{}}})
	if !strings.Contains(got.body, fmt.Sprintf(`{"device_keys":{%q:{%q:{"algorithms":`, anna.user, anna.device)) {
		t.Errorf("query: %s", got.body)
	}
	r.refused(400, mxerr.CodeMissingParam, "POST", v3+"query", kurt.token, map[string]any{})
	// Some clients send a map where a list belongs.
	r.refused(400, mxerr.CodeBadJSON, "POST", v3+"query", kurt.token,
		map[string]any{"device_keys": map[string]any{string(anna.user): map[string]bool{"x": true}}})

	claim := map[string]any{"one_time_keys": map[string]any{string(anna.user): map[string]string{string(anna.device): "signed_curve25519"}}}
	for _, key := range []string{`"signed_curve25519:A":{"key":"a"}`, `"signed_curve25519:F":{"fallback":true,"key":"f"}`} {
		want(t, r.must("POST", v3+"claim", kurt.token, claim).body,
			fmt.Sprintf(`{"failures":{},"one_time_keys":{%q:{%q:{%s}}}}`, anna.user, anna.device, key))
	}
	r.refused(401, mxerr.CodeMissingToken, "POST", v3+"claim", "", claim)
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestA26KeysOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, kurt := r.register("anna"), r.register("kurt")
	const upload = "/_matrix/client/v3/keys/upload"
	r.refused(400, mxerr.CodeBadJSON, "POST", upload, anna.token,
		map[string]any{"device_keys": map[string]any{"user_id": anna.user, "device_id": anna.device}})
	r.refused(400, mxerr.CodeInvalidParam, "POST", upload, anna.token, map[string]any{"device_keys": kurt.deviceKeys()})
	large := anna.deviceKeys()
	large["keys"] = map[string]string{"ed25519:x": strings.Repeat("x", 1<<20)}
	r.refused(400, mxerr.CodeBadJSON, "POST", upload, anna.token, map[string]any{"device_keys": large})
}

// MSC3967 over HTTP: the second master key takes the password.
func TestCrossSigningTakesAProof(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	const upload = "/_matrix/client/v3/keys/device_signing/upload"
	body := func() map[string]any {
		public, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		b64 := sign.EncodeBase64(public)
		return map[string]any{"master_key": map[string]any{"user_id": anna.user, "usage": []string{"master"},
			"keys": map[string]string{"ed25519:" + b64: b64}}}
	}
	first, second := body(), body()
	r.must("POST", upload, anna.token, first)
	r.must("POST", upload, anna.token, first)
	asked := r.do("POST", upload, anna.token, second)
	if asked.status != 401 || asked.field("flows") == "" {
		t.Fatalf("%d %s", asked.status, asked.body)
	}
	proof := auth(anna.user, "password")
	proof["session"] = asked.field("session")
	second["auth"] = proof
	r.must("POST", upload, anna.token, second)
	r.must("POST", upload, anna.token, second)
}

func TestKeyBackupOverHTTP(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	const v3 = "/_matrix/client/v3/room_keys/"
	r.refused(404, mxerr.CodeNotFound, "GET", v3+"version", anna.token, nil)
	backup := map[string]any{"algorithm": "x", "auth_data": map[string]string{"a": "b"}}
	version := r.must("POST", v3+"version", anna.token, backup).field("version")
	want(t, r.must("GET", v3+"version", anna.token, nil).body, r.must("GET", v3+"version/"+version, anna.token, nil).body)

	one := url.PathEscape("!one:klinik.test")
	session := map[string]any{"first_message_index": 1, "forwarded_count": 2, "is_verified": true, "session_data": map[string]string{"c": "d"}}
	const written = `{"first_message_index":1,"forwarded_count":2,"is_verified":true,"session_data":{"c":"d"}}`
	q := "?version=" + version
	want(t, r.must("PUT", v3+"keys/"+one+"/s1"+q, anna.token, session).body, `{"count":1,"etag":"1"}`)
	want(t, r.must("PUT", v3+"keys/"+one+q, anna.token, map[string]any{"sessions": map[string]any{"s2": session}}).body, `{"count":2,"etag":"2"}`)
	want(t, r.must("PUT", v3+"keys"+q, anna.token, map[string]any{"rooms": map[string]any{"!two:klinik.test": map[string]any{
		"sessions": map[string]any{"s3": session}}}}).body, `{"count":3,"etag":"3"}`)
	want(t, r.must("GET", v3+"keys/"+one+"/s1"+q, anna.token, nil).body, written)
	want(t, r.must("GET", v3+"keys/"+one+q, anna.token, nil).body, `{"sessions":{"s1":`+written+`,"s2":`+written+`}}`)
	all := r.must("GET", v3+"keys"+q, anna.token, nil)
	if !json.Valid([]byte(all.body)) || strings.Count(all.body, written) != 3 || all.header.Get("Content-Type") != "application/json" {
		t.Errorf("all sessions: %s %v", all.body, all.header)
	}
	r.refused(400, mxerr.CodeMissingParam, "GET", v3+"keys", anna.token, nil)
	r.refused(403, mxerr.CodeWrongRoomKeysVersion, "PUT", v3+"keys/"+one+"/s1?version=7", anna.token, session)
	r.refused(404, mxerr.CodeNotFound, "GET", v3+"keys/"+one+"/none"+q, anna.token, nil)
	r.refused(400, mxerr.CodeBadJSON, "PUT", v3+"keys/"+one+"/s1"+q, anna.token, map[string]any{"session_data": map[string]any{}})
	want(t, r.must("DELETE", v3+"keys/"+one+"/s1"+q, anna.token, nil).body, `{"count":2,"etag":"4"}`)
	want(t, r.must("DELETE", v3+"keys/"+one+q, anna.token, nil).body, `{"count":1,"etag":"5"}`)
	want(t, r.must("DELETE", v3+"keys"+q, anna.token, nil).body, `{"count":0,"etag":"6"}`)
	backup["version"] = version
	r.must("PUT", v3+"version/"+version, anna.token, backup)
	r.must("DELETE", v3+"version/"+version, anna.token, nil)
	r.refused(404, mxerr.CodeNotFound, "GET", v3+"version", anna.token, nil)
}

func TestToDeviceOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, kurt := r.register("anna"), r.register("kurt")
	messages := map[string]any{"messages": map[string]any{string(kurt.user): map[string]any{"*": map[string]int{"n": 1}}}}
	r.must("PUT", "/_matrix/client/v3/sendToDevice/m.test/1", anna.token, messages)
	r.must("PUT", "/_matrix/client/v3/sendToDevice/m.test/1", anna.token, messages)
	r.refused(400, mxerr.CodeMissingParam, "PUT", "/_matrix/client/v3/sendToDevice/m.test/2", anna.token, map[string]any{})
	r.refused(400, mxerr.CodeBadJSON, "PUT", "/_matrix/client/v3/sendToDevice/m.test/3", anna.token,
		map[string]any{"messages": map[string]any{string(kurt.user): []string{}}})
}

func TestEphemeralOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, kurt := r.register("anna"), r.register("kurt")
	at := "/_matrix/client/v3/rooms/" + url.PathEscape(string(r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat"})))
	typing := func(user id.UserID) string { return at + "/typing/" + url.PathEscape(string(user)) }
	r.must("PUT", typing(anna.user), anna.token, map[string]any{"typing": true, "timeout": 1000})
	r.refused(403, mxerr.CodeForbidden, "PUT", typing(anna.user), kurt.token, map[string]any{"typing": true})
	r.refused(403, mxerr.CodeForbidden, "PUT", typing(kurt.user), kurt.token, map[string]any{"typing": true})
	r.refused(400, mxerr.CodeMissingParam, "PUT", typing(anna.user), anna.token, map[string]any{})

	sent, err := r.rooms.Send(t.Context(), room.Draft{Room: id.RoomID(mustUnescape(t, at)), Sender: anna.user, Type: "m.room.message", Content: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	ev := url.PathEscape(string(sent))
	r.must("POST", at+"/receipt/m.read/"+ev, anna.token, nil)
	r.must("POST", at+"/receipt/m.read/"+ev, anna.token, map[string]any{"thread_id": "main"})
	r.refused(400, mxerr.CodeInvalidParam, "POST", at+"/receipt/m.read/"+ev, anna.token, map[string]any{"thread_id": ""})
	r.refused(400, mxerr.CodeInvalidParam, "POST", at+"/receipt/m.other/"+ev, anna.token, nil)
	r.refused(403, mxerr.CodeForbidden, "POST", at+"/receipt/m.read/"+ev, kurt.token, nil)
	r.must("POST", at+"/read_markers", anna.token, map[string]any{"m.fully_read": sent, "m.read.private": sent})
	r.must("POST", at+"/read_markers", anna.token, map[string]any{})

	status := func(user id.UserID) string {
		return "/_matrix/client/v3/presence/" + url.PathEscape(string(user)) + "/status"
	}
	r.must("PUT", status(anna.user), anna.token, map[string]any{"presence": "online"})
	r.refused(403, mxerr.CodeForbidden, "PUT", status(anna.user), kurt.token, map[string]any{"presence": "online"})
	r.refused(400, mxerr.CodeInvalidParam, "PUT", status(anna.user), anna.token, map[string]any{"presence": "dancing"})
	want(t, r.must("GET", status(anna.user), anna.token, nil).body, `{"presence":"offline"}`) // off by default
}

// mustUnescape is the room ID at the end of a path.
func mustUnescape(t *testing.T, path string) string {
	t.Helper()
	room, err := url.PathUnescape(path[strings.LastIndexByte(path, '/')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return room
}
