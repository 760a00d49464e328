package csapi_test

import (
	"slices"
	"testing"

	"konsil/homeserver/room"
)

// CS v1.16 #push-rules-api
func TestPushRulesOverHTTP(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	const rules = "/_matrix/client/v3/pushrules/"
	all := r.must("GET", rules, anna.token, nil)
	if all.at("global", "override", 0, "rule_id") != ".m.rule.master" {
		t.Errorf("rules: %.200s", all.body)
	}
	if got := r.must("GET", rules+"global/", anna.token, nil); got.at("override") == nil || got.at("global") != nil {
		t.Errorf("global rules: %.200s", got.body)
	}
	const mine = rules + "global/content/aspirin"
	r.refused(404, "M_NOT_FOUND", "GET", mine, anna.token, nil)
	r.must("PUT", mine, anna.token, object{"pattern": "aspirin", "actions": []any{"notify"}})
	r.must("PUT", rules+"global/content/first?before=aspirin", anna.token, object{"pattern": "first", "actions": []any{"notify"}})
	if got := r.must("GET", rules, anna.token, nil); got.at("global", "content", 0, "rule_id") != "first" || got.at("global", "content", 1, "rule_id") != "aspirin" {
		t.Errorf("order: %.400s", got.body)
	}
	r.must("PUT", mine+"/enabled", anna.token, object{"enabled": false})
	if got := r.must("GET", mine+"/enabled", anna.token, nil); got.field("enabled") != "false" {
		t.Errorf("enabled: %s", got.body)
	}
	r.must("PUT", mine+"/actions", anna.token, object{"actions": []any{"notify", object{"set_tweak": "highlight"}}})
	if got := r.must("GET", mine+"/actions", anna.token, nil); got.at("actions", 1, "set_tweak") != "highlight" {
		t.Errorf("actions: %s", got.body)
	}
	if got := r.must("GET", mine, anna.token, nil); got.field("pattern") != "aspirin" || got.field("default") != "false" {
		t.Errorf("the rule: %s", got.body)
	}
	r.must("DELETE", mine, anna.token, nil)
	r.refused(404, "M_NOT_FOUND", "DELETE", mine, anna.token, nil)
	r.refused(400, "M_MISSING_PARAM", "PUT", rules+"global/override/.m.rule.master/enabled", anna.token, object{})
	r.refused(400, "M_INVALID_PARAM", "PUT", rules+"global/content/.mine", anna.token, object{"pattern": "x", "actions": []any{}})
	r.refused(400, "M_INVALID_PARAM", "PUT", rules+"global/nonsense/x", anna.token, object{"actions": []any{}})
}

// CS v1.16 #get_matrixclientv3pushers
func TestPushersOverHTTP(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	pusher := object{"kind": "http", "app_id": "de.konsil.ios", "pushkey": "key", "app_display_name": "Konsil", "device_display_name": "phone",
		"lang": "de", "data": object{"url": "http://127.0.0.1:1/_matrix/push/v1/notify", "format": "event_id_only"}}
	r.must("POST", "/_matrix/client/v3/pushers/set", anna.token, pusher)
	if got := r.must("GET", "/_matrix/client/v3/pushers", anna.token, nil); got.at("pushers", 0, "app_id") != "de.konsil.ios" || got.at("pushers", 0, "data", "format") != "event_id_only" {
		t.Errorf("pushers: %s", got.body)
	}
	for _, missing := range []string{"app_display_name", "device_display_name", "lang", "data", "app_id", "pushkey"} {
		part := object{}
		for k, v := range pusher {
			if k != missing {
				part[k] = v
			}
		}
		r.refused(400, "M_MISSING_PARAM", "POST", "/_matrix/client/v3/pushers/set", anna.token, part)
	}
	r.must("POST", "/_matrix/client/v3/pushers/set", anna.token, object{"kind": nil, "app_id": "de.konsil.ios", "pushkey": "key"})
	if got := r.must("GET", "/_matrix/client/v3/pushers", anna.token, nil); len(got.texts("pushers")) != 0 {
		t.Errorf("after its end: %s", got.body)
	}
}

// CS v1.16 #get_matrixclientv3notifications
func TestNotificationsOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris := r.register("anna"), r.register("boris")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat"})
	r.must("POST", inRoom(in)+"/join", boris.token, object{})
	var said []string
	for _, text := range []string{"one", "two", "three"} {
		said = append(said, string(r.say(in, anna, text, nil)))
	}
	first := r.must("GET", "/_matrix/client/v3/notifications?limit=2", boris.token, nil)
	second := r.must("GET", "/_matrix/client/v3/notifications?limit=2&from="+first.field("next_token"), boris.token, nil)
	got := append(first.texts("notifications", "event", "event_id"), second.texts("notifications", "event", "event_id")...)
	slices.Reverse(said)
	if !slices.Equal(got, said) {
		t.Errorf("notified of %v, want %v", got, said)
	}
	if first.at("notifications", 0, "room_id") != string(in) || first.at("notifications", 0, "read") != false {
		t.Errorf("%s", first.body)
	}
	if mine := r.must("GET", "/_matrix/client/v3/notifications", anna.token, nil); len(mine.texts("notifications")) != 0 {
		t.Errorf("anna is notified of what she said: %s", mine.body)
	}
}

// MSC4306
func TestThreadSubscriptionsOverHTTP(t *testing.T) {
	r := newRig(t)
	anna, boris := r.register("anna"), r.register("boris")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat"})
	root := r.say(in, anna, "root", nil)
	reply := r.say(in, anna, "reply", object{"m.relates_to": object{"rel_type": "m.thread", "event_id": root}})
	path := "/_matrix/client/unstable/io.element.msc4306/rooms/" + string(in) + "/thread/" + string(root) + "/subscription"
	r.refused(404, "M_NOT_FOUND", "GET", path, anna.token, nil)
	r.must("PUT", path, anna.token, object{"automatic": reply})
	if got := r.must("GET", path, anna.token, nil); got.field("automatic") != "true" {
		t.Errorf("%s", got.body)
	}
	r.must("PUT", path, anna.token, object{})
	if got := r.must("GET", path, anna.token, nil); got.field("automatic") != "false" {
		t.Errorf("%s", got.body)
	}
	r.must("DELETE", path, anna.token, nil)
	r.refused(404, "M_NOT_FOUND", "GET", path, anna.token, nil)
	if got := r.do("PUT", path, boris.token, object{}); got.status != 403 && got.status != 404 {
		t.Errorf("from outside: %d %s", got.status, got.body)
	}
}
