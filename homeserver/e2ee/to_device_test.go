package e2ee_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"konsil/homeserver/e2ee"
	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// inbox lists what waits for a device.
func (w *world) inbox(user id.UserID, device id.DeviceID) []string {
	w.t.Helper()
	waiting, err := w.ToDevice(w.t.Context(), user, device, 0, w.Store.Position(), 10_000)
	must(w.t, err)
	var events []string
	for _, m := range waiting {
		events = append(events, string(m.Event))
	}
	return events
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func TestToDeviceMessagesWaitUntilAcknowledged(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna, kurt := w.user("anna", "PHONE"), w.user("kurt", "DESK")
		w.login(kurt.User, "LAPTOP")
		send := func(txn string, messages e2ee.Messages) {
			t.Helper()
			must(t, w.SendToDevice(t.Context(), anna.User, anna.Device, txn, "m.test", messages))
		}
		send("1", e2ee.Messages{kurt.User: {"DESK": raw(`{"n":1}`), "GONE": raw(`{}`)}})
		send("1", e2ee.Messages{kurt.User: {"DESK": raw(`{"n":1}`)}}) // the same once more
		send("2", e2ee.Messages{kurt.User: {"*": raw(`{"n":2}`)}})
		const one = `{"content":{"n":1},"sender":"@anna:here.test","type":"m.test"}`
		const two = `{"content":{"n":2},"sender":"@anna:here.test","type":"m.test"}`
		check(t, w.inbox(kurt.User, "DESK"), []string{one, two})
		check(t, w.inbox(kurt.User, "LAPTOP"), []string{two})
		w.restart()
		check(t, w.inbox(kurt.User, "DESK"), []string{one, two})
		must(t, w.Acknowledge(t.Context(), kurt.User, "DESK", w.Store.Position()))
		check(t, len(w.inbox(kurt.User, "DESK")), 0)
		check(t, w.inbox(kurt.User, "LAPTOP"), []string{two})
		// Another device has transactions of its own.
		must(t, w.SendToDevice(t.Context(), kurt.User, "DESK", "1", "m.test", e2ee.Messages{kurt.User: {"DESK": raw(`{}`)}}))
		check(t, len(w.inbox(kurt.User, "DESK")), 1)
	})
}

func TestToDeviceLimits(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/x.db")
	anna := w.user("anna", "PHONE")
	send := func(messages e2ee.Messages) error {
		return w.SendToDevice(t.Context(), anna.User, "PHONE", "1", "m.test", messages)
	}
	many := map[id.DeviceID]json.RawMessage{}
	for i := range 5001 {
		many[id.DeviceID(fmt.Sprint(i))] = raw(`{}`)
	}
	wantCode(t, send(e2ee.Messages{anna.User: many}), mxerr.CodeTooLarge)
	wantCode(t, send(e2ee.Messages{anna.User: {"PHONE": raw(`{"x":"` + strings.Repeat("x", 64<<10) + `"}`)}}), mxerr.CodeTooLarge)
	wantCode(t, send(e2ee.Messages{anna.User: {"PHONE": raw(`[]`)}}), mxerr.CodeBadJSON)
	check(t, len(w.inbox(anna.User, "PHONE")), 0)
}

func (w *world) outbox() []store.ToDeviceOut {
	w.t.Helper()
	var out []store.ToDeviceOut
	must(w.t, w.Store.Read(w.t.Context(), func(tx *store.Tx) (err error) {
		out, err = tx.ToDeviceOut(w.t.Context(), 0, w.Store.Position(), 1000)
		return err
	}))
	return out
}

// Messages for another server wait on disk, in EDUs of a size that a server takes, and arrive there once.
func TestToDeviceOverFederation(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna := w.user("anna", "PHONE")
		bob := id.UserID("@bob:there.test")
		messages := e2ee.Messages{bob: {}, "@eve:there.test": {"*": raw(`{"e":1}`)}, "@carl:third.test": {"X": raw(`{}`)}}
		for i := range 10 {
			messages[bob][id.DeviceID(fmt.Sprint("D", i))] = raw(`{"x":"` + strings.Repeat("x", 20<<10) + `"}`)
		}
		must(t, w.SendToDevice(t.Context(), anna.User, "PHONE", "1", "m.test", messages))
		w.restart()
		got := map[string]int{}
		var ids = map[string]bool{}
		for _, m := range w.outbox() {
			if m.Destination == "third.test" {
				got["third"]++
				continue
			}
			if len(m.Content) > 64<<10 {
				t.Errorf("an EDU of %d bytes", len(m.Content))
			}
			var edu struct {
				Sender, Type string
				MessageID    string `json:"message_id"`
				Messages     map[string]map[string]json.RawMessage
			}
			must(t, json.Unmarshal(m.Content, &edu))
			check(t, edu.Sender+" "+edu.Type, "@anna:here.test m.test")
			ids[edu.MessageID] = true
			for user, byDevice := range edu.Messages {
				got[user] += len(byDevice)
			}
		}
		check(t, got, map[string]int{"third": 1, "@bob:there.test": 10, "@eve:there.test": 1})
		check(t, len(ids) > 2, true)
	})
}

// A23: a sender of another server, a repeated message, too much and too large: dropped, and the rest arrives.
func TestA23ToDeviceEDUs(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		anna := w.user("anna", "PHONE")
		receive := func(origin id.ServerName, edu string) {
			t.Helper()
			must(t, w.ReceiveToDevice(t.Context(), origin, []byte(edu)))
		}
		const good = `{"sender":"@bob:there.test","type":"m.test","message_id":"1","messages":{"@anna:here.test":{"PHONE":{"n":1}}}}`
		receive(there, good)
		receive(there, good)
		receive("third.test", good) // not their user
		w.restart()
		receive(there, good)
		for _, bad := range []string{
			``, `[]`, `{`, `{"sender":"@bob:there.test"}`,
			`{"sender":"bob","type":"m.test","message_id":"2","messages":{"@anna:here.test":{"PHONE":{}}}}`,
			`{"sender":"@bob:there.test","type":7,"message_id":"3","messages":{"@anna:here.test":{"PHONE":{}}}}`,
			`{"sender":"@bob:there.test","type":"m.test","message_id":"","messages":{"@anna:here.test":{"PHONE":{}}}}`,
			`{"sender":"@bob:there.test","type":"m.test","message_id":"4","messages":{"@anna:third.test":{"PHONE":{}}}}`,
			`{"sender":"@bob:there.test","type":"m.test","message_id":"5","messages":{"@anna:here.test":{"PHONE":[]}}}`,
			`{"sender":"@bob:there.test","type":"m.test","message_id":"6","messages":{"@anna:here.test":["PHONE"]}}`,
			`{"sender":"@bob:there.test","type":"m.test","message_id":"7","messages":{"@anna:here.test":{"PHONE":{"x":"` + strings.Repeat("x", 64<<10) + `"}}}}`,
		} {
			receive(there, bad)
		}
		check(t, w.inbox(anna.User, "PHONE"), []string{`{"content":{"n":1},"sender":"@bob:there.test","type":"m.test"}`})

		flood := []byte(`{"sender":"@bob:there.test","type":"m.test","message_id":"8","messages":{"@anna:here.test":{"PHONE":{"n":8}`)
		for i := range 2000 {
			flood = fmt.Appendf(flood, `,"X%d":{}`, i)
		}
		receive(there, string(flood)+`}}}`)
		check(t, len(w.inbox(anna.User, "PHONE")), 2)
	})
}
