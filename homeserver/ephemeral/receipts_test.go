package ephemeral_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"konsil/homeserver/ephemeral"
	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// receipts gives the m.receipt event of a room as user sees it.
func (w *world) receipts(room id.RoomID, user id.UserID) string {
	w.t.Helper()
	var all []store.Receipt
	must(w.t, w.Store.Read(w.t.Context(), func(tx *store.Tx) (err error) {
		all, err = tx.Receipts(w.t.Context(), user, []id.RoomID{room}, 0, w.Store.Position())
		return err
	}))
	for i := range all {
		all[i].TS = 1
	}
	event := ephemeral.ReceiptEvent(all)
	if event == nil {
		return ""
	}
	if !json.Valid(event) {
		w.t.Errorf("no JSON: %s", event)
	}
	return string(event)
}

func TestReceiptsOnlyMoveForward(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		room := w.room(anna, kurt)
		first, second := w.say(room, anna), w.say(room, anna)
		set := func(kind, thread string, ev id.EventID) {
			t.Helper()
			must(t, w.SetReceipt(t.Context(), room, kurt, kind, thread, ev))
		}
		set(ephemeral.Read, "", second)
		set(ephemeral.Read, "", first)
		set(ephemeral.ReadPrivate, "", first)
		set(ephemeral.Read, ephemeral.MainThread, first)
		events := map[id.EventID]string{
			first:  `{"m.read":{"@kurt:here.test":{"thread_id":"main","ts":1}}`,
			second: `{"m.read":{"@kurt:here.test":{"ts":1}}`,
		}
		for ev, want := range events {
			if got := w.receipts(room, anna); !strings.Contains(got, fmt.Sprintf("%q:%s}", ev, want)) {
				t.Errorf("anna sees %s", got)
			}
		}
		if got := w.receipts(room, kurt); !strings.Contains(got, `"m.read.private":{"@kurt:here.test":{"ts":1}}`) {
			t.Errorf("kurt does not see his private receipt: %s", got)
		}
	})
}

// MSC4102: where a user has read an event inside and outside of its thread, clients see the latter.
func TestUnthreadedReceiptsComeFirst(t *testing.T) {
	w := sqliteWorld(t)
	room := w.room(anna, kurt)
	root, ev := w.say(room, anna), w.say(room, anna)
	must(t, w.SetReceipt(t.Context(), room, anna, ephemeral.Read, "", ev))
	must(t, w.SetReceipt(t.Context(), room, anna, ephemeral.Read, string(root), ev))
	must(t, w.SetReceipt(t.Context(), room, kurt, ephemeral.Read, string(root), ev))
	check(t, w.receipts(room, kurt), fmt.Sprintf(
		`{"content":{%q:{"m.read":{"@anna:here.test":{"ts":1},"@kurt:here.test":{"thread_id":%q,"ts":1}}}},"type":"m.receipt"}`, ev, root))
}

func TestWrongReceipts(t *testing.T) {
	w := sqliteWorld(t)
	room, other := w.room(anna), w.room(kurt)
	ev, foreign := w.say(room, anna), w.say(other, kurt)
	ctx := t.Context()
	wantCode(t, w.SetReceipt(ctx, room, anna, "m.unknown", "", ev), mxerr.CodeInvalidParam)
	wantCode(t, w.SetReceipt(ctx, room, anna, ephemeral.Read, "nonsense", ev), mxerr.CodeInvalidParam)
	wantCode(t, w.SetReceipt(ctx, room, anna, ephemeral.Read, string(foreign), ev), mxerr.CodeInvalidParam)
	wantCode(t, w.SetReceipt(ctx, room, anna, ephemeral.Read, "", foreign), mxerr.CodeNotFound)
	wantCode(t, w.SetReceipt(ctx, room, anna, ephemeral.FullyRead, "main", ev), mxerr.CodeInvalidParam)
	wantCode(t, w.SetReceipt(ctx, other, anna, ephemeral.Read, "", foreign), mxerr.CodeForbidden)
	check(t, w.receipts(room, anna), "")
}

func TestFullyReadIsAccountData(t *testing.T) {
	w := sqliteWorld(t)
	room := w.room(anna)
	first, second := w.say(room, anna), w.say(room, anna)
	for _, ev := range []id.EventID{second, first} {
		must(t, w.SetReceipt(t.Context(), room, anna, ephemeral.FullyRead, "", ev))
	}
	content, err := w.Accounts.AccountData(t.Context(), anna, room, "m.fully_read")
	must(t, err)
	check(t, string(content), fmt.Sprintf(`{"event_id":%q}`, second))
}

// A24: receipts of users that are not the sender's or not in the room are dropped, and private ones stay private.
func TestA24Receipts(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		room := w.room(anna)
		w.joinRemote(room)
		ev := w.say(room, anna)
		edu := func(kind string, user id.UserID) string {
			return fmt.Sprintf(`{%q:{%q:{%q:{"event_ids":[%q],"data":{"ts":5,"thread_id":"main"}}}},"!other:x":{"m.read":{"@bob:there.test":{"event_ids":["$x"],"data":{}}}}}`, room, kind, user, ev)
		}
		for origin, edus := range map[id.ServerName][]string{
			there: {edu("m.read", anna), edu("m.read", "@eve:there.test"), edu("m.read.private", bob), `[]`, `{"x":1}`,
				strings.Replace(edu("m.read", bob), `"main"`, `"nonsense"`, 1), strings.Replace(edu("m.read", bob), `["$`, `{"$`, 1)},
			"third.test": {edu("m.read", bob)},
		} {
			for _, edu := range edus {
				must(t, w.ReceiveReceipts(t.Context(), origin, []byte(edu)))
			}
		}
		check(t, w.receipts(room, anna), "")
		must(t, w.ReceiveReceipts(t.Context(), there, []byte(edu("m.read", bob))))
		check(t, w.receipts(room, anna), fmt.Sprintf(`{"content":{%q:{"m.read":{"@bob:there.test":{"thread_id":"main","ts":1}}}},"type":"m.receipt"}`, ev))
		must(t, w.Store.Read(t.Context(), func(tx *store.Tx) error {
			out, err := tx.OutgoingReceipts(t.Context(), 0, w.Store.Position(), 10)
			check(t, len(out), 0) // what came from there does not go there
			return err
		}))
	})
}

func FuzzReceiptEvent(f *testing.F) {
	f.Add("$a", "@a:x", "m.read", "", "$a", "@a:x", "m.read", "main")
	f.Add("$a\"", "@a:x", "m.read", "$t\\", "$b", "@b:x", "m.read.private", "")
	f.Fuzz(func(t *testing.T, e1, u1, k1, t1, e2, u2, k2, t2 string) {
		event := ephemeral.ReceiptEvent([]store.Receipt{
			{Event: id.EventID(e1), User: id.UserID(u1), Kind: k1, Thread: t1},
			{Event: id.EventID(e2), User: id.UserID(u2), Kind: k2, Thread: t2},
		})
		if !json.Valid(event) {
			t.Errorf("no JSON: %s", event)
		}
	})
}
