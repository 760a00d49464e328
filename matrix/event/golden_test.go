package event_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

var update = flag.Bool("update", false, "write testdata anew")

// The bytes and IDs of events that the specification's key signs, in every version: whatever changes here, other servers
// would not understand any more.
func TestGolden(t *testing.T) {
	var got bytes.Buffer
	for _, v := range roomver.All() {
		fmt.Fprintf(&got, "# version %s\n", v.ID)
		for i, tmpl := range goldenTemplates(v) {
			if !v.HashedEventIDs() {
				tmpl.ID = id.EventID(fmt.Sprintf("$event%d:domain", i))
			}
			p := build(t, v, tmpl)
			fmt.Fprintf(&got, "%s %s\n%s\nredacted %s\n", p.ID, p.RoomID, p.JSON, p.Redact().JSON)
		}
	}
	const file = "testdata/events.golden"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines, wanted := bytes.Split(got.Bytes(), []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range max(len(lines), len(wanted)) {
		if i >= len(lines) || i >= len(wanted) || !bytes.Equal(lines[i], wanted[i]) {
			t.Fatalf("line %d differs, of %d and %d", i+1, len(lines), len(wanted))
		}
	}
}

func goldenTemplates(v *roomver.Version) []event.Template {
	create := event.Template{
		Sender: "@anna:domain", Type: event.TypeCreate, StateKey: ptr(""), Depth: 1, OriginServerTS: 1763712000000,
		Content: []byte(`{"room_version":"` + v.ID + `","creator":"@anna:domain","m.federate":true}`),
	}
	if !v.HashedRoomID {
		create.RoomID = room(v)
	}
	member := message(v)
	member.Type, member.StateKey = event.TypeMember, ptr("@bert:domain")
	member.Content = []byte(`{"membership":"invite","displayname":"Bért","join_authorised_via_users_server":"@anna:domain","third_party_invite":{"display_name":"b","signed":{"mxid":"@bert:domain","token":"t"}}}`)
	levels := message(v)
	levels.Type, levels.StateKey = event.TypePowerLevels, ptr("")
	levels.Content = []byte(`{"users":{"@bert:domain":50},"invite":50,"ban":50,"notifications":{"room":50}}`)
	redaction := message(v)
	redaction.Type, redaction.Content, redaction.Redacts = event.TypeRedaction, []byte(`{"reason":"spam"}`), "$spam:domain"
	return []event.Template{create, member, levels, redaction, message(v)}
}
