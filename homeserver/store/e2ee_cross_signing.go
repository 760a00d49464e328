package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// The usages of cross-signing keys. CS v1.16 #cross-signing
const (
	UsageMaster      = "master"
	UsageSelfSigning = "self_signing"
	UsageUserSigning = "user_signing"
)

// CrossSigningKey is one of a user's three.
type CrossSigningKey struct {
	User   id.UserID
	Usage  string
	Public string // unpadded base64, as in its key ID
	JSON   []byte // with the signatures of the user's own keys
}

// CrossSigningKeys lists the cross-signing keys of the users, of all usages.
func (tx *Tx) CrossSigningKeys(ctx context.Context, users []id.UserID) ([]CrossSigningKey, error) {
	var all []CrossSigningKey
	err := db.Each(ctx, tx, `
		SELECT user_id, usage, public, key_json FROM cross_signing_key
		WHERE domain_id = $0 AND user_id in($1) ORDER BY user_id, usage`, []any{users},
		func(row *db.Row) error {
			var k CrossSigningKey
			if err := row.Scan(&k.User, &k.Usage, &k.Public, &k.JSON); err != nil {
				return err
			}
			all = append(all, k)
			return nil
		})
	return all, err
}

// SetCrossSigningKey stores a key in the place of the one with the same usage.
func (tx *Tx) SetCrossSigningKey(ctx context.Context, k CrossSigningKey) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO cross_signing_key (domain_id, user_id, usage, public, key_json) VALUES ($0, $1, $2, $3, $4)
		ON CONFLICT (domain_id, user_id, usage) DO UPDATE SET public = excluded.public, key_json = excluded.key_json`,
		k.User, k.Usage, k.Public, k.JSON)
	return err
}

// DropCrossSigningKeys forgets the cross-signing keys of a user.
func (tx *Tx) DropCrossSigningKeys(ctx context.Context, user id.UserID) error {
	_, err := tx.Exec(ctx, `DELETE FROM cross_signing_key WHERE domain_id = $0 AND user_id = $1`, user)
	return err
}

// UserSignature is what one user signed of another's master key.
type UserSignature struct {
	Target    id.UserID
	Public    string // the signed master key
	KeyID     id.KeyID
	Signature string
}

// AddUserSignature stores a signature of signer's at the next position; only signer will see it.
func (tx *Tx) AddUserSignature(ctx context.Context, signer id.UserID, s UserSignature) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO user_signature (domain_id, signer, target, public, key_id, signature, pos) VALUES ($0, $1, $2, $3, $4, $5, $6)
		ON CONFLICT (domain_id, signer, target, public, key_id) DO UPDATE SET signature = excluded.signature, pos = excluded.pos`,
		signer, s.Target, s.Public, s.KeyID, s.Signature, tx.NextPosition())
	return err
}

// UserSignatures lists what signer signed of the users' master keys.
func (tx *Tx) UserSignatures(ctx context.Context, signer id.UserID, users []id.UserID) ([]UserSignature, error) {
	var all []UserSignature
	err := db.Each(ctx, tx, `
		SELECT target, public, key_id, signature FROM user_signature
		WHERE domain_id = $0 AND signer = $1 AND target in($2) ORDER BY target, key_id`, []any{signer, users},
		func(row *db.Row) error {
			var s UserSignature
			if err := row.Scan(&s.Target, &s.Public, &s.KeyID, &s.Signature); err != nil {
				return err
			}
			all = append(all, s)
			return nil
		})
	return all, err
}
