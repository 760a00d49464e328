package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// FederationCursor is how far the domain's order was handed on, 0 at the beginning.
func (tx *Tx) FederationCursor(ctx context.Context) (int64, error) {
	return db.Get[int64](ctx, tx, `SELECT COALESCE(MAX(pos), 0) FROM federation_cursor WHERE domain_id = $0`)
}

// SetFederationCursor moves it, and forgets what lies behind it: messages taken over, relays done.
func (tx *Tx) SetFederationCursor(ctx context.Context, pos int64, relayed []id.EventID) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO federation_cursor (domain_id, pos) VALUES ($0, $1)
		ON CONFLICT (domain_id) DO UPDATE SET pos = excluded.pos WHERE federation_cursor.pos < excluded.pos`, pos)
	if err != nil {
		return err
	}
	if len(relayed) > 0 {
		if _, err := tx.Exec(ctx, `DELETE FROM federation_relay WHERE domain_id = $0 AND event_id in($1)`, relayed); err != nil {
			return err
		}
	}
	return tx.DropToDeviceOut(ctx, pos)
}

// AddRelay notes that it is upon us to tell the room of another server's event. It is written before the event itself.
func (tx *Tx) AddRelay(ctx context.Context, event id.EventID) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO federation_relay (domain_id, event_id) VALUES ($0, $1) ON CONFLICT (domain_id, event_id) DO NOTHING`, event)
	return err
}

// DropRelay takes it back: the event was refused.
func (tx *Tx) DropRelay(ctx context.Context, event id.EventID) error {
	_, err := tx.Exec(ctx, `DELETE FROM federation_relay WHERE domain_id = $0 AND event_id = $1`, event)
	return err
}

// Relays lists them.
func (tx *Tx) Relays(ctx context.Context) ([]id.EventID, error) {
	return db.List[id.EventID](ctx, tx, `SELECT event_id FROM federation_relay WHERE domain_id = $0`)
}

// Destination is a server that can not be reached.
type Destination struct {
	Server       id.ServerName
	FailingSince int64 // ms
	RetryAt      int64 // ms
	Failures     int64 // in a row
}

// FailingDestinations lists them all.
func (tx *Tx) FailingDestinations(ctx context.Context) ([]Destination, error) {
	var all []Destination
	err := db.Each(ctx, tx, `
		SELECT server, failing_since, retry_at, failures FROM federation_destination WHERE domain_id = $0`, nil,
		func(row *db.Row) error {
			var d Destination
			if err := row.Scan(&d.Server, &d.FailingSince, &d.RetryAt, &d.Failures); err != nil {
				return err
			}
			all = append(all, d)
			return nil
		})
	return all, err
}

