package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// TransactionAnswer is what a transaction of another server was answered. ErrNotFound when it is new.
func (tx *Tx) TransactionAnswer(ctx context.Context, origin id.ServerName, txnID string) ([]byte, error) {
	return db.Get[[]byte](ctx, tx, `
		SELECT answer FROM federation_transaction WHERE domain_id = $0 AND origin = $1 AND txn_id = $2`, origin, []byte(txnID))
}

// AddTransactionAnswer keeps an answer for repetitions.
func (tx *Tx) AddTransactionAnswer(ctx context.Context, origin id.ServerName, txnID string, answer []byte, now int64) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO federation_transaction (domain_id, origin, txn_id, ts, answer) VALUES ($0, $1, $2, $3, $4)
		ON CONFLICT (domain_id, origin, txn_id) DO NOTHING`, origin, []byte(txnID), now, answer)
	return err
}

// ForgetTransactions drops the answers given before a time.
func (tx *Tx) ForgetTransactions(ctx context.Context, before int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM federation_transaction WHERE domain_id = $0 AND ts < $1`, before)
	return err
}
