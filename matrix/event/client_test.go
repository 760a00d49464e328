package event_test

import (
	"encoding/json"
	"testing"

	"konsil/matrix/event"
	"konsil/matrix/roomver"
)

func TestAppendClient(t *testing.T) {
	v := version(t, "11")
	p := build(t, v, message(v))
	want := `{"content":{"body":"Grüß Gott","msgtype":"m.text"},"event_id":"` + string(p.ID) + `","origin_server_ts":1763712000123,"sender":"@anna:domain","type":"m.room.message"}`
	if got := p.AppendClient(nil, event.ClientFormat{}); string(got) != want {
		t.Errorf("%s\n%s", got, want)
	}
	tmpl := message(v)
	tmpl.Type, tmpl.StateKey, tmpl.Content = "x\"y", ptr("k\ney"), []byte(`{}`)
	p = build(t, v, tmpl)
	want = `[{"content":{},"event_id":"` + string(p.ID) + `","origin_server_ts":1763712000123,"room_id":"!room:domain","sender":"@anna:domain","state_key":"k\ney","type":"x\"y","unsigned":{"age":1}}`
	if got := p.AppendClient([]byte("["), event.ClientFormat{RoomID: true, Unsigned: []byte(`{"age":1}`)}); string(got) != want {
		t.Errorf("%s\n%s", got, want)
	}
	want = `{"content":{},"sender":"@anna:domain","state_key":"k\ney","type":"x\"y"}`
	if got := p.Stripped(); string(got) != want {
		t.Errorf("%s\n%s", got, want)
	}
	want = `{"content":{},"sender":"@anna:domain","state_key":"k\ney","type":"x\"y","origin_server_ts":1763712000123}`
	if got := p.AppendSpaceChild(nil); string(got) != want {
		t.Errorf("%s\n%s", got, want)
	}
}

// Clients old and new find the target of a redaction in every version.
// RV 11 #moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
func TestRedactsForClients(t *testing.T) {
	for _, v := range roomver.All() {
		tmpl := message(v)
		tmpl.Type, tmpl.Content, tmpl.Redacts = event.TypeRedaction, []byte(`{"reason":"x"}`), "$target:domain"
		var got struct {
			Redacts string
			Content struct{ Redacts, Reason string }
		}
		p := build(t, v, tmpl)
		if err := json.Unmarshal(p.AppendClient(nil, event.ClientFormat{}), &got); err != nil {
			t.Fatal(err)
		}
		if got.Redacts != "$target:domain" || got.Content.Redacts != "$target:domain" || got.Content.Reason != "x" {
			t.Errorf("version %s: %+v", v.ID, got)
		}
		// A redacted redaction keeps its target from version 11 on.
		if r := p.Redact(); (r.Redacts != "") != v.RedactsInContent {
			t.Errorf("version %s: redacted redacts %q", v.ID, r.Redacts)
		}
	}
}