// SetFailing stores that a server can not be reached.
func (tx *Tx) SetFailing(ctx context.Context, d Destination) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO federation_destination (domain_id, server, failing_since, retry_at, failures) VALUES ($0, $1, $2, $3, $4)
		ON CONFLICT (domain_id, server) DO UPDATE SET
			failing_since = excluded.failing_since, retry_at = excluded.retry_at, failures = excluded.failures`,
		d.Server, d.FailingSince, d.RetryAt, d.Failures)
	return err
}

// SetReachable stores that it can be reached again.
func (tx *Tx) SetReachable(ctx context.Context, server id.ServerName) error {
	_, err := tx.Exec(ctx, `DELETE FROM federation_destination WHERE domain_id = $0 AND server = $1`, server)
	return err
}

// QueuedPDU is an event that waits for a server.
type QueuedPDU struct{ Pos, RoomNID, EventNID int64 }

// QueuedEDU is an EDU that waits for a server.
type QueuedEDU struct {
	Pos int64
	Key string // tells EDUs of one position apart
	EDU []byte
}

// Enqueue adds to a server's queue. What stands there already is left alone.
func (tx *Tx) Enqueue(ctx context.Context, server id.ServerName, pdus []QueuedPDU, edus []QueuedEDU) error {
	for _, p := range pdus {
		_, err := tx.Exec(ctx, `
			INSERT INTO federation_pdu (domain_id, server, pos, room_nid, event_nid) VALUES ($0, $1, $2, $3, $4)
			ON CONFLICT (domain_id, server, pos) DO NOTHING`, server, p.Pos, p.RoomNID, p.EventNID)
		if err != nil {
			return err
		}
	}
	for _, e := range edus {
		_, err := tx.Exec(ctx, `
			INSERT INTO federation_edu (domain_id, server, pos, edu_key, edu) VALUES ($0, $1, $2, $3, $4)
			ON CONFLICT (domain_id, server, pos, edu_key) DO NOTHING`, server, e.Pos, e.Key, e.EDU)
		if err != nil {
			return err
		}
	}
	return nil
}

// Queued reads the head of a server's queue.
func (tx *Tx) Queued(ctx context.Context, server id.ServerName, maxPDUs, maxEDUs int) (pdus []QueuedPDU, edus []QueuedEDU, err error) {
	err = db.Each(ctx, tx, `
		SELECT pos, room_nid, event_nid FROM federation_pdu
		WHERE domain_id = $0 AND server = $1 ORDER BY pos LIMIT $2`, []any{server, maxPDUs},
		func(row *db.Row) error {
			var p QueuedPDU
			if err := row.Scan(&p.Pos, &p.RoomNID, &p.EventNID); err != nil {
				return err
			}
			pdus = append(pdus, p)
			return nil
		})
	if err != nil {
		return nil, nil, err
	}
	err = db.Each(ctx, tx, `
		SELECT pos, edu_key, edu FROM federation_edu
		WHERE domain_id = $0 AND server = $1 ORDER BY pos, edu_key LIMIT $2`, []any{server, maxEDUs},
		func(row *db.Row) error {
			var e QueuedEDU
			if err := row.Scan(&e.Pos, &e.Key, &e.EDU); err != nil {
				return err
			}
			edus = append(edus, e)
			return nil
		})
	return pdus, edus, err
}

// Dequeue takes out what a server has got.
func (tx *Tx) Dequeue(ctx context.Context, server id.ServerName, pdus []QueuedPDU, edus []QueuedEDU) error {
	if len(pdus) > 0 {
		positions := make([]int64, len(pdus))
		for i, p := range pdus {
			positions[i] = p.Pos
		}
		_, err := tx.Exec(ctx, `DELETE FROM federation_pdu WHERE domain_id = $0 AND server = $1 AND pos in($2)`, server, positions)
		if err != nil {
			return err
		}
	}
	for _, e := range edus {
		_, err := tx.Exec(ctx, `
			DELETE FROM federation_edu WHERE domain_id = $0 AND server = $1 AND pos = $2 AND edu_key = $3`, server, e.Pos, e.Key)
		if err != nil {
			return err
		}
	}
	return nil
}

// ThinQueue keeps of a long queue of events the latest of each room: the receiver asks for the rest (get_missing_events,
// backfill), and a server that was away for a week is not flooded. It reports how many it dropped.
func (tx *Tx) ThinQueue(ctx context.Context, server id.ServerName) (int64, error) {
	return tx.Exec(ctx, `
		DELETE FROM federation_pdu WHERE domain_id = $0 AND server = $1 AND pos < (
			SELECT MAX(newer.pos) FROM federation_pdu newer
			WHERE newer.domain_id = $0 AND newer.server = $1 AND newer.room_nid = federation_pdu.room_nid)`, server)
}

// QueueLength counts the events that wait for a server, up to a limit.
func (tx *Tx) QueueLength(ctx context.Context, server id.ServerName, limit int) (int64, error) {
	return db.Get[int64](ctx, tx, `
		SELECT COUNT(*) FROM (SELECT pos FROM federation_pdu WHERE domain_id = $0 AND server = $1 LIMIT $2) AS head`, server, limit)
}

// QueuedServers lists the servers for which anything waits.
func (tx *Tx) QueuedServers(ctx context.Context) ([]id.ServerName, error) {
	return db.List[id.ServerName](ctx, tx, `
		SELECT server FROM federation_pdu WHERE domain_id = $0 UNION SELECT server FROM federation_edu WHERE domain_id = $0`)
}
