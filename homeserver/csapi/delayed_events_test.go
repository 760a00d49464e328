package csapi_test

import (
	"strings"
	"testing"

	"konsil/homeserver/room"
	"konsil/matrix/mxerr"
)

// MSC4140
func TestDelayedEvents(t *testing.T) {
	r := newRig(t)
	anna, bob := r.register("anna"), r.register("bob")
	in := r.room(room.CreateRequest{Creator: anna.user})
	const base = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"
	send := v3 + "/rooms/" + string(in) + "/send/m.room.message/1?org.matrix.msc4140.delay=1000"
	state := v3 + "/rooms/" + string(in) + "/state/m.room.topic?org.matrix.msc4140.delay=2000"
	message := r.must("PUT", send, anna.token, `{"body":"later"}`).field("delay_id")
	topic := r.must("PUT", state, anna.token, `{"topic":"later"}`).field("delay_id")
	if again := r.must("PUT", send, anna.token, nil).field("delay_id"); again != message || message == "" || topic == message {
		t.Errorf("delay IDs %q %q %q", message, again, topic)
	}
	a := r.must("GET", base, anna.token, nil)
	for _, part := range []string{message, topic, `"content":{"body":"later"}`, `"state_key":""`, `"delay":2000`, `"running_since":1700000000000`} {
		if !strings.Contains(a.body, part) {
			t.Errorf("no %s in %s", part, a.body)
		}
	}
	if a := r.must("GET", base, bob.token, nil); a.body != `{"delayed_events":[]}` {
		t.Errorf("bob sees %s", a.body)
	}
	r.refused(401, mxerr.CodeMissingToken, "GET", base, "", nil)
	// Who knows the ID needs no token; a guess helps nobody.
	r.must("POST", base+"/"+message+"/restart", "", `{}`)
	r.must("POST", base+"/"+message+"/cancel", "", `{}`)
	r.refused(404, mxerr.CodeNotFound, "POST", base+"/"+message+"/send", "", `{}`)
	r.refused(404, mxerr.CodeUnrecognized, "POST", base+"/"+topic+"/oops", "", `{}`)
	r.refused(400, mxerr.CodeMissingParam, "POST", base+"/"+topic, "", `{}`)
	r.refused(400, mxerr.CodeInvalidParam, "POST", base+"/"+topic, "", `{"action":"oops"}`)
	r.must("POST", base+"/"+topic, "", `{"action":"send"}`)
	if a := r.must("GET", v3+"/rooms/"+string(in)+"/state/m.room.topic", anna.token, nil); a.body != `{"topic":"later"}` {
		t.Errorf("topic %s", a.body)
	}
	r.refused(400, mxerr.CodeUnknown, "PUT", send+"999999999999999", anna.token, `{}`)
	r.refused(400, mxerr.CodeInvalidParam, "PUT", v3+"/rooms/"+string(in)+"/send/m.room.message/2?org.matrix.msc4140.delay=-1", anna.token, `{}`)
}
