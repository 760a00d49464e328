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

// DeviceListChanges lists the users whose devices changed last after position after, up to upTo, and who share a room with
// user now; user too. For /sync and /keys/changes. It costs what changed: the rooms of each changed user are few.
func (tx *Tx) DeviceListChanges(ctx context.Context, user id.UserID, after, upTo int64) ([]id.UserID, error) {
	return db.List[id.UserID](ctx, tx, `
		SELECT l.user_id FROM device_list l
		WHERE l.domain_id = $0 AND l.pos > $2 AND l.pos <= $3 AND (l.user_id = $1 OR EXISTS (
			SELECT 1 FROM membership m JOIN membership me
				ON me.domain_id = $0 AND me.room_nid = m.room_nid AND me.user_id = $1 AND me.membership = 1
			WHERE m.domain_id = $0 AND m.user_id = l.user_id AND m.membership = 1))
		ORDER BY l.user_id`, user, after, upTo)
}

// DeviceListPosition is the position of the last change of any device list, 0 for none.
func (tx *Tx) DeviceListPosition(ctx context.Context) (int64, error) {
	return db.Get[int64](ctx, tx, `SELECT COALESCE(MAX(pos), 0) FROM device_list WHERE domain_id = $0`)
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
	Failures int64
	RetryAt  int64 // ms
}

// RemoteLists reads what is known of the users' lists; unknown users are missing.
func (tx *Tx) RemoteLists(ctx context.Context, users []id.UserID) (map[id.UserID]RemoteList, error) {
	all := make(map[id.UserID]RemoteList, len(users))
	err := db.Each(ctx, tx, `
		SELECT user_id, stream_id, stale, failures, retry_at FROM remote_device_list
		WHERE domain_id = $0 AND user_id in($1)`, []any{users},
		func(row *db.Row) error {
			var l RemoteList
			var stale int64
			if err := row.Scan(&l.User, &l.StreamID, &stale, &l.Failures, &l.RetryAt); err != nil {
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
		INSERT INTO remote_device_list (domain_id, user_id, stream_id, stale, fence_nid, fence_pos, failures, retry_at)
		VALUES ($0, $1, $2, 0, $3, $4, 0, 0)
		ON CONFLICT (domain_id, user_id) DO UPDATE SET stream_id = excluded.stream_id, stale = 0,
			fence_nid = excluded.fence_nid, fence_pos = excluded.fence_pos, failures = 0, retry_at = 0`,
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
		UPDATE remote_device_list SET stale = 1, failures = 0, retry_at = 0
		WHERE domain_id = $0 AND user_id = $1 AND stale = 0`, user)
	return err
}

// FailedRemoteLists notes that the users' server could not be asked for their lists, and when to ask again.
func (tx *Tx) FailedRemoteLists(ctx context.Context, users []id.UserID, retryAt int64) error {
	for _, user := range users {
		_, err := tx.Exec(ctx, `
			INSERT INTO remote_device_list (domain_id, user_id, stream_id, stale, fence_nid, fence_pos, failures, retry_at)
			VALUES ($0, $1, -1, 1, 0, 0, 1, $2)
			ON CONFLICT (domain_id, user_id) DO UPDATE SET
				failures = remote_device_list.failures + 1, retry_at = excluded.retry_at`, user, retryAt)
		if err != nil {
			return err
		}
	}
	return nil
}
