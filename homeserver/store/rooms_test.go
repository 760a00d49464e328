package store_test

import (
	"context"
	"errors"
	"math/bits"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"konsil/homeserver/store"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
)

// roomEvent stores a plain event and gives its number.
func roomEvent(t *testing.T, db *store.DB, room int64, evID id.EventID, change ...func(*store.EventRow)) store.EventRow {
	t.Helper()
	row := store.EventRow{EventMeta: store.EventMeta{NID: db.NextNID(), RoomNID: room, Auth: []int64{1, 5, 3}}, ID: evID, TS: 1000, JSON: []byte(`{"x":1}`)}
	for _, c := range change {
		c(&row)
	}
	err := db.Write(context.Background(), func(tx *store.Tx) error {
		if row.Pos == 1 {
			row.Pos = tx.NextPosition()
		}
		_, err := tx.InsertEvent(context.Background(), &row)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func testRoom(t *testing.T, db *store.DB, room id.RoomID) int64 {
	t.Helper()
	nid := db.NextNID()
	err := db.Write(context.Background(), func(tx *store.Tx) error {
		return tx.InsertRoom(context.Background(), store.RoomRow{NID: nid, ID: room, Version: "11", Extremities: []int64{7, 3, 900}, Joined: 2, JoinedHere: 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	return nid
}

func readRow[T any](t *testing.T, db *store.DB, fn func(ctx context.Context, tx *store.Tx) (T, error)) T {
	t.Helper()
	var v T
	err := db.Read(context.Background(), func(tx *store.Tx) (err error) {
		v, err = fn(context.Background(), tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func writeRows(t *testing.T, db *store.DB, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := db.Write(context.Background(), func(tx *store.Tx) error { return fn(context.Background(), tx) }); err != nil {
		t.Fatal(err)
	}
}

func TestRoomRows(t *testing.T) {
	eachStore(t, func(t *testing.T, db *store.DB) {
		nid := testRoom(t, db, "!a:x")
		got := readRow(t, db, func(ctx context.Context, tx *store.Tx) (store.RoomRow, error) { return tx.Room(ctx, "!a:x") })
		want := store.RoomRow{NID: nid, ID: "!a:x", Version: "11", Extremities: []int64{7, 3, 900}, Joined: 2, JoinedHere: 1}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		want.State, want.Extremities, want.LastPos, want.Joined = 12, []int64{901}, 44, 3
		writeRows(t, db, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.SetPublished(ctx, "!a:x", true); err != nil {
				return err
			}
			return tx.UpdateRoom(ctx, want)
		})
		want.Published = true
		rooms := readRow(t, db, func(ctx context.Context, tx *store.Tx) ([]store.RoomRow, error) { return tx.PublishedRooms(ctx) })
		if d := cmp.Diff([]store.RoomRow{want}, rooms); d != "" {
			t.Error(d)
		}
		err := db.Read(context.Background(), func(tx *store.Tx) error {
			_, err := tx.Room(context.Background(), "!b:x")
			return err
		})
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown room: %v", err)
		}
	})
}

func TestEventRows(t *testing.T) {
	eachStore(t, func(t *testing.T, db *store.DB) {
		room := testRoom(t, db, "!a:x")
		live := func(r *store.EventRow) { r.Pos, r.Topo = 1, 5 }
		first := roomEvent(t, db, room, "$1", live, func(r *store.EventRow) { r.Txn = store.TxnKey("@u:x", "D", "send", room, "a\x00b") })
		second := roomEvent(t, db, room, "$2", live)
		old := roomEvent(t, db, room, "$0", func(r *store.EventRow) { r.Pos, r.Topo = -r.NID, 2 })
		roomEvent(t, db, room, "$o", func(r *store.EventRow) { r.Status = store.Outlier })
		got := readRow(t, db, func(ctx context.Context, tx *store.Tx) ([]store.EventRow, error) {
			return tx.EventsByID(ctx, []id.EventID{"$1"})
		})
		first.Version = "11"
		if d := cmp.Diff([]store.EventRow{first}, got); d != "" {
			t.Error(d)
		}
		if txn := store.TxnOf(first.Txn, "@u:x", "D"); txn != "a\x00b" {
			t.Errorf("txn %q", txn)
		}
		if txn := store.TxnOf(first.Txn, "@u:x", "E"); txn != "" {
			t.Errorf("another device sees txn %q", txn)
		}
		names := func(list []store.EventRow) (out []string) {
			for _, r := range list {
				out = append(out, string(r.ID))
			}
			return out
		}
		check := func(what string, want []string, fn func(ctx context.Context, tx *store.Tx) ([]store.EventRow, error)) {
			t.Helper()
			if got := names(readRow(t, db, fn)); !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		all := store.Place{Topo: 1 << 60}
		none := store.Place{Topo: -1 << 60}
		check("all rooms", []string{"$1", "$2"}, func(ctx context.Context, tx *store.Tx) ([]store.EventRow, error) {
			return eventsOf(ctx, tx)(tx.EventsAfter(ctx, 0, 1<<60, 10))
		})
		check("newest", []string{"$2"}, func(ctx context.Context, tx *store.Tx) ([]store.EventRow, error) {
			return tx.TimelineBefore(ctx, room, 0, second.Pos, 1)
		})
		check("backward", []string{"$2", "$1", "$0"}, func(ctx context.Context, tx *store.Tx) ([]store.EventRow, error) {
			return eventsOf(ctx, tx)(tx.HistoryBefore(ctx, room, all, none, 10))
		})
		check("backward without the newest", []string{"$1", "$0"}, func(ctx context.Context, tx *store.Tx) ([]store.EventRow, error) {
			return eventsOf(ctx, tx)(tx.HistoryBeforeUpTo(ctx, room, all, none, first.Pos, 10))
		})
		check("forward from the first", []string{"$2"}, func(ctx context.Context, tx *store.Tx) ([]store.EventRow, error) {
			return eventsOf(ctx, tx)(tx.HistoryAfter(ctx, room, store.Place{Topo: 5, Pos: first.Pos}, all, 10))
		})
		check("up to history", []string{"$0"}, func(ctx context.Context, tx *store.Tx) ([]store.EventRow, error) {
			return eventsOf(ctx, tx)(tx.HistoryBefore(ctx, room, store.Place{Topo: 5, Pos: first.Pos - 1}, none, 10))
		})
		writeRows(t, db, func(ctx context.Context, tx *store.Tx) error {
			again := first
			again.NID, again.ID = db.NextNID(), "$again"
			stored, err := tx.InsertEvent(ctx, &again)
			if stored {
				t.Error("a transaction was stored twice")
			}
			return err
		})
		near := readRow(t, db, func(ctx context.Context, tx *store.Tx) (int64, error) { return tx.EventNearTime(ctx, room, 999, true) })
		if near != old.NID {
			t.Errorf("nearest event is %d, want %d", near, old.NID)
		}
	})
}

func TestRedactionsAndRelations(t *testing.T) {
	eachStore(t, func(t *testing.T, db *store.DB) {
		room := testRoom(t, db, "!a:x")
		live := func(r *store.EventRow) { r.Pos, r.Topo = 1, 5 }
		child := roomEvent(t, db, room, "$child", live)
		reply := roomEvent(t, db, room, "$reply", live)
		writeRows(t, db, func(ctx context.Context, tx *store.Tx) error {
			for _, r := range []store.Relation{
				{Parent: "$p", Child: child.NID, Room: room, Rel: "m.replace", Type: "m.\x00x", Sender: "@a:x"},
				{Parent: "$p", Child: reply.NID, Room: room, Rel: "m.thread", Type: "m.room.message", Sender: "@b:x"},
			} {
				if err := tx.AddRelation(ctx, r); err != nil {
					return err
				}
			}
			return tx.AwaitRedacted(ctx, "$late", child.NID)
		})
		counts := readRow(t, db, func(ctx context.Context, tx *store.Tx) ([]store.RelationCount, error) {
			return tx.CountRelations(ctx, []id.EventID{"$p", "$q"})
		})
		slices.SortFunc(counts, func(a, b store.RelationCount) int { return int(a.Latest - b.Latest) })
		want := []store.RelationCount{
			{Parent: "$p", Rel: "m.replace", Type: "m.\x00x", Sender: "@a:x", Count: 1, Latest: child.NID},
			{Parent: "$p", Rel: "m.thread", Type: "m.room.message", Sender: "@b:x", Count: 1, Latest: reply.NID},
		}
		if d := cmp.Diff(want, counts); d != "" {
			t.Error(d)
		}
		threads := readRow(t, db, func(ctx context.Context, tx *store.Tx) ([]store.ThreadRow, error) {
			return tx.Threads(ctx, room, "@b:x", 0, 5)
		})
		if d := cmp.Diff([]store.ThreadRow{{Root: "$p", Latest: reply.NID}}, threads); d != "" {
			t.Error(d)
		}
		none := readRow(t, db, func(ctx context.Context, tx *store.Tx) ([]store.ThreadRow, error) {
			return tx.Threads(ctx, room, "@c:x", 0, 5)
		})
		if len(none) != 0 {
			t.Errorf("threads of a stranger: %v", none)
		}
		writeRows(t, db, func(ctx context.Context, tx *store.Tx) error {
			return tx.RedactEvent(ctx, child.NID, reply.NID, []byte(`{}`))
		})
		evs := readRow(t, db, func(ctx context.Context, tx *store.Tx) ([]store.EventRow, error) {
			return tx.Children(ctx, store.RelationQuery{Room: room, Parents: []id.EventID{"$p"}, From: store.Place{Topo: -1 << 60}, To: store.Place{Topo: 1 << 60}, Limit: 5})
		})
		if len(evs) != 1 || evs[0].ID != "$reply" {
			t.Errorf("children %v", evs)
		}
		pending := readRow(t, db, func(ctx context.Context, tx *store.Tx) ([]int64, error) { return tx.PendingRedactions(ctx, "$late") })
		if !slices.Equal(pending, []int64{child.NID}) {
			t.Errorf("pending %v", pending)
		}
	})
}

func TestMembership(t *testing.T) {
	eachStore(t, func(t *testing.T, db *store.DB) {
		a, b := testRoom(t, db, "!a:x"), testRoom(t, db, "!b:x")
		writeRows(t, db, func(ctx context.Context, tx *store.Tx) error {
			for _, m := range []struct {
				room int64
				row  store.MemberRow
			}{
				{a, store.MemberRow{User: "@u:x", Membership: store.Joined, Event: 1, DisplayName: "Ute"}},
				{a, store.MemberRow{User: "@v:y", Membership: store.Joined, Event: 2, DisplayName: "Vera %_\\"}},
				{a, store.MemberRow{User: "@w:y", Membership: store.Invited, Event: 3}},
				{b, store.MemberRow{User: "@z:z", Membership: store.Joined, Event: 4}},
				{b, store.MemberRow{User: "@u:x", Membership: store.Left, Event: 5}},
			} {
				if err := tx.SetMembership(ctx, m.room, m.row); err != nil {
					return err
				}
			}
			return tx.SetUserRoom(ctx, store.UserRoomRow{User: "@u:x", Room: a, Membership: store.Joined, Event: 1, Pos: 9})
		})
		shares := func(x, y id.UserID) bool {
			return readRow(t, db, func(ctx context.Context, tx *store.Tx) (bool, error) { return tx.SharesRoom(ctx, x, y) })
		}
		if !shares("@u:x", "@v:y") || shares("@u:x", "@w:y") || shares("@u:x", "@z:z") {
			t.Error("who shares a room with whom")
		}
		users := readRow(t, db, func(ctx context.Context, tx *store.Tx) ([]id.UserID, error) { return tx.UsersSharingRooms(ctx, "@u:x") })
		slices.Sort(users)
		if !slices.Equal(users, []id.UserID{"@u:x", "@v:y"}) {
			t.Errorf("sharing users %v", users)
		}
		counts := readRow(t, db, func(ctx context.Context, tx *store.Tx) (map[id.ServerName]int, error) { return tx.ServerCounts(ctx, a) })
		if !reflect.DeepEqual(counts, map[id.ServerName]int{"x": 1, "y": 1}) {
			t.Errorf("servers %v", counts)
		}
		room := readRow(t, db, func(ctx context.Context, tx *store.Tx) (store.UserRoomRow, error) {
			return tx.UserRoom(ctx, "@u:x", "!a:x")
		})
		if room.Membership != store.Joined || room.Pos != 9 || room.Stripped != nil {
			t.Errorf("user's room %+v", room)
		}
	})
}

func TestSlotsKeepTheirNumbers(t *testing.T) {
	eachStore(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		odd := id.Slot{Type: "a\x00b", StateKey: "\uE0000\x00"}
		row, stored, err := db.Slots().Intern(ctx, odd)
		if err != nil || stored {
			t.Fatal(row, stored, err)
		}
		again, stored, err := db.Slots().Intern(ctx, odd)
		if err != nil || stored || again != row {
			t.Fatal(again, stored, err)
		}
		writeRows(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.InsertSlot(ctx, row) })
		writeRows(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.InsertSlot(ctx, row) })
		db.Slots().Stored([]store.SlotRow{row})
		nids, fresh, err := db.Slots().InternAll(ctx, []id.Slot{odd, {Type: "new"}, {Type: "new"}})
		if err != nil || len(fresh) != 1 || nids[odd] != row.NID {
			t.Errorf("%v %v %v", nids, fresh, err)
		}
		keys, err := db.Slots().Keys(ctx, []int64{row.NID})
		if err != nil || keys[row.NID] != odd {
			t.Errorf("%v %v", keys, err)
		}
	})
}

// TestSnapshotChains builds chains by the rule and checks what it promises: bounded hops, and storage of log2(n)/2 entries a change.
func TestSnapshotChains(t *testing.T) {
	const n = 1024
	parents := make([]int64, n+1)
	stored := 0
	for d := int64(0); d < n; {
		next, parent := store.NextDepth(d)
		// The walk from d along parents must pass the new parent.
		at, hops := d, 0
		for at > parent {
			at = parents[at]
			hops++
		}
		if at != parent {
			t.Fatalf("depth %d: the walk from %d passes by %d", next, d, parent)
		}
		if hops > bits.Len64(uint64(d)) {
			t.Fatalf("depth %d: %d hops", next, hops)
		}
		parents[next] = parent
		stored += int(next - parent)
		d = next
	}
	for d := int64(1); d <= n; d++ {
		hops := 0
		for at := d; at > 0; at = parents[at] {
			hops++
		}
		if hops > bits.Len64(uint64(n)) {
			t.Errorf("depth %d is read in %d hops", d, hops)
		}
	}
	if limit := n*bits.Len64(n)/2 + n; stored > limit {
		t.Errorf("%d entries stored for %d changes, want at most %d", stored, n, limit)
	}
}

func TestSnapshotRows(t *testing.T) {
	eachStore(t, func(t *testing.T, db *store.DB) {
		s := store.Snapshot{NID: db.NextNID(), Room: 3, Depth: 5, Parent: 2, Entries: []store.Entry{{Slot: 2, Event: 900}, {Slot: 7, Event: 0}, {Slot: 1 << 40, Event: 5}}}
		writeRows(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.InsertSnapshot(ctx, s) })
		got := readRow(t, db, func(ctx context.Context, tx *store.Tx) (store.Snapshot, error) { return tx.Snapshot(ctx, s.NID) })
		if d := cmp.Diff(s, got); d != "" {
			t.Error(d)
		}
	})
}

func TestMergeEntriesIsLikeMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		side := func(name string, least int64) (map[int64]int64, []store.Entry) {
			m := rapid.MapOf(rapid.Int64Range(1, 20), rapid.Int64Range(least, 9)).Draw(t, name)
			var list []store.Entry
			for slot, ev := range m {
				list = append(list, store.Entry{Slot: slot, Event: ev})
			}
			store.SortEntries(list)
			return m, list
		}
		old, older := side("old", 1)
		add, newer := side("new", 0)
		for slot, ev := range add {
			if old[slot] = ev; ev == 0 {
				delete(old, slot)
			}
		}
		got := store.MergeEntries(older, newer, false)
		if len(got) != len(old) {
			t.Fatalf("%v over %v gives %v", newer, older, got)
		}
		for i, e := range got {
			if old[e.Slot] != e.Event || i > 0 && got[i-1].Slot >= e.Slot {
				t.Fatalf("%v over %v gives %v", newer, older, got)
			}
		}
	})
}

func TestNumbersGoOnAfterReopening(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		db, err := store.Open(context.Background(), store.Config{URL: url, Domain: 1})
		if err != nil {
			t.Fatal(err)
		}
		testRoom(t, db, "!a:x")
		ev := roomEvent(t, db, 1, "$1")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if db, err = store.Open(context.Background(), store.Config{URL: url, Domain: 1}); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if next := db.NextNID(); next != ev.NID+1 {
			t.Errorf("number %d after %d", next, ev.NID)
		}
	})
}

// eventsOf reads events in the order of their numbers' list.
func eventsOf(ctx context.Context, tx *store.Tx) func(nids []int64, err error) ([]store.EventRow, error) {
	return func(nids []int64, err error) (rows []store.EventRow, _ error) {
		for _, nid := range nids {
			row, readErr := tx.EventsByNID(ctx, []int64{nid})
			rows, err = append(rows, row...), errors.Join(err, readErr)
		}
		return rows, err
	}
}
