package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// ServerKeyDocument is a keys document of another server as it came.
type ServerKeyDocument struct {
	Fetched    int64 // ms
	ValidUntil int64 // ms, as published
	Document   []byte
}

// ServerKeyDocuments lists what is stored of a server's keys, newest first: the latest document for each key it ever named.
func (tx *Tx) ServerKeyDocuments(ctx context.Context, server id.ServerName) ([]ServerKeyDocument, error) {
	var all []ServerKeyDocument
	err := db.Each(ctx, tx, `
		SELECT fetched_ts, MIN(valid_until), document FROM server_key
		WHERE domain_id = $0 AND server = $1 GROUP BY fetched_ts, document ORDER BY fetched_ts DESC LIMIT 16`, []any{server},
		func(row *db.Row) error {
			var d ServerKeyDocument
			if err := row.Scan(&d.Fetched, &d.ValidUntil, &d.Document); err != nil {
				return err
			}
			all = append(all, d)
			return nil
		})
	return all, err
}

// SetServerKeys stores a document under each key it names.
func (tx *Tx) SetServerKeys(ctx context.Context, server id.ServerName, keys []id.KeyID, d ServerKeyDocument) error {
	for _, key := range keys {
		_, err := tx.Exec(ctx, `
			INSERT INTO server_key (domain_id, server, key_id, fetched_ts, valid_until, document)
			VALUES ($0, $1, $2, $3, $4, $5)
			ON CONFLICT (domain_id, server, key_id) DO UPDATE SET
				fetched_ts = excluded.fetched_ts, valid_until = excluded.valid_until, document = excluded.document
			WHERE server_key.fetched_ts <= excluded.fetched_ts`,
			server, key, d.Fetched, d.ValidUntil, d.Document)
		if err != nil {
			return err
		}
	}
	return nil
}
