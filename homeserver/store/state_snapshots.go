package store

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"konsil/kit/db"
)

// State snapshots share structure by skip deltas. A snapshot stands at a depth in its chain; depth 0 holds the whole state.
// At depth d the parent is the snapshot at depth d&(d-1), that is d with its lowest set bit cleared, and the entries are all
// that changed since that parent. So any state is read in at most as many steps as d has bits, and a change is stored in
// log2(d)/2 snapshots on average.
//
//	depth  0    1    2    3    4    5    6    7    8
//	parent -    0    0    2    0    4    4    6    0
//
// The chain's walk from d-1 along parents passes d&(d-1) always (it clears the ones below the lowest bit of d one by one), so
// the new delta is the merge of the deltas on that way, newest first, and the change itself.

// Entry is one slot's event. Event 0 says that the slot is empty again, in deltas only.
type Entry struct{ Slot, Event int64 }

// Snapshot is one stored snapshot.
type Snapshot struct {
	NID     int64
	Room    int64
	Depth   int64
	Parent  int64   // 0 for a full one
	Entries []Entry // sorted by slot
}

// NextDepth is the depth and the parent's depth of what follows a snapshot at depth d.
func NextDepth(d int64) (next, parent int64) { return d + 1, (d + 1) & d }

// MergeEntries lays newer over older. Both are sorted by slot, and so is the result. keepEmpty keeps entries with event 0, which
// deltas need and full states do not.
func MergeEntries(older, newer []Entry, keepEmpty bool) []Entry {
	out := make([]Entry, 0, len(older)+len(newer))
	i, j := 0, 0
	for i < len(older) || j < len(newer) {
		var e Entry
		switch {
		case j == len(newer) || i < len(older) && older[i].Slot < newer[j].Slot:
			e = older[i]
			i++
		default:
			if i < len(older) && older[i].Slot == newer[j].Slot {
				i++
			}
			e = newer[j]
			j++
		}
		if e.Event != 0 || keepEmpty {
			out = append(out, e)
		}
	}
	return out
}

// SortEntries sorts by slot.
func SortEntries(e []Entry) {
	slices.SortFunc(e, func(a, b Entry) int {
		switch {
		case a.Slot < b.Slot:
			return -1
		case a.Slot > b.Slot:
			return 1
		}
		return 0
	})
}

// encodeEntries writes slots as differences, and events as differences to the one before.
func encodeEntries(entries []Entry) []byte {
	b := make([]byte, 0, len(entries)*6)
	var last Entry
	for _, e := range entries {
		b = binary.AppendUvarint(b, uint64(e.Slot-last.Slot))
		b = binary.AppendVarint(b, e.Event-last.Event)
		last = e
	}
	return b
}

func decodeEntries(b []byte) ([]Entry, error) {
	entries := make([]Entry, 0, len(b)/5+1)
	var last Entry
	for len(b) > 0 {
		slot, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errCodec
		}
		b = b[n:]
		ev, n := binary.Varint(b)
		if n <= 0 {
			return nil, errCodec
		}
		b = b[n:]
		last = Entry{last.Slot + int64(slot), last.Event + ev}
		entries = append(entries, last)
	}
	return entries, nil
}

// InsertSnapshot stores a snapshot.
func (tx *Tx) InsertSnapshot(ctx context.Context, s Snapshot) error {
	return tx.Queue(ctx, `
		INSERT INTO state_snapshot (domain_id, snapshot_nid, room_nid, depth, parent_nid, entries) VALUES ($0, $1, $2, $3, $4, $5)`,
		s.NID, s.Room, s.Depth, s.Parent, encodeEntries(s.Entries))
}

// Snapshot reads one snapshot, not its parents.
func (tx *Tx) Snapshot(ctx context.Context, nid int64) (Snapshot, error) {
	s := Snapshot{NID: nid}
	var blob []byte
	err := db.One(ctx, tx, `SELECT room_nid, depth, parent_nid, entries FROM state_snapshot WHERE domain_id = $0 AND snapshot_nid = $1`,
		[]any{nid}, &s.Room, &s.Depth, &s.Parent, &blob)
	if err != nil {
		return s, err
	}
	s.Entries, err = decodeEntries(blob)
	return s, err
}

// CollectSnapshots deletes the snapshots of a room that no event and no other snapshot needs, and says how many those were. Nobody
// may add to the room meanwhile.
func (tx *Tx) CollectSnapshots(ctx context.Context, room int64) (int, error) {
	parents := map[int64]int64{}
	err := db.Each(ctx, tx, `SELECT snapshot_nid, parent_nid FROM state_snapshot WHERE domain_id = $0 AND room_nid = $1`,
		[]any{room}, func(row *db.Row) error {
			var nid, parent int64
			err := row.Scan(&nid, &parent)
			parents[nid] = parent
			return err
		})
	if err != nil {
		return 0, err
	}
	used, err := db.List[int64](ctx, tx, `
		SELECT state_before FROM event WHERE domain_id = $0 AND room_nid = $1 AND state_before <> 0
		UNION SELECT state_after FROM event WHERE domain_id = $0 AND room_nid = $1 AND state_after <> 0
		UNION SELECT room_state FROM event WHERE domain_id = $0 AND room_nid = $1 AND room_state <> 0
		UNION SELECT state_nid FROM room WHERE domain_id = $0 AND room_nid = $1`, room)
	if err != nil {
		return 0, err
	}
	for _, nid := range used {
		for nid != 0 { // a snapshot needs its parents; where one was taken off the list, so were they
			parent, listed := parents[nid]
			if !listed {
				break
			}
			delete(parents, nid)
			nid = parent
		}
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(parents)), 1000) {
		if err := tx.Queue(ctx, `DELETE FROM state_snapshot WHERE domain_id = $0 AND snapshot_nid in($1)`, part); err != nil {
			return 0, err
		}
	}
	return len(parents), nil
}

// SnapshotSize is what the snapshots of a room take, in bytes.
func (tx *Tx) SnapshotSize(ctx context.Context, room int64) (int64, error) {
	return db.Get[int64](ctx, tx, `SELECT COALESCE(SUM(length(entries)), 0) FROM state_snapshot WHERE domain_id = $0 AND room_nid = $1`, room)
}
