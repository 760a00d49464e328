package event_test

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/roomver"
)

// What Parse accepts is within all limits, reads back the same, and stands all that is done with events.
func FuzzParsePDU(f *testing.F) {
	for i, v := range roomver.All() {
		f.Add(build(f, v, message(v)).JSON, byte(i))
		tmpl := message(v)
		tmpl.Type, tmpl.StateKey, tmpl.Content = event.TypeMember, ptr("@anna:domain"), []byte(`{"membership":"invite","third_party_invite":{"signed":{}}}`)
		f.Add(build(f, v, tmpl).JSON, byte(i))
	}
	f.Add([]byte(`{"type":"m.room.create","state_key":"","sender":"@a:b","content":{},"depth":1,"origin_server_ts":1,"prev_events":[],"auth_events":[]}`), byte(11))
	key := specKey(f)
	f.Fuzz(func(t *testing.T, raw []byte, n byte) {
		v := roomver.All()[int(n)%len(roomver.All())]
		p, err := event.Parse(raw, v)
		if err != nil {
			return
		}
		if len(p.JSON) > event.MaxSize || utf8.RuneCountInString(p.Type) > 255 || len(p.Sender) > 255 || len(p.RoomID) > 255 || len(p.ID) > 255 ||
			p.Depth < 0 || p.Depth > event.MaxDepth(v) || !canonical.IsObject(p.Content) || !bytes.Contains(p.JSON, p.Content) {
			t.Fatalf("%+v", p)
		}
		again, err := event.Parse(p.JSON, v)
		if err != nil || again.ID != p.ID || again.RoomID != p.RoomID || !bytes.Equal(again.JSON, p.JSON) {
			t.Fatalf("%s\n%+v, %v", p.JSON, again, err)
		}
		if r := p.Redact(); len(p.JSON) > len(r.JSON) {
			if parsed, err := event.Parse(r.JSON, v); err != nil || parsed.ID != p.ID || parsed.Membership() != p.Membership() {
				t.Fatalf("%s\n%+v, %v", r.JSON, parsed, err)
			}
		}
		if signed := p.Sign("b", key); signed.Verify("b", key.ID, key.Public()) != nil {
			t.Fatalf("%s", signed.JSON)
		}
		for _, out := range [][]byte{p.AppendClient(nil, event.ClientFormat{RoomID: true}), p.Stripped()} {
			if err := canonical.Check(out, canonical.Lenient); err != nil {
				t.Fatalf("%s: %v", out, err)
			}
		}
		p.HashMatches()
		p.Signers()
		p.AuthorisedVia()
	})
}

func FuzzTemplate(f *testing.F) {
	for i, v := range roomver.All() {
		json, err := message(v).JSON(v)
		if err != nil && v.HashedEventIDs() {
			f.Fatal(err)
		}
		f.Add(json, byte(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, n byte) {
		v := roomver.All()[int(n)%len(roomver.All())]
		tmpl, err := event.ParseTemplate(raw, v)
		if err != nil {
			return
		}
		if !v.HashedEventIDs() {
			tmpl.ID = "$chosen:domain"
		}
		if p, err := event.Build(v, tmpl, "domain", specKey(t)); err == nil && !p.HashMatches() {
			t.Fatalf("%s", p.JSON)
		}
	})
}
