package store

import (
	"bytes"
	"context"
	"encoding/json"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// ToDevice is a message that waits for a device.
type ToDevice struct {
	Pos   int64
	Event []byte // as the client gets it
}

// ToDevice lists the messages that wait for a device, after one position and up to another, oldest first.
func (tx *Tx) ToDevice(ctx context.Context, owner Owner, after, upTo int64, limit int) ([]ToDevice, error) {
	var all []ToDevice
	err := db.Each(ctx, tx, `
		SELECT pos, event FROM to_device
		WHERE domain_id = $0 AND owner = $1 AND pos > $2 AND pos <= $3 ORDER BY pos LIMIT $4`,
		[]any{owner, after, upTo, limit},
		func(row *db.Row) error {
			var m ToDevice
			var event string
			if err := row.Scan(&m.Pos, &event); err != nil {
				return err
			}
			m.Event = []byte(event)
			all = append(all, m)
			return nil
		})
	return all, err
}

// DropToDevice forgets the messages a device has got: its client came back with a sync token of upTo.
func (tx *Tx) DropToDevice(ctx context.Context, owner Owner, upTo int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM to_device WHERE domain_id = $0 AND owner = $1 AND pos <= $2`, owner, upTo)
	return err
}

// AddToDevice queues one message for each of the devices, all at one position, which it gives. The events are JSON objects.
func (tx *Tx) AddToDevice(ctx context.Context, messages map[Owner][]byte) (int64, error) {
	pos := tx.NextPosition()
	// One statement for all: its argument is an object from device to event, which both engines take apart.
	size := 2
	for owner, event := range messages {
		size += len(owner) + len(event) + 8
	}
	batch := append(make([]byte, 0, size), '{')
	for owner, event := range messages {
		if !simpleJSON(event) {
			_, err := tx.Exec(ctx, `
				INSERT INTO to_device (domain_id, owner, pos, event) VALUES ($0, $1, $2, $3)`, owner, pos, string(event))
			if err != nil {
				return 0, err
			}
			continue
		}
		name, err := json.Marshal(owner)
		if err != nil {
			return 0, err
		}
		if len(batch) > 1 {
			batch = append(batch, ',')
		}
		batch = append(append(append(batch, name...), ':'), event...)
	}
	if len(batch) == 1 {
		return pos, nil
	}
	batch = append(batch, '}')
	_, err := tx.Exec(ctx, `
		INSERT INTO to_device (domain_id, owner, pos, event)
		SELECT $0, key, $2, CAST(value AS TEXT) FROM json_each($1)`, string(batch), pos)
	return pos, err
}

// simpleJSON reports whether both engines' json_each take a text and give it back unharmed. PostgreSQL refuses escapes of NUL
// and of lone surrogates, SQLite depths over 1,000.
func simpleJSON(b []byte) bool {
	if bytes.Contains(b, []byte(`\u0000`)) || bytes.Contains(b, []byte(`\ud`)) || bytes.Contains(b, []byte(`\uD`)) {
		return false
	}
	return bytes.Count(b, []byte{'{'})+bytes.Count(b, []byte{'['}) < 500
}

// SeenToDevice notes that source (a device of ours, or a server) sent something under this transaction or message ID, and
// reports whether that is new.
func (tx *Tx) SeenToDevice(ctx context.Context, source, txnID string, now int64) (isNew bool, err error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO to_device_seen (domain_id, source, txn_id, ts) VALUES ($0, $1, $2, $3)
		ON CONFLICT (domain_id, source, txn_id) DO NOTHING`, source, []byte(txnID), now)
	return n == 1, err
}

// ForgetSeenToDevice drops what SeenToDevice noted before a time.
func (tx *Tx) ForgetSeenToDevice(ctx context.Context, before int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM to_device_seen WHERE domain_id = $0 AND ts < $1`, before)
	return err
}

// ToDeviceOut is a message for devices of another server.
type ToDeviceOut struct {
	Pos         int64
	Destination id.ServerName
	Content     []byte // of the m.direct_to_device EDU
}

// AddToDeviceOut queues messages for other servers until federation has taken them over, each at a position of its own, and
// gives the last one.
func (tx *Tx) AddToDeviceOut(ctx context.Context, messages []ToDeviceOut) (pos int64, err error) {
	for _, m := range messages {
		pos = tx.NextPosition()
		_, err := tx.Exec(ctx, `
			INSERT INTO to_device_out (domain_id, pos, destination, content) VALUES ($0, $1, $2, $3)`,
			pos, m.Destination, m.Content)
		if err != nil {
			return 0, err
		}
	}
	return pos, nil
}

// ToDeviceOut lists what waits to be taken over by federation, after one position and up to another, oldest first.
func (tx *Tx) ToDeviceOut(ctx context.Context, after, upTo int64, limit int) ([]ToDeviceOut, error) {
	var all []ToDeviceOut
	err := db.Each(ctx, tx, `
		SELECT pos, destination, content FROM to_device_out
		WHERE domain_id = $0 AND pos > $1 AND pos <= $2 ORDER BY pos LIMIT $3`, []any{after, upTo, limit},
		func(row *db.Row) error {
			var m ToDeviceOut
			if err := row.Scan(&m.Pos, &m.Destination, &m.Content); err != nil {
				return err
			}
			all = append(all, m)
			return nil
		})
	return all, err
}

// DropToDeviceOut forgets what federation has taken over.
func (tx *Tx) DropToDeviceOut(ctx context.Context, upTo int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM to_device_out WHERE domain_id = $0 AND pos <= $1`, upTo)
	return err
}
