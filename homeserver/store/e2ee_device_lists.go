package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// DeviceListChanged notes that a user's devices or cross-signing keys are no longer what clients know, and gives the
// position of the change. Who adds, renames or deletes a device of a user of ours calls it in the same transaction, with the
// devices it was about (none for cross-signing keys), and wakes notify.Devices after the commit.
func (tx *Tx) DeviceListChanged(ctx context.Context, user id.UserID, devices ...id.DeviceID) (int64, error) {
	pos, err := tx.RemoteDeviceListChanged(ctx, user)
	if err != nil {
		return 0, err
	}
	if len(devices) == 0 {
		devices = []id.DeviceID{""} // the cross-signing keys
	}
	// Each change of a user refers to the one before: SS v1.16 #device-management
	prev, err := db.Get[int64](ctx, tx, `
		SELECT COALESCE(MAX(pos), 0) FROM device_update WHERE domain_id = $0 AND user_id = $1 AND pos < $2 AND device_id <> ''`,
		user, pos)
	if err != nil {
		return 0, err
	}
	for i, device := range devices {
		if i > 0 {
			prev, pos = pos, tx.NextPosition()
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO device_update (domain_id, pos, device_id, user_id, prev_pos) VALUES ($0, $1, $2, $3, $4)`,
			pos, device, user, prev)
		if err != nil {
			return 0, err
		}
	}
	// A server that was away for longer asks for the whole list.
	_, err = tx.Exec(ctx, `
		DELETE FROM device_update WHERE domain_id = $0 AND user_id = $1 AND pos < (
			SELECT pos FROM device_update WHERE domain_id = $0 AND user_id = $1 ORDER BY pos DESC LIMIT 1 OFFSET 63)`, user)
	return pos, err
}

// RemoteDeviceListChanged is DeviceListChanged for a user of another server: our clients hear of it, nobody else does.
func (tx *Tx) RemoteDeviceListChanged(ctx context.Context, user id.UserID) (int64, error) {
	pos := tx.NextPosition()
	_, err := tx.Exec(ctx, `
		INSERT INTO device_list (domain_id, user_id, pos) VALUES ($0, $1, $2)
		ON CONFLICT (domain_id, user_id) DO UPDATE SET pos = excluded.pos`, user, pos)
	return pos, err
}

// DeviceListChanges lists the users whose devices or cross-signing keys, or whose signature by user, changed last after
// position after, up to upTo, and who share a room with user now; user too. It costs what changed, not what exists.
func (tx *Tx) DeviceListChanges(ctx context.Context, user id.UserID, after, upTo int64) ([]id.UserID, error) {
	return db.List[id.UserID](ctx, tx, `
		SELECT l.user_id FROM device_list l
		WHERE l.domain_id = $0 AND l.pos > $2 AND l.pos <= $3 AND (l.user_id = $1 OR EXISTS (
			SELECT 1 FROM membership m JOIN membership me
				ON me.domain_id = $0 AND me.room_nid = m.room_nid AND me.user_id = $1 AND me.membership = 1
			WHERE m.domain_id = $0 AND m.user_id = l.user_id AND m.membership = 1))
		UNION SELECT target FROM user_signature WHERE domain_id = $0 AND signer = $1 AND pos > $2 AND pos <= $3
		ORDER BY 1`, user, after, upTo)
}

// DeviceUpdate is a change that other servers hear of.
type DeviceUpdate struct {
	Pos    int64 // its stream_id
	Prev   int64 // stream_id of the user's change before, 0 for none
	User   id.UserID
	Device id.DeviceID // "" for cross-signing keys
}

// DeviceUpdates lists the changes of our users' devices after a position, up to another, oldest first.
func (tx *Tx) DeviceUpdates(ctx context.Context, after, upTo int64, limit int) ([]DeviceUpdate, error) {
	var all []DeviceUpdate
	err := db.Each(ctx, tx, `
		SELECT pos, prev_pos, user_id, device_id FROM device_update
		WHERE domain_id = $0 AND pos > $1 AND pos <= $2 ORDER BY pos, device_id LIMIT $3`, []any{after, upTo, limit},
		func(row *db.Row) error {
			var u DeviceUpdate
			if err := row.Scan(&u.Pos, &u.Prev, &u.User, &u.Device); err != nil {
				return err
			}
			all = append(all, u)
			return nil
		})
	return all, err
}

// DeviceStreamID is the stream_id of a local user's list as it is now.
func (tx *Tx) DeviceStreamID(ctx context.Context, user id.UserID) (int64, error) {
	return db.Get[int64](ctx, tx, `
		SELECT COALESCE(MAX(pos), 0) FROM device_update WHERE domain_id = $0 AND user_id = $1 AND device_id <> ''`, user)
}

// Fence marks a moment for TrackedLists: which memberships were stored before it.
type Fence struct{ NID, Pos int64 }

// Fence is the present moment. It has to be taken before another server is asked for a list.
func (d *DB) Fence() Fence { return Fence{NID: d.NextNID(), Pos: d.Position()} }

// TrackedLists lists those of the remote users whose stored device lists are right: fetched whole, kept up to date since. The
// latter holds while the user and one of ours have been in one room together ever since the list was asked for; who left and
// came back may have changed devices in between, and nobody told us.
func (tx *Tx) TrackedLists(ctx context.Context, server id.ServerName, users []id.UserID) ([]id.UserID, error) {
	return db.List[id.UserID](ctx, tx, `
		SELECT l.user_id FROM remote_device_list l
		WHERE l.domain_id = $0 AND l.user_id in($1) AND l.stale = 0 AND EXISTS (
			SELECT 1 FROM membership m
				JOIN membership h ON h.domain_id = $0 AND h.server = $2 AND h.room_nid = m.room_nid AND h.membership = 1
				JOIN user_room u ON u.domain_id = $0 AND u.user_id = h.user_id AND u.room_nid = m.room_nid
			WHERE m.domain_id = $0 AND m.user_id = l.user_id AND m.membership = 1
				AND m.event_nid < l.fence_nid AND u.pos <= l.fence_pos)`, users, server)
}

// SharingUsers lists those of the users who are in a room that our domain is in too.
func (tx *Tx) SharingUsers(ctx context.Context, users []id.UserID) ([]id.UserID, error) {
	return db.List[id.UserID](ctx, tx, `
		SELECT DISTINCT m.user_id FROM membership m JOIN room r ON r.domain_id = $0 AND r.room_nid = m.room_nid
		WHERE m.domain_id = $0 AND m.user_id in($1) AND m.membership = 1 AND r.joined_here > 0`, users)
}

// RemoteList is what we know of a remote user's device list.
type RemoteList struct {
	User     id.UserID
	StreamID int64 // -1 unknown
	Stale    bool
}

// RemoteLists reads what is known of the users' lists; unknown users are missing.
func (tx *Tx) RemoteLists(ctx context.Context, users []id.UserID) (map[id.UserID]RemoteList, error) {
	all := make(map[id.UserID]RemoteList, len(users))
	err := db.Each(ctx, tx, `
		SELECT user_id, stream_id, stale FROM remote_device_list
		WHERE domain_id = $0 AND user_id in($1)`, []any{users},
		func(row *db.Row) error {
			var l RemoteList
			var stale int64
			if err := row.Scan(&l.User, &l.StreamID, &stale); err != nil {
				return err
			}
			l.Stale = stale != 0
			all[l.User] = l
			return nil
		})
	return all, err
}

// SetRemoteList replaces all that is stored of a remote user's devices and cross-signing keys by a fresh answer of the
// user's server.
func (tx *Tx) SetRemoteList(ctx context.Context, user id.UserID, streamID int64, at Fence, devices []DeviceKeys, keys []CrossSigningKey) error {
	if _, err := tx.Exec(ctx, `DELETE FROM device_key WHERE domain_id = $0 AND user_id = $1`, user); err != nil {
		return err
	}
	for _, d := range devices {
		if err := tx.SetDeviceKey(ctx, user, d.Device, d.Keys, d.DisplayName); err != nil {
			return err
		}
	}
	if err := tx.DropCrossSigningKeys(ctx, user); err != nil {
		return err
	}
	for _, k := range keys {
		if err := tx.SetCrossSigningKey(ctx, k); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO remote_device_list (domain_id, user_id, stream_id, stale, fence_nid, fence_pos)
		VALUES ($0, $1, $2, 0, $3, $4)
		ON CONFLICT (domain_id, user_id) DO UPDATE SET stream_id = excluded.stream_id, stale = 0,
			fence_nid = excluded.fence_nid, fence_pos = excluded.fence_pos`,
		user, streamID, at.NID, at.Pos)
	return err
}

// AdvanceRemoteList notes that a stored list is now at streamID.
func (tx *Tx) AdvanceRemoteList(ctx context.Context, user id.UserID, streamID int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE remote_device_list SET stream_id = $2 WHERE domain_id = $0 AND user_id = $1`, user, streamID)
	return err
}

// StaleRemoteList notes that a stored list is out of date and has to be fetched before it is used again.
func (tx *Tx) StaleRemoteList(ctx context.Context, user id.UserID) error {
	_, err := tx.Exec(ctx, `
		UPDATE remote_device_list SET stale = 1 WHERE domain_id = $0 AND user_id = $1`, user)
	return err
}

// Move is a change of a user's place in a room that the asking user is, or was, in.
type Move struct {
	User          id.UserID
	Event, Before []byte // JSON of the membership events, now and before; nil for none
}

// MembershipMoves lists, in order, how members came and went between two positions in the rooms user is joined to. It reads
// only rooms with events in between.
func (tx *Tx) MembershipMoves(ctx context.Context, user id.UserID, after, upTo int64) ([]Move, error) {
	var all []Move
	err := db.Each(ctx, tx, `
		SELECT s.state_key, n.json, p.json
		FROM (SELECT DISTINCT room_nid FROM event WHERE domain_id = $0 AND pos <> 0 AND pos > $2 AND pos <= $3) AS x
			JOIN membership me ON me.domain_id = $0 AND me.room_nid = x.room_nid AND me.user_id = $1 AND me.membership = 1
			JOIN state_change c ON c.domain_id = $0 AND c.room_nid = x.room_nid AND c.pos > $2 AND c.pos <= $3
			JOIN slot s ON s.domain_id = $0 AND s.slot_nid = c.slot_nid AND s.type = 'm.room.member'
			LEFT JOIN event n ON n.domain_id = $0 AND n.event_nid = c.event_nid
			LEFT JOIN event p ON p.domain_id = $0 AND p.event_nid = c.prev_nid
		ORDER BY c.pos`, []any{user, after, upTo},
		func(row *db.Row) error {
			var m Move
			if err := row.Scan(&m.User, &m.Event, &m.Before); err != nil {
				return err
			}
			all = append(all, m)
			return nil
		})
	return all, err
}

// EnteredMembers lists who is in the rooms that user entered between two positions and is still in; user too.
func (tx *Tx) EnteredMembers(ctx context.Context, user id.UserID, after, upTo int64) ([]id.UserID, error) {
	return db.List[id.UserID](ctx, tx, `
		SELECT DISTINCT user_id FROM membership
		WHERE domain_id = $0 AND membership = 1 AND room_nid IN (
			SELECT room_nid FROM user_room
			WHERE domain_id = $0 AND user_id = $1 AND membership = 1 AND pos > $2 AND pos <= $3)`, user, after, upTo)
}

// LeftMembers lists who is in the rooms that user left between two positions, or was with the last we know.
func (tx *Tx) LeftMembers(ctx context.Context, user id.UserID, after, upTo int64) ([]id.UserID, error) {
	return db.List[id.UserID](ctx, tx, `
		SELECT DISTINCT user_id FROM membership
		WHERE domain_id = $0 AND membership = 1 AND room_nid IN (
			SELECT room_nid FROM user_room
			WHERE domain_id = $0 AND user_id = $1 AND membership in($4) AND pos > $2 AND pos <= $3)`,
		user, after, upTo, []int64{membershipLeave, membershipBan})
}

// membershipLeave and membershipBan are what the column membership holds for them.
const membershipLeave, membershipBan = 4, 5

// SharingWith lists those of the users who are in a room with user now.
func (tx *Tx) SharingWith(ctx context.Context, user id.UserID, users []id.UserID) ([]id.UserID, error) {
	return db.List[id.UserID](ctx, tx, `
		SELECT DISTINCT m.user_id FROM membership m JOIN membership me
			ON me.domain_id = $0 AND me.room_nid = m.room_nid AND me.user_id = $1 AND me.membership = 1
		WHERE m.domain_id = $0 AND m.user_id in($2) AND m.membership = 1`, user, users)
}

// RoomsOf lists the rooms a user, of whatever server, is in as far as we know.
func (tx *Tx) RoomsOf(ctx context.Context, user id.UserID) ([]id.RoomID, error) {
	return db.List[id.RoomID](ctx, tx, `
		SELECT r.room_id FROM membership m JOIN room r ON r.domain_id = $0 AND r.room_nid = m.room_nid
		WHERE m.domain_id = $0 AND m.user_id = $1 AND m.membership = 1 AND r.joined_here > 0`, user)
}
