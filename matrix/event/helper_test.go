package event_test

import (
	"testing"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

// specKey is the key of the specification's vectors. Appendices v1.16 #signing-key
func specKey(t testing.TB) sign.Key {
	t.Helper()
	key, err := sign.ParseKey([]byte("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func version(t testing.TB, name string) *roomver.Version {
	t.Helper()
	v, ok := roomver.Get(name)
	if !ok {
		t.Fatalf("no room version %q", name)
	}
	return v
}

func canon(t testing.TB, in string) []byte {
	t.Helper()
	out, err := canonical.Append(nil, []byte(in), canonical.Lenient)
	if err != nil {
		t.Fatalf("%s: %v", in, err)
	}
	return out
}

// room is a room ID fit for the version.
func room(v *roomver.Version) id.RoomID {
	if v.HashedRoomID {
		return "!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"
	}
	return "!room:domain"
}

// message is a template of a message fit for the version.
func message(v *roomver.Version) event.Template {
	t := event.Template{
		RoomID: room(v), Sender: "@anna:domain", Type: event.TypeMessage, Content: []byte(`{"msgtype":"m.text","body":"Grüß Gott"}`),
		PrevEvents: []id.EventID{"$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"},
		AuthEvents: []id.EventID{"$a:domain", "$b:domain"},
		Depth:      7, OriginServerTS: 1763712000123,
	}
	if !v.HashedEventIDs() {
		t.ID = "$chosen:domain"
	}
	return t
}

func build(t testing.TB, v *roomver.Version, tmpl event.Template) *event.PDU {
	t.Helper()
	p, err := event.Build(v, tmpl, tmpl.Sender.Server(), specKey(t))
	if err != nil {
		t.Fatalf("version %s: %v", v.ID, err)
	}
	return p
}

func ptr[T any](v T) *T { return &v }

// set returns the event's JSON with one member replaced.
func set(json []byte, key, value string) []byte {
	return canonical.AppendSet(nil, json, key, []byte(value))
}
