package store

import (
	"context"
	"fmt"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// RoomRow is what is kept of a room besides its events.
type RoomRow struct {
	NID         int64
	ID          id.RoomID
	Version     string
	State       int64   // snapshot of the current state, 0 while only an invite or a knock is known
	Extremities []int64 // forward extremities
	LastPos     int64
	Joined      int64 // members in the room
	JoinedHere  int64 // of these, users of this domain
	Published   bool
}

const roomColumns = `room_nid, room_id, version, state_nid, extremities, last_pos, joined, joined_here, published`

func (r *RoomRow) scan(scan func(dest ...any) error) error {
	var extremities []byte
	var published int64
	if err := scan(&r.NID, &r.ID, &r.Version, &r.State, &extremities, &r.LastPos, &r.Joined, &r.JoinedHere, &published); err != nil {
		return err
	}
	r.Published = published == 1
	var err error
	r.Extremities, err = decodeInts(extremities)
	return err
}

// Room reads a room, or ErrNotFound.
func (tx *Tx) Room(ctx context.Context, room id.RoomID) (RoomRow, error) {
	var r RoomRow
	err := r.scan(func(dest ...any) error {
		return db.One(ctx, tx, `SELECT `+roomColumns+` FROM room WHERE domain_id = $0 AND room_id = $1`, []any{room}, dest...)
	})
	return r, err
}

// PublishedRooms reads the directory, largest rooms first.
func (tx *Tx) PublishedRooms(ctx context.Context) ([]RoomRow, error) {
	return tx.rooms(ctx, `
		SELECT `+roomColumns+` FROM room
		WHERE domain_id = $0 AND published = 1 ORDER BY joined DESC, room_nid DESC`)
}

func (tx *Tx) rooms(ctx context.Context, q string, args ...any) ([]RoomRow, error) {
	var rooms []RoomRow
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var r RoomRow
		if err := r.scan(row.Scan); err != nil {
			return err
		}
		rooms = append(rooms, r)
		return nil
	})
	return rooms, err
}

// InsertRoom adds a room.
func (tx *Tx) InsertRoom(ctx context.Context, r RoomRow) error {
	return tx.Queue(ctx, `
		INSERT INTO room (domain_id, room_nid, room_id, version, state_nid, extremities, last_pos, joined, joined_here, published)
		VALUES ($0, $1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		r.NID, r.ID, r.Version, r.State, encodeInts(r.Extremities), r.LastPos, r.Joined, r.JoinedHere, boolInt(r.Published))
}

// UpdateRoom stores the head of a room: all of the row but its names and whether it is published.
func (tx *Tx) UpdateRoom(ctx context.Context, r RoomRow) error {
	return tx.Queue(ctx, `
		UPDATE room SET state_nid = $2, extremities = $3, last_pos = $4, joined = $5, joined_here = $6
		WHERE domain_id = $0 AND room_nid = $1`,
		r.NID, r.State, encodeInts(r.Extremities), r.LastPos, r.Joined, r.JoinedHere)
}

// SetPublished lists a room in the directory or takes it out.
func (tx *Tx) SetPublished(ctx context.Context, room id.RoomID, published bool) error {
	n, err := tx.Exec(ctx, `UPDATE room SET published = $2 WHERE domain_id = $0 AND room_id = $1`, room, boolInt(published))
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// LastPositions reads the position of the last timeline event of those of the rooms that have one after pos.
func (tx *Tx) LastPositions(ctx context.Context, rooms []id.RoomID, pos int64) (map[id.RoomID]int64, error) {
	last := map[id.RoomID]int64{}
	err := db.Each(ctx, tx, `
		SELECT room_id, last_pos FROM room WHERE domain_id = $0 AND room_id in($1) AND last_pos > $2`, []any{rooms, pos}, func(row *db.Row) error {
		var room id.RoomID
		var p int64
		if err := row.Scan(&room, &p); err != nil {
			return fmt.Errorf("last positions: %w", err)
		}
		last[room] = p
		return nil
	})
	return last, err
}

// Missing lists the backward extremities of a room with the order of the event that refers to them, highest first.
func (tx *Tx) Missing(ctx context.Context, room int64) ([]MissingEvent, error) {
	var missing []MissingEvent
	err := db.Each(ctx, tx, `
		SELECT event_id, topo FROM missing_event WHERE domain_id = $0 AND room_nid = $1 ORDER BY topo DESC, event_id`,
		[]any{room}, func(row *db.Row) error {
			var m MissingEvent
			if err := row.Scan(&m.ID, &m.Topo); err != nil {
				return err
			}
			missing = append(missing, m)
			return nil
		})
	return missing, err
}

// MissingEvent is a backward extremity: an event that a stored one refers to.
type MissingEvent struct {
	ID   id.EventID
	Topo int64 // lowest of the events that refer to it
}

// AddMissing notes backward extremities.
func (tx *Tx) AddMissing(ctx context.Context, room int64, m MissingEvent) error {
	return tx.Queue(ctx, `
		INSERT INTO missing_event (domain_id, room_nid, event_id, topo) VALUES ($0, $1, $2, $3)
		ON CONFLICT (domain_id, room_nid, event_id) DO UPDATE SET topo = excluded.topo WHERE missing_event.topo > excluded.topo`,
		room, m.ID, m.Topo)
}

// RemoveMissing says that an event is here now.
func (tx *Tx) RemoveMissing(ctx context.Context, room int64, ev id.EventID) error {
	return tx.Queue(ctx, `DELETE FROM missing_event WHERE domain_id = $0 AND room_nid = $1 AND event_id = $2`, room, ev)
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
