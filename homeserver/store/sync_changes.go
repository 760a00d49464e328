package store

import (
	"context"

	"konsil/kit/db"
)

// ChangeKind says what sort of thing a Changed is.
type ChangeKind int64

// The kinds. Events of rooms are not among them: see EventsAfter.
const (
	ReceiptChanged    ChangeKind = 1 // Key is a room
	UserDataChanged   ChangeKind = 2 // Key is a user: account data, push rules, or the relation to a room
	ToDeviceAdded     ChangeKind = 3 // Key is an Owner
	DeviceListUpdated ChangeKind = 4 // Key is the user whose devices or keys changed
	SignatureAdded    ChangeKind = 5 // Key is the user who signed; only they see it
	PresenceChanged   ChangeKind = 6 // Key is the user whose presence changed
)

// Changed says that something happened at a position, and to whom it matters.
type Changed struct {
	Kind ChangeKind
	Key  string
	Pos  int64
}

// ChangesAfter lists everything but events that happened after one position, up to another: at most limit of them, in no
// order. Of what is kept in one row, only the last change is there. It is one statement because it is asked once per position
// for all who wait.
func (tx *Tx) ChangesAfter(ctx context.Context, after, upTo int64, limit int) ([]Changed, error) {
	var all []Changed
	err := db.Each(ctx, tx, `
		SELECT 1, room_id, pos FROM receipt WHERE domain_id = $0 AND pos > $1 AND pos <= $2
		UNION ALL SELECT 2, user_id, pos FROM account_data WHERE domain_id = $0 AND pos > $1 AND pos <= $2
		UNION ALL SELECT 2, user_id, pos FROM push_rules WHERE domain_id = $0 AND pos > $1 AND pos <= $2
		UNION ALL SELECT 2, user_id, pos FROM user_room WHERE domain_id = $0 AND pos > $1 AND pos <= $2
		UNION ALL SELECT 3, owner, pos FROM to_device WHERE domain_id = $0 AND pos > $1 AND pos <= $2
		UNION ALL SELECT 4, user_id, pos FROM device_list WHERE domain_id = $0 AND pos > $1 AND pos <= $2
		UNION ALL SELECT 5, signer, pos FROM user_signature WHERE domain_id = $0 AND pos > $1 AND pos <= $2
		UNION ALL SELECT 6, user_id, pos FROM presence WHERE domain_id = $0 AND pos > $1 AND pos <= $2
		LIMIT $3 + 0`, []any{after, upTo, limit},
		func(row *db.Row) error {
			var c Changed
			if err := row.Scan(&c.Kind, &c.Key, &c.Pos); err != nil {
				return err
			}
			all = append(all, c)
			return nil
		})
	return all, err
}

// EventsBetween lists the numbers of the timeline events of all rooms after one position, up to another, in order: for who
// will find most of them in memory.
func (tx *Tx) EventsBetween(ctx context.Context, after, upTo int64) ([]int64, error) {
	return db.List[int64](ctx, tx, `
		SELECT event_nid FROM event
		WHERE domain_id = $0 AND pos <> 0 AND pos > $1 AND pos <= $2 ORDER BY pos`, after, upTo)
}
