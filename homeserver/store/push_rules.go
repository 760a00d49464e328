package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// PushRules reads what a user made of their push rules, and when; nil and 0 for nothing.
func (tx *Tx) PushRules(ctx context.Context, user id.UserID) (rules []byte, pos int64, err error) {
	err = db.One(ctx, tx, `
		SELECT rules, pos FROM push_rules WHERE domain_id = $0 AND user_id = $1`, []any{user}, &rules, &pos)
	if err == ErrNotFound {
		return nil, 0, nil
	}
	return rules, pos, err
}

// UserPushRules is one user's rules, or whom they ignore.
type UserPushRules struct {
	User  id.UserID
	Rules []byte // JSON
	Pos   int64
}

// PushRulesOf reads those of several users; who never touched them is missing.
func (tx *Tx) PushRulesOf(ctx context.Context, users []id.UserID) ([]UserPushRules, error) {
	return tx.pushRules(ctx, `
		SELECT user_id, rules, pos FROM push_rules WHERE domain_id = $0 AND user_id in($1)`, users)
}

// PushRulesChanged lists those who changed their rules after one position, up to another, in that order.
func (tx *Tx) PushRulesChanged(ctx context.Context, after, upTo int64) ([]UserPushRules, error) {
	return tx.pushRules(ctx, `
		SELECT user_id, rules, pos FROM push_rules WHERE domain_id = $0 AND pos > $1 AND pos <= $2 ORDER BY pos`, after, upTo)
}

func (tx *Tx) pushRules(ctx context.Context, q string, args ...any) ([]UserPushRules, error) {
	var all []UserPushRules
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var r UserPushRules
		if err := row.Scan(&r.User, &r.Rules, &r.Pos); err != nil {
			return err
		}
		all = append(all, r)
		return nil
	})
	return all, err
}

// IgnoredBy reads whom users ignore, as m.ignored_user_list says it; who ignores nobody is missing. CS v1.16 #mignored_user_list
func (tx *Tx) IgnoredBy(ctx context.Context, users []id.UserID) ([]UserPushRules, error) {
	return tx.pushRules(ctx, `
		SELECT user_id, content, pos FROM account_data
		WHERE domain_id = $0 AND user_id in($1) AND room_id = '' AND type = 'm.ignored_user_list'`, users)
}

// IgnoredChanged lists the changes of these lists after one position, up to another.
func (tx *Tx) IgnoredChanged(ctx context.Context, after, upTo int64) ([]UserPushRules, error) {
	return tx.pushRules(ctx, `
		SELECT user_id, content, pos FROM account_data
		WHERE domain_id = $0 AND pos > $1 AND pos <= $2 AND room_id = '' AND type = 'm.ignored_user_list'`, after, upTo)
}

// SetPushRules stores a user's rules at the next position, which it gives.
func (tx *Tx) SetPushRules(ctx context.Context, user id.UserID, rules []byte) (int64, error) {
	pos := tx.NextPosition()
	_, err := tx.Exec(ctx, `
		INSERT INTO push_rules (domain_id, user_id, pos, rules) VALUES ($0, $1, $2, $3)
		ON CONFLICT (domain_id, user_id) DO UPDATE SET pos = excluded.pos, rules = excluded.rules`, user, pos, rules)
	return pos, err
}
